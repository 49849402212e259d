"""What must be true of everything that a fleet did and said, checked afterwards over its recorded history.

The history is what the server recorded, in its own order, and what its clients were told. From it follows whether a job
was lost, ended twice or held twice, whether a fence was ever passed, and whether money was counted twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from pilothouse.fleet.job import Event
from pilothouse.fleet.stages import ENDS, LEASED, Stage, may_move
from pilothouse.ids import Epoch, FactoryName, JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The job was stored."""

    job: JobId
    stage: Stage = Stage.QUEUED


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The job went to a factory under a new epoch."""

    job: JobId
    epoch: Epoch
    factory: FactoryName


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A factory reported the end of an attempt; if it was accepted, the job went to `stage`.

    A report that was repeated, or that came under an old epoch, is not accepted.
    """

    job: JobId
    epoch: Epoch
    accepted: bool
    stage: Stage = Stage.SHIPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class Fenced:
    """The job was taken from whoever held it, as by a rescue or a cancel: it has a new epoch, and goes to `stage`."""

    job: JobId
    epoch: Epoch
    stage: Stage = Stage.QUEUED


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The job went to another stage within its epoch, as by its start or an approval; nobody lost it."""

    job: JobId
    epoch: Epoch
    stage: Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """An attempt's cost: `added` went to what is spent, and `total` is what the attempt has cost with it."""

    job: JobId
    epoch: Epoch
    added: int
    total: int


Operation = Submitted | Claimed | Completed | Fenced | Moved | Settled
Told = Submitted | Claimed | Completed


