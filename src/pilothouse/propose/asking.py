"""A program that is asked a question and answers with a document, run where it can do no harm.

Every question has a folder named after its content. An answer is kept there with its record before anybody is told of
it, so a loop that was killed and asks again is told the same, and nothing is paid for twice. A run that was itself
killed leaves a folder without a record, and is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

from pilothouse.canonical import Json, canonical
from pilothouse.errors import BadValue, OperationFailed, PilothouseError, Refused, StorageFailed, named
from pilothouse.ports.proposer import Stopped, never
from pilothouse.proposals.answer import ANSWER_BYTES_MAX, clean
from pilothouse.propose import agent_context
from pilothouse.propose.agent_presets import ANSWER_FILE, INSTRUCTIONS, Preset, Setting
from pilothouse.propose.agent_record import AgentRecord, CostSource, Usage, record_of
from pilothouse.propose.sandbox.level import Level
from pilothouse.propose.sandbox.plan import Breach, Limits, Ran, Refusal
from pilothouse.propose.sandbox.run import MODEL_PORTS, RunStopped, Task, confined

RECORD = "record.json"
_CONTEXT, _OUT, _KEPT = "context", "out", "answer.json"
_KEY_LENGTH = 16
_SAID_MAX = 400
_LEAST_SECRET = 8

T = TypeVar("T")

COMMON = frozenset({"LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ"})
"""Variables that every agent may have; its key is its preset's, and no other name passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """How an agent is run.

    `work` is where its folders go. `variables` is the environment to choose from. `forbidden` must not be readable:
    the home, the database, other products. `cost_limit_usd` bounds the sum over all runs in `work`; a run whose cost
    is not known counts with `cost_estimate_usd`, and without one ends the spending. `unconfined_allowed_by` names who
    has waived confinement, for a machine that has none, until `waiver_ended`. `artefacts` and `best` are the folders of
    the last run and of the baseline's.
    """

    preset: Preset
    work: Path
    level: Level
    variables: Mapping[str, str] = field(default_factory=dict)
    readable: Sequence[Path] = ()
    forbidden: Sequence[Path] = ()
    limits: Limits = field(default_factory=Limits)
    ports: Sequence[int] = MODEL_PORTS
    model: str = ""
    cost_limit_usd: float | None = None
    cost_estimate_usd: float | None = None
    unconfined_allowed_by: str = ""
    waiver_ended: Callable[[], bool] = lambda: False
    artefacts: Callable[[], Path | None] = lambda: None
    best: Callable[[], Path | None] = lambda: None
    end: Callable[[Path], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Generic[T]):
    """What an agent is asked: the files that it reads, the form of its answer, and how what it gives is read.

    `read` turns what is kept into what was asked for, and raises `BadValue` where it is none. `lay` puts into the
    agent's own folder what it is to change, and `join` adds what it has changed there to its answer, before the folder
    is removed; `room` bounds what is kept, in bytes. `edits` are the paths in its folder that it may want to change.
    """

    content: Mapping[str, bytes]
    form: Mapping[str, Json]
    read: Callable[[bytes], T]
    lay: Callable[[Path], object] | None = None
    join: Callable[[Path, bytes], bytes] | None = None
    room: int = ANSWER_BYTES_MAX
    edits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Generic[T]):
    """What came of one question: always a record, and either an answer or the reason why there is none."""

    record: AgentRecord
    answer: T | None = None
    refusal: PilothouseError | None = None


def source_of(agent: Agent) -> str:
    """Return how what this agent suggests is named."""
    return f"agent:{agent.preset.name}"


def ask(agent: Agent, question: Question[T], stopped: Stopped = never) -> Asked[T]:
    """Return what came of asking: from the folder if it was asked before, else by running the agent.

    Raises `Refused` where nothing may run: without confinement or a waiver, or with the money spent. `RunStopped`
    leaves the question open: it is asked again.
    """
    digest = agent_context.digest_of(question.content)
    folder = agent.work / hashlib.sha256(f"{agent.preset.name}\0{digest}".encode()).hexdigest()[:_KEY_LENGTH]
    return _kept(folder, question) or _run(agent, question, folder, digest, stopped)


def _run(agent: Agent, question: Question[T], folder: Path, digest: str, stopped: Stopped) -> Asked[T]:
    left = _money_left(agent)
    place = _Place.make(folder, question.content)
    allowed_by = "" if agent.waiver_ended() else agent.unconfined_allowed_by
    try:
        if question.lay is not None:
            question.lay(place.out)
        task = _task(agent, question, place, left, stopped)
        ran = confined(task, agent.level, unconfined_allowed_by=allowed_by)
    except RunStopped:
        place.clear()
        raise
    except PilothouseError:
        shutil.rmtree(place.context.parent, ignore_errors=True)  # nothing ran, so nothing was spent
        raise
    taken = _joined(question, _take(agent, ran, place, digest), place)
    usage, source = _usage(agent, ran.output)
    record = AgentRecord(
        runner=agent.preset.name,
        level=agent.level.rung.value,
        held=(*agent.level.holds, *ran.held),
        waived_by="" if agent.level.confines else allowed_by,
        attempt=place.attempt,
        seconds=ran.seconds,
        exit_code=ran.exit_code,
        usage=usage,
        cost_source=source,
        context_digest=digest,
        answer_digest=None if taken.answer is None else hashlib.sha256(taken.answer).hexdigest(),
        refusals=(*ran.refusals, *taken.refusals, *_overspent(usage, left)),
    )
    asked = _judged(record, taken, question)
    _keep(folder, asked.record, taken.answer, most=question.room)
    place.clear()
    return asked


def _task(agent: Agent, question: Question[T], place: _Place, left: float | None, stopped: Stopped) -> Task:
    setting = Setting(
        context=place.context,
        folder=place.out,
        schema=canonical(dict(question.form)),
        cost_left_usd=left,
        model=agent.model,
        edits=question.edits,
    )
    return Task(
        command=agent.preset.command(setting),
        folder=place.out,
        environment=_environment(agent, place),
        readable=(place.context, *agent.readable),
        forbidden=agent.forbidden,
        stdin=place.context / INSTRUCTIONS if agent.preset.prompted else None,
        network=agent.preset.network,
        ports=agent.ports,
        limits=agent.limits,
        end=agent.end,
        stopped=stopped,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The folders of one attempt."""

    context: Path
    out: Path
    attempt: int

    @classmethod
    def make(cls, folder: Path, content: Mapping[str, bytes]) -> _Place:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            attempt = 1 + len(list(folder.glob("attempt-*")))
            root = folder / f"attempt-{attempt}"
            place = cls(context=root / _CONTEXT, out=root / _OUT, attempt=attempt)
            for each in (place.context, place.out, place.out / "home", place.out / "tmp"):
                each.mkdir(parents=True)
            agent_context.write(place.context, content)
        except OSError as error:
            raise _unwritable(folder, error) from error
        return place

    def clear(self) -> None:
        """Remove what the agent wrote; its answer and its record are kept elsewhere."""
        agent_context.remove(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """The answer as it was found, or why there is none, and what was noticed on the way."""

    answer: bytes | None
    why: PilothouseError | None = None
    refusals: tuple[Refusal, ...] = ()


def _environment(agent: Agent, place: _Place) -> Mapping[str, str]:
    """Return what the agent sees: names from a list, folders of its own, and where its files are."""
    passed = {name: value for name, value in agent.variables.items() if name in COMMON | agent.preset.variables}
    home, run = place.out / "home", place.context / agent_context.RUN
    own = {
        "HOME": home,
        "TMPDIR": place.out / "tmp",
        "XDG_CACHE_HOME": home / ".cache",
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_DATA_HOME": home / ".local" / "share",
        "XDG_STATE_HOME": home / ".local" / "state",
        "PILOTHOUSE_CONTEXT": place.context,
        "PILOTHOUSE_OUT": place.out,
        "PILOTHOUSE_BEST_DIR": place.context / agent_context.BEST,
        "PILOTHOUSE_RUN_DIR": run,
        "PILOTHOUSE_SUMMARY": run / agent_context.SUMMARY,
        "PUFFER_AUTOPILOT_RUN_DIR": run,
        "PUFFER_AUTOPILOT_SUMMARY": run / agent_context.SUMMARY,
    }
    paths = {name: str(path.resolve()) for name, path in own.items()}
    return {**passed, **paths, "PUFFER_AUTOPILOT_RUN_ID": place.context.parent.parent.name}


def _take(agent: Agent, ran: Ran, place: _Place, digest: str) -> _Taken:
    """Look for the answer in the file or the output, when everything that could still change it is gone."""
    noticed = [
        Refusal(breach=Breach.FOREIGN_FILE, detail=clean(name)[:200]) for name in agent_context.foreign(place.out)[:20]
    ]
    if agent_context.digest_of(agent_context.read_back(place.context)) != digest:
        noticed.append(Refusal(breach=Breach.CONTEXT, detail="the context is not what was written"))
        why: PilothouseError = Refused(
            "the agent's context was changed while it ran",
            fix="find out who else can write the folder; the answer is not taken",
        )
        return _Taken(answer=None, why=why, refusals=tuple(noticed))
    if ran.exit_code != 0:
        return _Taken(answer=None, why=_failed(agent, ran), refusals=tuple(noticed))
    given = agent.preset.answer(ran.output)
    if given is None:
        given = agent_context.read_regular(place.out / ANSWER_FILE, most=ANSWER_BYTES_MAX)
    if given is None:
        there = os.path.lexists(place.out / ANSWER_FILE)
        if there:
            noticed.append(Refusal(breach=Breach.ANSWER, detail=f"{ANSWER_FILE} is no plain file of its own"))
        told = "is no plain file of its own" if there else "was not written"
        why = BadValue(f"{ANSWER_FILE} {told}", fix="write the answer into it, and nothing else by that name")
        return _Taken(answer=None, why=why, refusals=tuple(noticed))
    return _Taken(answer=given, refusals=tuple(noticed))


def _failed(agent: Agent, ran: Ran) -> PilothouseError:
    crossed = [f"{each.breach} ({each.detail})" for each in ran.refusals if each.breach is not Breach.SYSTEM_CALL]
    if ran.exit_code is None:
        why = f"was ended: {', '.join(crossed) or 'the supervisor was lost'}"
    else:
        said = _hidden(agent, (ran.errors or ran.output)[-_SAID_MAX:].decode("utf-8", errors="replace"))
        told = ", ".join([f"signal {-ran.exit_code}" if ran.exit_code < 0 else f"code {ran.exit_code}", *crossed])
        why = f"ended with {told}{f' and said: {said}' if said else ''}"
    return OperationFailed(f"the agent {agent.preset.name} {why}", fix="correct the agent's command, key or limits")


def _hidden(agent: Agent, text: str) -> str:
    """Return the text in one visible line, without the values of the agent's own variables."""
    for name in agent.preset.variables:
        value = agent.variables.get(name, "")
        if len(value) >= _LEAST_SECRET:
            text = text.replace(value, "…")
    return " ".join(clean(text).split())


def _usage(agent: Agent, output: bytes) -> tuple[Usage, CostSource]:
    usage = agent.preset.usage(output)
    if usage.cost_usd is not None:
        return usage, CostSource.REPORTED
    if agent.cost_estimate_usd is not None:
        return replace(usage, cost_usd=agent.cost_estimate_usd), CostSource.ESTIMATED
    return usage, CostSource.UNKNOWN


def _overspent(usage: Usage, left: float | None) -> Sequence[Refusal]:
    if left is None or usage.cost_usd is None or usage.cost_usd <= left:
        return ()
    return (Refusal(breach=Breach.COST, detail=f"{usage.cost_usd:.4f} of {left:.4f} USD left"),)


def _joined(question: Question[T], taken: _Taken, place: _Place) -> _Taken:
    """Return the answer with what the agent has changed in its folder; what may not be changed is no answer.

    Nor is what cannot be read back: it is paid, and asking again would pay again.
    """
    if question.join is None or taken.answer is None:
        return taken
    try:
        return replace(taken, answer=question.join(place.out, taken.answer))
    except (BadValue, Refused) as refusal:
        noticed = Refusal(breach=Breach.ANSWER, detail=refusal.message)
        return replace(taken, answer=None, why=refusal, refusals=(*taken.refusals, noticed))
    except OperationFailed as failure:
        return replace(taken, answer=None, why=failure)


def _judged(record: AgentRecord, taken: _Taken, question: Question[T]) -> Asked[T]:
    why = taken.why
    if taken.answer is not None:
        try:
            return Asked(record=record, answer=question.read(taken.answer))
        except BadValue as refusal:
            why = refusal
            noticed = Refusal(breach=Breach.ANSWER, detail=refusal.message)
            record = replace(record, refusals=(*record.refusals, noticed))
    assert why is not None, "what is not taken has a reason"
    record = replace(record, refusal=why.message, refusal_kind=type(why).__name__, refusal_fix=why.fix)
    return Asked(record=record, refusal=why)


def _keep(folder: Path, record: AgentRecord, answer: bytes | None, *, most: int) -> None:
    """Write the answer and then, in one step, the record that makes it count."""
    try:
        if answer is not None:
            _write(folder / _KEPT, answer[: most + 1])
        _write(folder / RECORD, json.dumps(record.as_json(), indent=1).encode("ascii"))
    except OSError as error:
        raise _unwritable(folder, error) from error


def _write(path: Path, content: bytes) -> None:
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _kept(folder: Path, question: Question[T]) -> Asked[T] | None:
    """Return what was kept of an earlier run for the same question, None if none came to its end."""
    record = _record(folder / RECORD)
    if record is None:
        return None
    if record.refusal:
        return Asked(record=record, refusal=named(record.refusal_kind, record.refusal, fix=record.refusal_fix))
    answer = agent_context.read_regular(folder / _KEPT, most=question.room)
    if answer is None or hashlib.sha256(answer).hexdigest() != record.answer_digest:
        why = StorageFailed(
            f"the answer kept in {folder} is not the one that was recorded",
            fix=f"find out who changed it; remove {folder} to ask the agent again",
        )
        return Asked(record=record, refusal=why)
    return Asked(record=record, answer=question.read(answer))


def _record(path: Path) -> AgentRecord | None:
    if not path.exists():
        return None
    try:
        return record_of(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageFailed(
            f"{path} cannot be read: {error}", fix=f"remove {path.parent} to ask the agent again"
        ) from error


def _money_left(agent: Agent) -> float | None:
    """Return what may still be spent, None for no limit; raises `Refused` if that is nothing, or not known."""
    if agent.cost_limit_usd is None:
        return None
    spent = 0.0
    places = [path for path in agent.work.iterdir() if path.is_dir()] if agent.work.is_dir() else []
    for place in places:
        record = _record(place / RECORD)
        costs = [agent.cost_estimate_usd] * (len(list(place.glob("attempt-*"))) - (record is not None))
        costs += [] if record is None else [record.cost_usd]
        for cost in costs:
            if cost is None:
                raise Refused(
                    f"what {agent.preset.name} spent in {place.name} is not known, and there is a limit of "
                    f"{agent.cost_limit_usd:.2f} USD",
                    fix="give an estimate of what one run costs, or take the limit away",
                )
            spent += cost
    if spent >= agent.cost_limit_usd:
        raise Refused(
            f"the agent has spent {spent:.2f} of {agent.cost_limit_usd:.2f} USD",
            fix="raise its cost limit, or let another source propose",
        )
    return agent.cost_limit_usd - spent


def _unwritable(folder: Path, error: OSError) -> StorageFailed:
    return StorageFailed(
        f"Cannot write {folder}: {error.strerror or error}.", fix="free disk space or make the folder writable."
    )
