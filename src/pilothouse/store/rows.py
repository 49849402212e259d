"""Rows to values and back: the one place where untyped things become ours.

Times are whole microseconds since 1970 in UTC, which a `datetime` holds exactly. JSON columns are text; in those that
hold measurements a number that is not finite is kept as `{"float": "nan"}`, since no JSON has a word for it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, overload

from pilothouse.campaigns.record import Campaign, GoldenSet, Halt, Incident, Owner, Promotion, Run, Trial, TrialState
from pilothouse.canonical import Json, canonical
from pilothouse.errors import BadValue, ChainBroken
from pilothouse.evidence.verdict import verdict_from_json
from pilothouse.fleet.claim import attempt_folder
from pilothouse.fleet.job import (
    Artifact,
    Attempt,
    ChildrenPolicy,
    Cost,
    DepsMode,
    Edge,
    EdgeKind,
    Event,
    FreshStart,
    Job,
    JobSpec,
    Outcome,
    Placed,
    Priority,
    Progress,
    Report,
    Review,
    Shape,
    Ship,
)
from pilothouse.fleet.stages import Stage
from pilothouse.fleet.wire import UNSAID
from pilothouse.ids import Epoch, JobNumber, ProposalId, ShapeNumber
from pilothouse.knobs.delta import Change
from pilothouse.logbook.entry import Entry, NewEntry
from pilothouse.monitoring.quoted import storable
from pilothouse.proposals.promotion import confirmed_from_json
from pilothouse.proposals.proposal import Approval, Proposal, Risk, State, Subject


class Row(Protocol):
    """A row of any driver: its values by the names of their columns, and in order."""

    def __getitem__(self, column: str, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...


_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NOT_FINITE = "float"


@overload
def instant(time: datetime) -> int: ...
@overload
def instant(time: None) -> None: ...
@overload
def instant(time: datetime | None) -> int | None: ...
def instant(time: datetime | None) -> int | None:
    """Return the time as microseconds since 1970; a naive one cannot be placed and is refused."""
    if time is None:
        return None
    assert time.tzinfo is not None, f"a naive time cannot be stored: {time!r}"
    return (time - _BEGIN) // _MICROSECOND


def at(value: Any) -> datetime:
    """Return the time that a column holds."""
    return _BEGIN + timedelta(microseconds=value)


def maybe_at(value: Any) -> datetime | None:
    """Return the time that a column holds, if it holds one."""
    return None if value is None else at(value)


def strict_json(value: Json) -> str:
    """Return the canonical text of a value whose digest matters."""
    try:
        return canonical(value)
    except (ValueError, TypeError) as error:
        raise BadValue(f"no JSON for {value!r}: {error}", fix="give finite numbers, text, lists and tables") from error


def strict_text(spec: JobSpec) -> str:
    """Return the canonical text of a spec."""
    try:
        return spec.text()
    except (ValueError, TypeError) as error:
        raise BadValue(f"no JSON for {spec!r}: {error}", fix="give finite numbers, text, lists and tables") from error


def measured_json(value: Json) -> str:
    """Return the text of measurements, in which a number may be infinite or not a number."""
    return strict_json(_tag(value))


def _tag(value: Json) -> Json:
    match value:
        case float() if not math.isfinite(value):
            return {_NOT_FINITE: str(value)}
        case Mapping():
            return {key: _tag(each) for key, each in value.items()}
        case str():
            return value
        case Sequence():
            return [_tag(each) for each in value]
        case _:
            return value


def measured(text: str) -> Any:
    """Read back what `measured_json` wrote."""
    return json.loads(text, object_hook=_untag)


def _untag(value: dict[str, Any]) -> Any:
    if value.keys() == {_NOT_FINITE} and isinstance(value[_NOT_FINITE], str):
        return float(value[_NOT_FINITE])
    return value


STAGES = tuple(Stage)
STAGE_NUMBERS: Mapping[Stage, int] = {stage: number for number, stage in enumerate(STAGES)}
_PRIORITIES = tuple(Priority)
_OUTCOMES = tuple(Outcome)
OUTCOME_NUMBERS: Mapping[Outcome, int] = {outcome: number for number, outcome in enumerate(_OUTCOMES)}
EDGE_KINDS = tuple(EdgeKind)


def job(row: Row) -> Job:
    """Decode a job."""
    return Job(
        number=row["number"],
        id=row["id"],
        product=row["product"],
        pool=row["pool"],
        key=row["key"],
        shape=row["shape"],
        stage=STAGES[row["stage"]],
        epoch=row["epoch"],
        priority=_PRIORITIES[row["priority"]],
        created_at=at(row["created_at"]),
        changed_at=at(row["changed_at"]),
        seats=row["seats"],
        parent=row["parent_id"],
        session=row["session"],
        factory=row["factory"],
        boot=row["boot"],
        failures=row["failures"],
        preemptions=row["preemptions"],
        losses=row["losses"],
        waiting=row["waiting"],
        marks=row["marks"],
        stop_at=maybe_at(row["stop_at"]),
    )


def new_job(placed: Placed, *, number: JobNumber, shape: ShapeNumber, marks: int, now: datetime) -> Job:
    """Return a job as it has just been stored, without anything it waits for; its parent is left to a reader."""
    new = placed.new
    # In the order of its fields: a thousand jobs are made in one call, and names would cost more than the jobs.
    # fmt: off
    return Job(
        number, new.id, new.product, new.pool, new.key, shape, placed.stage, Epoch(0), new.priority, now, now,
        new.spec.seats, new.parent, None, None, None, 0, 0, 0, 0, marks, None,
    )
    # fmt: on


def shape(text: str) -> Shape:
    """Decode a scheduling class."""
    value: dict[str, Any] = json.loads(text)
    return Shape(**{**value, "requires": tuple(value["requires"]), "cost": Cost(**value["cost"])})


def spec(text: str) -> JobSpec:
    """Decode a spec; its digest comes out as it went in."""
    value: dict[str, Any] = {**UNSAID, **json.loads(text)}
    for name in ("command", "artifacts", "metrics", "verify", "requires", "deps", "reviewers"):
        value[name] = tuple(value[name])
    value["inputs"] = {name: tuple(digests) for name, digests in value["inputs"].items()}
    value["deps_mode"] = DepsMode(value["deps_mode"])
    value["children_policy"] = ChildrenPolicy(value["children_policy"])
    value["ship"] = Ship(value["ship"])
    value["fresh_start"] = FreshStart(value["fresh_start"])
    value["cost"] = Cost(**value["cost"])
    return JobSpec(**value)


def attempt(row: Row) -> Attempt:
    """Decode one claim."""
    return Attempt(
        job=row["id"],
        epoch=row["epoch"],
        factory=row["factory"],
        boot=row["boot"],
        folder=attempt_folder(row["id"], row["epoch"]),
        claimed_at=at(row["claimed_at"]),
        started_at=maybe_at(row["started_at"]),
        ended_at=maybe_at(row["ended_at"]),
        pid=row["pid"],
        pid_started=row["pid_started"],
        progress=None if row["progress"] is None else _progress(measured(row["progress"])),
        progress_at=maybe_at(row["progress_at"]),
        outcome=None if row["outcome"] is None else _OUTCOMES[row["outcome"]],
        detail=row["detail"] or "",
        exit_code=row["exit_code"],
        metrics={} if row["metrics"] is None else measured(row["metrics"]),
        seconds=row["seconds"],
        peak_memory_mb=row["peak_memory_mb"],
    )


def progress_json(progress: Progress) -> str:
    """Return the text of a sign of life."""
    return measured_json(
        {
            "step": progress.step,
            "total": progress.total,
            "values": progress.values,
            "checkpoint_step": progress.checkpoint_step,
        }
    )


def _progress(value: Any) -> Progress:
    return Progress(**value)


def artifact(row: Row) -> Artifact:
    """Decode a sealed folder."""
    return Artifact(name=row["name"], digest=row["digest"], size_bytes=row["size_bytes"], meta=measured(row["meta"]))


def event(row: Row) -> Event:
    """Decode a line of history."""
    return Event(
        job=row["id"],
        sequence=row["sequence"],
        at=at(row["at"]),
        epoch=row["epoch"],
        stage=STAGES[row["stage"]],
        previous=None if row["previous"] is None else STAGES[row["previous"]],
        why=row["why"] or "",
    )


def edge(row: Row) -> Edge:
    """Decode who waits for whom."""
    return Edge(job=row["job"], needs=row["needs"], kind=EDGE_KINDS[row["kind"]], met=bool(row["met"]))


def review(row: Row) -> Review:
    """Decode a reviewer's decision."""
    return Review(
        job=row["job"],
        epoch=row["epoch"],
        reviewer=row["reviewer"],
        approved=bool(row["approved"]),
        reason=row["reason"],
        at=at(row["at"]),
    )