class Violation(StrEnum):
    """What must never be found."""

    JOB_UNKNOWN = "job_unknown"
    JOB_LOST = "job_lost"
    MOVED_AFTER_ITS_END = "moved_after_its_end"
    ACCEPTED_TWICE = "accepted_twice"
    TWO_HOLDERS = "two_holders"
    EPOCH_FELL = "epoch_fell"
    EPOCH_REUSED = "epoch_reused"
    STALE_ACCEPTED = "stale_accepted"
    NO_SUCH_WAY = "no_such_way"
    HOLDER_NOT_FENCED = "holder_not_fenced"
    SPENT_TWICE = "spent_twice"
    SPENT_BY_NOBODY = "spent_by_nobody"
    PROMISE_FORGOTTEN = "promise_forgotten"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One violation, and the operation that shows it; a lost job has none."""

    violation: Violation
    job: JobId
    operation: Operation | None = None


FIRST = Epoch(0)
"""The epoch of a job that was never claimed."""


@dataclass(slots=True)
class _Job:
    """What the operations so far say of one job."""

    epoch: Epoch = FIRST
    stage: Stage = Stage.QUEUED
    holders: dict[Epoch, FactoryName] = field(default_factory=dict)
    held_by: FactoryName | None = None
    accepted: set[Epoch] = field(default_factory=set)
    spent: Counter[Epoch] = field(default_factory=Counter)


def check(history: Iterable[Operation], *, told: Sequence[Told] = (), over: bool = True) -> tuple[Found, ...]:
    """Return every violation in a history, in its order; `told` is what clients were told, in any order.

    `over` says that the fleet was left running until it had nothing more to do, so that every job must have ended.
    """
    jobs: dict[JobId, _Job] = {}
    found: list[Found] = []
    for operation in history:
        if isinstance(operation, Submitted):
            jobs.setdefault(operation.job, _Job(stage=operation.stage))
            continue
        job = jobs.get(operation.job)
        violations = [Violation.JOB_UNKNOWN] if job is None else _apply(job, operation)
        found += [Found(violation=each, job=operation.job, operation=operation) for each in violations]
    found += [
        Found(violation=Violation.PROMISE_FORGOTTEN, job=word.job, operation=word)
        for word in told
        if not _is_kept(word, jobs.get(word.job))
    ]
    if over:
        found += [Found(violation=Violation.JOB_LOST, job=name) for name, job in jobs.items() if job.stage not in ENDS]
    return tuple(found)


def _apply(job: _Job, operation: Claimed | Completed | Fenced | Moved | Settled) -> list[Violation]:
    match operation:
        case Claimed():
            return _claim(job, operation)
        case Completed():
            return _complete(job, operation)
        case Fenced():
            return _fence(job, operation)
        case Moved():
            return _move(job, operation)
        case Settled():
            return _settle(job, operation)
        case _:
            assert_never(operation)


def _claim(job: _Job, claimed: Claimed) -> list[Violation]:
    violations = _advance(job, claimed.epoch)
    if job.stage in ENDS:
        violations.append(Violation.MOVED_AFTER_ITS_END)
    if job.held_by is not None:
        violations.append(Violation.TWO_HOLDERS)
    job.holders[claimed.epoch], job.held_by = claimed.factory, claimed.factory
    job.stage = Stage.ASSIGNED
    return violations


def _complete(job: _Job, completed: Completed) -> list[Violation]:
    if not completed.accepted:
        return []
    violations = []
    if completed.epoch in job.accepted:
        violations.append(Violation.ACCEPTED_TWICE)
    elif completed.epoch != job.epoch or job.held_by is None:
        violations.append(Violation.STALE_ACCEPTED)
    if job.stage in ENDS:
        violations.append(Violation.MOVED_AFTER_ITS_END)
    job.accepted.add(completed.epoch)
    job.held_by, job.stage = None, completed.stage
    return violations


def _fence(job: _Job, fenced: Fenced) -> list[Violation]:
    violations = _advance(job, fenced.epoch)
    if job.stage in ENDS:
        violations.append(Violation.MOVED_AFTER_ITS_END)
    job.held_by, job.stage = None, fenced.stage
    return violations


def _move(job: _Job, moved: Moved) -> list[Violation]:
    violations = []
    if moved.epoch != job.epoch:
        violations.append(Violation.STALE_ACCEPTED)
    if job.stage in ENDS:
        violations.append(Violation.MOVED_AFTER_ITS_END)
    elif not may_move(job.stage, moved.stage):
        violations.append(Violation.NO_SUCH_WAY)
    elif job.held_by is not None and moved.stage not in LEASED:
        violations.append(Violation.HOLDER_NOT_FENCED)
    job.stage = moved.stage
    return violations


def _advance(job: _Job, epoch: Epoch) -> list[Violation]:
    """Take over a new epoch, which must be above every one before it."""
    violations = []
    if epoch == job.epoch or epoch in job.holders:
        violations.append(Violation.EPOCH_REUSED)
    elif epoch < job.epoch:
        violations.append(Violation.EPOCH_FELL)
    job.epoch = max(job.epoch, epoch)
    return violations


def _settle(job: _Job, settled: Settled) -> list[Violation]:
    if settled.epoch not in job.holders:
        return [Violation.SPENT_BY_NOBODY]
    job.spent[settled.epoch] += settled.added
    return [Violation.SPENT_TWICE] if job.spent[settled.epoch] != settled.total or settled.added < 0 else []


def _is_kept(word: Told, job: _Job | None) -> bool:
    """Whether the server knows what it has told a client."""
    if job is None:
        return False
    match word:
        case Submitted():
            return True
        case Claimed():
            return job.holders.get(word.epoch) == word.factory
        case Completed():
            return not word.accepted or word.epoch in job.accepted
        case _:
            assert_never(word)


def of_events(events: Iterable[Event], *, holders: Mapping[tuple[JobId, Epoch], FactoryName]) -> Iterator[Operation]:
    """Return the operations that stored events tell of; `holders` are the factories of the stored attempts.

    Each job's events come in the order of their sequence. What was refused left no event.
    """
    epochs: dict[JobId, Epoch] = {}
    for event in events:
        job, epoch, stage = event.job, event.epoch, event.stage
        if event.previous is None:
            yield Submitted(job=job, stage=stage)
        elif stage is event.previous and epoch == epochs.get(job):
            continue  # a word about the job that moved nothing, such as that it shall stop
        elif stage is Stage.ASSIGNED:
            yield Claimed(job=job, epoch=epoch, factory=holders.get((job, epoch), FactoryName("")))
        elif epoch > epochs.get(job, FIRST):
            yield Fenced(job=job, epoch=epoch, stage=stage)
        elif event.previous in LEASED and stage not in LEASED:
            yield Completed(job=job, epoch=epoch, accepted=True, stage=stage)
        else:
            yield Moved(job=job, epoch=epoch, stage=stage)
        epochs[job] = epoch
