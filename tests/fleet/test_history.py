"""The checker of recorded histories: it finds each violation, and nothing in what is legal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.fleet.history import (
    Claimed,
    Completed,
    Fenced,
    Moved,
    Operation,
    Settled,
    Submitted,
    Told,
    Violation,
    check,
    of_events,
)
from pilothouse.fleet.job import Event
from pilothouse.fleet.stages import ENDS, Stage
from pilothouse.ids import Epoch, FactoryName, JobId
from pilothouse.testing.clock import BEGIN

A, B = JobId("a"), JobId("b")
ONE, TWO = FactoryName("one"), FactoryName("two")


def claimed(epoch: int, factory: FactoryName = ONE, *, job: JobId = A) -> Claimed:
    return Claimed(job=job, epoch=Epoch(epoch), factory=factory)


def completed(epoch: int, *, stage: Stage = Stage.SHIPPED, accepted: bool = True) -> Completed:
    return Completed(job=A, epoch=Epoch(epoch), accepted=accepted, stage=stage)


def fenced(epoch: int, *, stage: Stage = Stage.QUEUED) -> Fenced:
    return Fenced(job=A, epoch=Epoch(epoch), stage=stage)


def settled(epoch: int, added: int, total: int) -> Settled:
    return Settled(job=A, epoch=Epoch(epoch), added=added, total=total)


SUBMITTED = Submitted(job=A)
RESCUED = (SUBMITTED, claimed(1), fenced(2), claimed(3, TWO))
SHIPPED = (*RESCUED, completed(1, accepted=False), completed(3), settled(3, 5, 5), settled(1, 2, 2))

V = Violation


def violations(history: Sequence[Operation], *, told: Sequence[Told] = (), over: bool = True) -> list[Violation]:
    return [found.violation for found in check(history, told=told, over=over)]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (SHIPPED, []),
        ((SUBMITTED, claimed(1), completed(1, stage=Stage.QUEUED), claimed(2), completed(2)), []),
        ((SUBMITTED, fenced(1, stage=Stage.CANCELLED)), []),
        ((SUBMITTED, claimed(1), Moved(job=A, epoch=Epoch(1), stage=Stage.BUILDING), completed(1)), []),
        ((*SHIPPED, settled(3, 1, 6)), []),
        ((), []),
        ((claimed(1),), [V.JOB_UNKNOWN]),
        ((SUBMITTED,), [V.JOB_LOST]),
        (RESCUED, [V.JOB_LOST]),
        ((*SHIPPED, completed(3)), [V.ACCEPTED_TWICE, V.MOVED_AFTER_ITS_END]),
        ((*RESCUED, completed(3, stage=Stage.QUEUED), completed(3)), [V.ACCEPTED_TWICE]),
        ((*SHIPPED, claimed(4)), [V.MOVED_AFTER_ITS_END, V.JOB_LOST]),
        ((*SHIPPED, fenced(4)), [V.MOVED_AFTER_ITS_END, V.JOB_LOST]),
        ((*SHIPPED, Moved(job=A, epoch=Epoch(3), stage=Stage.FAILED)), [V.MOVED_AFTER_ITS_END]),
        ((SUBMITTED, claimed(1), claimed(2, TWO), completed(2)), [V.TWO_HOLDERS]),
        ((*RESCUED, fenced(4), claimed(3), completed(3)), [V.EPOCH_REUSED, V.STALE_ACCEPTED]),
        ((SUBMITTED, claimed(5), fenced(4, stage=Stage.CANCELLED)), [V.EPOCH_FELL]),
        ((SUBMITTED, claimed(5), fenced(5, stage=Stage.CANCELLED)), [V.EPOCH_REUSED]),
        ((*RESCUED, completed(1)), [V.STALE_ACCEPTED]),
        ((SUBMITTED, claimed(1), fenced(2), completed(2)), [V.STALE_ACCEPTED]),
        ((SUBMITTED, claimed(1), Moved(job=A, epoch=Epoch(0), stage=Stage.BUILDING), completed(1)), [V.STALE_ACCEPTED]),
        ((SUBMITTED, claimed(1), Moved(job=A, epoch=Epoch(1), stage=Stage.FAILED)), [V.HOLDER_NOT_FENCED]),
        ((SUBMITTED, Moved(job=A, epoch=Epoch(0), stage=Stage.SHIPPED)), [V.NO_SUCH_WAY]),
        ((Submitted(job=A, stage=Stage.BLOCKED), Moved(job=A, epoch=Epoch(0), stage=Stage.FAILED)), []),
        ((*SHIPPED, settled(3, 5, 5)), [V.SPENT_TWICE]),
        ((*SHIPPED, settled(3, -5, 0)), [V.SPENT_TWICE]),
        ((*SHIPPED, settled(2, 5, 5)), [V.SPENT_BY_NOBODY]),
    ],
)
def test_each_violation_is_found_and_nothing_else(history: Sequence[Operation], expected: list[Violation]) -> None:
    assert violations(history) == expected


def test_a_run_that_goes_on_has_lost_nothing_yet() -> None:
    assert violations(RESCUED, over=False) == []


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (SUBMITTED, True),
        (Submitted(job=B), False),
        (claimed(1), True),
        (claimed(3, TWO), True),
        (claimed(3, ONE), False),
        (claimed(2), False),
        (claimed(1, job=B), False),
        (completed(3), True),
        (completed(1), False),
        (completed(1, accepted=False), True),
    ],
)
def test_what_a_client_was_told_is_known_to_the_server(told: Told, kept: bool) -> None:
    """A submit, a claim and an accepted report were promises; that a report was refused promises nothing."""
    assert violations(SHIPPED, told=[told, told]) == [] if kept else [V.PROMISE_FORGOTTEN] * 2


def test_a_finding_shows_the_operation() -> None:
    (found,) = check((*RESCUED, completed(1)))

    assert (found.job, found.operation) == (A, completed(1))


class Legal:
    """A small fleet that only ever does what is allowed, driven by drawn numbers."""

    def __init__(self, choices: Sequence[int]) -> None:
        self.choices = iter(choices)
        self.history: list[Operation] = []
        self.events: list[Event] = []
        self.told: list[Told] = []

    def run(self, jobs: int) -> None:
        """Let so many jobs come, be claimed, fenced and completed until all have ended."""
        stages = {JobId(f"job-{number}"): (Epoch(0), Stage.QUEUED) for number in range(jobs)}
        for job in stages:
            self._record(Submitted(job=job), epoch=Epoch(0), stage=Stage.QUEUED, previous=None)
            self.told.append(Submitted(job=job))
        while open_jobs := [job for job, (_, stage) in stages.items() if stage not in ENDS]:
            job = open_jobs[next(self.choices, 0) % len(open_jobs)]
            stages[job] = self._step(job, *stages[job])

    def _step(self, job: JobId, epoch: Epoch, stage: Stage) -> tuple[Epoch, Stage]:
        choice = next(self.choices, 0) % 8
        if choice == 7 or stage is Stage.TESTING:
            return self._fence(job, epoch, stage, to=Stage.CANCELLED if choice == 7 else Stage.SHIPPED)
        if stage is Stage.REVIEW:
            self._record(Moved(job=job, epoch=epoch, stage=Stage.TESTING), epoch, Stage.TESTING, stage)
            return epoch, Stage.TESTING
        if stage is Stage.QUEUED:
            return self._claim(job, Epoch(epoch + 1 + choice % 2))
        if choice == 6:
            return self._fence(job, epoch, stage, to=Stage.QUEUED)
        if stage is Stage.ASSIGNED:
            self._record(Moved(job=job, epoch=epoch, stage=Stage.BUILDING), epoch, Stage.BUILDING, stage)
            return epoch, Stage.BUILDING
        return self._complete(job, epoch, [Stage.SHIPPED, Stage.QUEUED, Stage.REVIEW, Stage.FAILED][choice % 4])

    def _claim(self, job: JobId, epoch: Epoch) -> tuple[Epoch, Stage]:
        operation = claimed(epoch, (ONE, TWO)[epoch % 2], job=job)
        self._record(operation, epoch, Stage.ASSIGNED, Stage.QUEUED)
        self.told += [operation] * (next(self.choices, 1) % 3)
        return epoch, Stage.ASSIGNED

    def _complete(self, job: JobId, epoch: Epoch, stage: Stage) -> tuple[Epoch, Stage]:
        operation = Completed(job=job, epoch=epoch, accepted=True, stage=stage)
        self._record(operation, epoch, stage, Stage.BUILDING)
        self.told += [operation] * (next(self.choices, 1) % 3)
        first, more = next(self.choices, 0) % 5, next(self.choices, 0) % 5
        self.history.append(Settled(job=job, epoch=epoch, added=first, total=first))
        self.history.append(Settled(job=job, epoch=epoch, added=more, total=first + more))
        self.history.append(Completed(job=job, epoch=epoch, accepted=False, stage=stage))
        return epoch, stage

    def _fence(self, job: JobId, epoch: Epoch, stage: Stage, *, to: Stage) -> tuple[Epoch, Stage]:
        epoch = Epoch(epoch + 1)
        self._record(Fenced(job=job, epoch=epoch, stage=to), epoch, to, stage)
        return epoch, to

    def _record(self, operation: Operation, epoch: Epoch, stage: Stage, previous: Stage | None) -> None:
        self.history.append(operation)
        sequence = len(self.events)
        self.events.append(
            Event(job=operation.job, sequence=sequence, at=BEGIN, epoch=epoch, stage=stage, previous=previous)
        )


@st.composite
def legal(draw: st.DrawFn) -> Legal:
    fleet = Legal(draw(st.lists(st.integers(0, 100), max_size=120)))
    fleet.run(draw(st.integers(1, 5)))
    return fleet


@given(fleet=legal())
def test_legal_histories_pass(fleet: Legal) -> None:
    assert check(fleet.history, told=fleet.told) == ()


@given(fleet=legal(), data=st.data())
def test_an_operation_that_took_effect_twice_is_always_found(fleet: Legal, data: st.DataObject) -> None:
    """Whatever legally stood between the two."""
    effects = [index for index, operation in enumerate(fleet.history) if took_effect(operation)]
    index = data.draw(st.sampled_from(effects))
    later = data.draw(st.integers(index + 1, len(fleet.history)))
    history = [*fleet.history[:later], fleet.history[index], *fleet.history[later:]]

    assert check(history) != ()


def took_effect(operation: Operation) -> bool:
    match operation:
        case Completed():
            return operation.accepted
        case Settled():
            return operation.added > 0
        case Submitted() | Moved():
            return False
        case Claimed() | Fenced():
            return True


@given(fleet=legal(), data=st.data())
def test_a_stored_step_that_is_forgotten_after_a_client_was_told_is_always_found(
    fleet: Legal, data: st.DataObject
) -> None:
    """As when a database comes back from before its last commits."""
    promise = data.draw(st.sampled_from(fleet.told))
    kept = fleet.history[: fleet.history.index(promise)]

    assert V.PROMISE_FORGOTTEN in violations(kept, told=[promise], over=False)


@given(fleet=legal())
def test_stored_events_tell_the_same_history(fleet: Legal) -> None:
    """All of it that changed a job; refused reports and costs leave no event."""
    holders = {(each.job, each.epoch): each.factory for each in fleet.history if isinstance(each, Claimed)}

    read = list(of_events(fleet.events, holders=holders))

    assert read == list(changes(fleet.history))
    assert check(read, told=fleet.told) == ()


def changes(history: Sequence[Operation]) -> Iterator[Operation]:
    for each in history:
        if not isinstance(each, Settled) and not (isinstance(each, Completed) and not each.accepted):
            yield each


def test_events_show_a_fence_that_was_passed() -> None:
    """The holder of epoch 1 was accepted after its job had moved on to epoch 3."""
    steps = [(0, Stage.QUEUED), (1, Stage.ASSIGNED), (2, Stage.QUEUED), (3, Stage.ASSIGNED), (1, Stage.SHIPPED)]
    stages = [None, *(stage for _, stage in steps)]
    events = [
        Event(job=A, sequence=number, at=BEGIN, epoch=Epoch(epoch), stage=stage, previous=stages[number])
        for number, (epoch, stage) in enumerate(steps)
    ]

    assert violations(list(of_events(events, holders={}))) == [V.STALE_ACCEPTED]


def test_events_show_a_late_report_after_a_rescue_that_kept_the_epoch() -> None:
    """The job waits again, and nobody who waits can ship."""
    steps = [Stage.QUEUED, Stage.ASSIGNED, Stage.BUILDING, Stage.QUEUED, Stage.SHIPPED]
    events = [
        Event(job=A, sequence=number, at=BEGIN, epoch=Epoch(min(1, number)), stage=stage, previous=previous)
        for number, (previous, stage) in enumerate(zip([None, *steps], steps, strict=False))
    ]

    assert violations(list(of_events(events, holders={}))) == [V.NO_SUCH_WAY]


def test_events_show_a_fence_that_left_the_stage_as_it_was() -> None:
    """A higher epoch moves a job even where its stage stays; a word at the same epoch does not."""
    steps = [(0, Stage.QUEUED, None), (0, Stage.QUEUED, Stage.QUEUED), (1, Stage.QUEUED, Stage.QUEUED)]
    events = [
        Event(job=A, sequence=number, at=BEGIN, epoch=Epoch(epoch), stage=stage, previous=previous)
        for number, (epoch, stage, previous) in enumerate(steps)
    ]

    assert list(of_events(events, holders={})) == [Submitted(job=A, stage=Stage.QUEUED), fenced(1)]