def campaign(row: Row) -> Campaign:
    """Decode a campaign."""
    return Campaign(
        product=row["product"],
        name=row["name"],
        kind=row["kind"],
        definition=json.loads(row["definition"]),
        definition_digest=row["definition_digest"],
        config=json.loads(row["config"]),
        created_at=at(row["created_at"]),
        owner=_owner(row),
        halt=None if row["halt"] is None else Halt(row["halt"]),
        last_error=row["last_error"],
        next_action=row["next_action"],
    )


def _owner(row: Row) -> Owner | None:
    if row["owner_host"] is None:
        return None
    return Owner(host=row["owner_host"], pid=row["owner_pid"], started=row["owner_started"], boot=row["owner_boot"])


def trial(row: Row) -> Trial:
    """Decode a trial."""
    return Trial(
        product=row["product"],
        campaign=row["campaign"],
        number=row["number"],
        proposal=None if row["proposal"] is None else ProposalId(row["proposal"]),
        config=json.loads(row["config"]),
        state=TrialState(row["state"]),
        started_at=at(row["started_at"]),
        ended_at=maybe_at(row["ended_at"]),
        verdict=None if row["verdict"] is None else verdict_from_json(measured(row["verdict"])),
        metrics=measured(row["metrics"]),
        seconds=measured(row["seconds"]),
        confirmation=None if row["confirmation"] is None else confirmed_from_json(json.loads(row["confirmation"])),
        failure=row["failure"],
    )


def run(row: Row) -> Run:
    """Decode a run."""
    return Run(
        id=row["id"],
        product=row["product"],
        campaign=row["campaign"],
        trial=row["trial"],
        seed=row["seed"],
        job=row["job"],
    )


def promotion(row: Row) -> Promotion:
    """Decode a move of the baseline."""
    return Promotion(
        product=row["product"],
        campaign=row["campaign"],
        trial=row["trial"],
        checkpoint=row["checkpoint"],
        samples=row["samples"],
        config=json.loads(row["config"]),
        reason=row["reason"],
        at=at(row["at"]),
    )


def golden_set(row: Row) -> GoldenSet:
    """Decode a golden set."""
    return GoldenSet(
        product=row["product"],
        campaign=row["campaign"],
        name=row["name"],
        digest=row["digest"],
        looks=row["looks"],
        published=row["published"],
    )


def incident(row: Row) -> Incident:
    """Decode an incident."""
    return Incident(
        product=row["product"],
        campaign=row["campaign"],
        job=row["job"],
        epoch=row["epoch"],
        at=at(row["at"]),
        diagnosis=row["diagnosis"],
        evidence=row["evidence"],
        response=row["response"],
    )


def proposal(row: Row) -> Proposal:
    """Decode a proposal."""
    return Proposal(
        id=row["id"],
        product=row["product"],
        campaign=row["campaign"],
        number=row["number"],
        parent_digest=row["parent_digest"],
        config=json.loads(row["config"]),
        changes=tuple(Change(**change) for change in json.loads(row["changes"])),
        why_not_identical=row["why_not_identical"],
        rationale=row["rationale"],
        hypothesis=row["hypothesis"],
        risk=Risk(row["risk"]),
        rollback=row["rollback"],
        source=row["source"],
        subject=Subject(**json.loads(row["subject"])),
        state=State(row["state"]),
        created_at=at(row["created_at"]),
        refusal=row["refusal"],
    )


def approval(row: Row) -> Approval:
    """Decode an approval."""
    return Approval(
        product=row["product"],
        campaign=row["campaign"],
        subject_digest=row["subject_digest"],
        approver=row["approver"],
        waiver=bool(row["waiver"]),
        reason=row["reason"],
        granted_at=at(row["granted_at"]),
        expires_at=maybe_at(row["expires_at"]),
    )


def entry(row: Row) -> Entry:
    """Decode a logbook entry; its hash is checked by the chain, not here, but what is no entry at all is told here."""
    try:
        at_, evidence = at(row["at"]), _object(row["evidence"])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ChainBroken(
            f"{row['thread']}, entry {row['number']}: it cannot be read: {error}",
            fix="somebody wrote past the product; compare with a copy of the database or an exported page",
        ) from error
    return Entry(
        product=row["product"],
        thread=row["thread"],
        number=row["number"],
        at=at_,
        body=NewEntry(
            label=row["label"],
            hypothesis=row["hypothesis"],
            command=row["command"],
            config=row["config"],
            result=row["result"],
            interpretation=row["interpretation"],
            next_action=row["next_action"],
            confidence=row["confidence"],
            evidence=evidence,
        ),
        previous_hash=row["previous_hash"],
        hash=row["hash"],
    )


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError(f"{text[:40]!r} is no object")
    return value


def attempt_end(
    number: JobNumber, epoch: Epoch, report: Report, when: int
) -> tuple[int, int, int, int, str, int | None, str, float, float | None]:
    """Return how an attempt ended, in the order of the columns that keep it."""
    return (
        number,
        epoch,
        when,
        OUTCOME_NUMBERS[report.outcome],
        storable(report.detail) if report.detail else "",
        report.exit_code,
        measured_json(report.metrics) if report.metrics else "{}",
        report.seconds,
        report.peak_memory_mb,
    )
