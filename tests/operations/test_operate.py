"""What a person may do to a job: each changes its epoch, tells who and why, and is refused where it makes no sense."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from pilothouse.errors import Conflict, LeaseLost, NotApproved, NotFound
from pilothouse.fleet.claim import Grant
from pilothouse.fleet.job import Job, JobSpec, Outcome, Ship
from pilothouse.fleet.stages import Stage
from pilothouse.ids import BootId, Epoch, FactoryName, ProductId
from pilothouse.operations import operate
from pilothouse.operations.claim import assign
from pilothouse.operations.complete import complete
from pilothouse.operations.start import start
from pilothouse.operations.submit import submit
from pilothouse.ports.store import Transaction
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import PRODUCT

LATER = BEGIN + timedelta(seconds=10)
REVIEWED = replace(values.make_spec(), approvals=2)
BY_HAND = replace(values.make_spec(), ship=Ship.MANUAL)
Verb = Callable[[Transaction, Job], Job]
VERBS: dict[str, Verb] = {
    "ship": lambda tx, job: operate.ship(tx, job, by="ada", now=LATER),
    "requeue": lambda tx, job: operate.requeue(tx, job, by="ada", reason="try again", now=LATER),
    "reject": lambda tx, job: operate.reject(tx, job, by="ada", reason="not wanted", now=LATER),
    "withdraw": lambda tx, job: operate.withdraw(tx, job, by="ada", reason="not wanted", now=LATER),
    "approve": lambda tx, job: operate.decide(tx, job, reviewer="ada", approved=True, reason="", now=LATER),
}
ALLOWED: dict[str, set[Stage]] = {
    "ship": {Stage.TESTING},
    "requeue": {Stage.ASSIGNED, Stage.BUILDING, Stage.REVIEW, Stage.TESTING},
    "reject": {Stage.BLOCKED, Stage.QUEUED, Stage.ASSIGNED, Stage.BUILDING, Stage.REVIEW, Stage.TESTING},
    # To withdraw what is withdrawn already changes nothing, and is no error.
    "withdraw": {
        *(Stage.BLOCKED, Stage.QUEUED, Stage.ASSIGNED, Stage.BUILDING, Stage.REVIEW, Stage.TESTING),
        Stage.CANCELLED,
    },
    "approve": {Stage.REVIEW},
}


@pytest.fixture(name="tx")
def _tx() -> Iterator[Transaction]:
    """Yield a writing transaction that is kept open for the whole test."""
    store = SqliteStore(":memory:")
    with store.write() as tx:
        yield tx
    store.close()


def queue(tx: Transaction, spec: JobSpec | None = None, *, number: int = 1) -> Job:
    return submit(tx, values.make_new_job(number, spec=spec), now=BEGIN)


def take(tx: Transaction, job: Job) -> Job:
    """Return the job as claimed."""
    session = tx.factories.open_session(PRODUCT, FactoryName("one"), BootId("b"), now=BEGIN, expires=LATER)
    assign(tx, [Grant(job.number, job.epoch, session)], now=BEGIN)
    return again(tx, job)


def succeed(tx: Transaction, job: Job) -> Job:
    """Return the job after an attempt that has succeeded."""
    held = take(tx, job)
    return complete(tx, job.id, epoch=held.epoch, report=values.make_report(), now=BEGIN)


def again(tx: Transaction, job: Job) -> Job:
    """Return the job as it is now."""
    found = tx.jobs.by_id(job.id)
    assert found is not None
    return found


def wait(tx: Transaction) -> Job:
    first = queue(tx, number=2)
    return submit(tx, replace(values.make_new_job(1), deps=(first.id,)), now=BEGIN)


def build(tx: Transaction) -> Job:
    held = take(tx, queue(tx))
    return start(tx, held.id, epoch=held.epoch, pid=1, pid_started=1.0, now=BEGIN)


def fail(tx: Transaction) -> Job:
    held = take(tx, queue(tx))
    return complete(tx, held.id, epoch=held.epoch, report=values.make_report(Outcome.OUT_OF_MEMORY), now=BEGIN)


WAYS: dict[Stage, Callable[[Transaction], Job]] = {
    Stage.BLOCKED: wait,
    Stage.QUEUED: queue,
    Stage.ASSIGNED: lambda tx: take(tx, queue(tx)),
    Stage.BUILDING: build,
    Stage.REVIEW: lambda tx: succeed(tx, queue(tx, REVIEWED)),
    Stage.TESTING: lambda tx: succeed(tx, queue(tx, BY_HAND)),
    Stage.SHIPPED: lambda tx: succeed(tx, queue(tx)),
    Stage.FAILED: fail,
    Stage.CANCELLED: lambda tx: VERBS["withdraw"](tx, queue(tx)),
    Stage.DEAD_LETTER: lambda tx: VERBS["reject"](tx, queue(tx)),
}


def job_in(tx: Transaction, stage: Stage) -> Job:
    """Return a job that has come into a stage in the usual way."""
    return WAYS[stage](tx)


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_its_stages(tx: Transaction, verb: str, stage: Stage) -> None:
    """Anything else is refused with the stage and a mend, and changes nothing."""
    job = job_in(tx, stage)
    assert job.stage is stage
    if stage in ALLOWED[verb]:
        moved = VERBS[verb](tx, job)
        assert moved == again(tx, job)
        return
    before = again(tx, job), tx.jobs.events(job.id)
    with pytest.raises(Conflict, match=stage.value) as refused:
        VERBS[verb](tx, job)

    assert refused.value.fix
    assert (again(tx, job), tx.jobs.events(job.id)) == before


@pytest.mark.parametrize("stage", sorted(ALLOWED["requeue"]))
@pytest.mark.parametrize("verb", ["requeue", "reject", "withdraw"])
def test_whoever_holds_or_has_made_it_is_fenced(tx: Transaction, verb: str, stage: Stage) -> None:
    """The epoch is higher, nobody holds the job, its attempt has an end, and history tells who and why."""
    job = job_in(tx, stage)

    moved = VERBS[verb](tx, job)

    ends = {"requeue": Stage.QUEUED, "reject": Stage.DEAD_LETTER, "withdraw": Stage.CANCELLED}
    assert (moved.stage, moved.epoch, moved.session) == (ends[verb], job.epoch + 1, None)
    assert [attempt.ended_at is None for attempt in tx.jobs.attempts(job.id)] == [False]
    last = tx.jobs.events(job.id)[-1]
    assert (last.stage, last.previous, last.epoch) == (moved.stage, stage, moved.epoch)
    words = {"requeue": "requeued by ada: try again", "reject": "rejected by ada", "withdraw": "cancelled by ada"}
    assert last.why.startswith(words[verb])
    with pytest.raises(LeaseLost):
        complete(tx, job.id, epoch=job.epoch, report=values.make_report(Outcome.CRASHED), now=LATER)


def test_a_requeued_job_resumes_where_it_was(tx: Transaction) -> None:
    """Its artifacts are those of the attempt that counts in the end, and no failure was counted."""
    job = job_in(tx, Stage.BUILDING)
    queued = VERBS["requeue"](tx, job)
    shipped = succeed(tx, queued)

    assert (shipped.stage, shipped.failures, shipped.losses) == (Stage.SHIPPED, 0, 0)
    assert [attempt.outcome for attempt in tx.jobs.attempts(job.id)] == [Outcome.CANCELLED, Outcome.SUCCEEDED]


def test_shipping_raises_the_epoch_and_lets_go_who_waits(tx: Transaction) -> None:
    """With its artifacts."""
    held = take(tx, queue(tx, BY_HAND))
    waiting = submit(tx, replace(values.make_new_job(2), deps=(held.id,)), now=BEGIN)
    report = values.make_report(artifacts=(values.make_artifact(),))
    job = complete(tx, held.id, epoch=held.epoch, report=report, now=BEGIN)
    assert again(tx, waiting).stage is Stage.BLOCKED

    shipped = VERBS["ship"](tx, job)

    assert (shipped.stage, shipped.epoch) == (Stage.SHIPPED, job.epoch + 1)
    assert tx.jobs.events(job.id)[-1].why == "shipped by ada"
    assert again(tx, waiting).stage is Stage.QUEUED
    assert tuple(tx.jobs.artifacts(job.id)) == report.artifacts


@pytest.mark.parametrize("verb", ["reject", "withdraw"])
def test_an_end_fails_who_waits_for_it_in_vain(tx: Transaction, verb: str) -> None:
    """One after the other, each with the reason."""
    first = queue(tx)
    second = submit(tx, replace(values.make_new_job(2), deps=(first.id,)), now=BEGIN)
    third = submit(tx, replace(values.make_new_job(3), deps=(second.id,)), now=BEGIN)

    end = VERBS[verb](tx, first)

    assert [again(tx, job).stage for job in (second, third)] == [Stage.FAILED] * 2
    assert tx.jobs.events(second.id)[-1].why == f"it waited for {first.id}, which is {end.stage.value}"
    assert tx.jobs.events(third.id)[-1].why == f"it waited for {second.id}, which is failed"


def test_a_job_that_has_moved_on_is_not_decided_about(tx: Transaction) -> None:
    """Whoever looked at an older epoch has to look again; another product's job is not there at all."""
    job = job_in(tx, Stage.TESTING)
    assert operate.seen_job(tx, PRODUCT, job.id, expected=job.epoch) == job
    assert operate.seen_job(tx, PRODUCT, job.id, expected=None) == job
    VERBS["requeue"](tx, job)

    with pytest.raises(Conflict, match=f"not at epoch {job.epoch} any more"):
        operate.seen_job(tx, PRODUCT, job.id, expected=job.epoch)
    with pytest.raises(NotFound):
        operate.seen_job(tx, ProductId("other"), job.id, expected=Epoch(job.epoch + 1))


class TestReviews:
    """How a job gets out of review."""

    def decide(self, tx: Transaction, job: Job, reviewer: str, *, approved: bool = True) -> Job:
        """Return the job after a word of a reviewer."""
        return operate.decide(tx, job, reviewer=reviewer, approved=approved, reason=f"says {reviewer}", now=LATER)

    def test_enough_different_reviewers_ship_it(self, tx: Transaction) -> None:
        """The same one twice is one."""
        job = job_in(tx, Stage.REVIEW)
        assert self.decide(tx, job, "ada") == job
        assert self.decide(tx, job, "ada").stage is Stage.REVIEW

        shipped = self.decide(tx, job, "bob")

        assert shipped.stage is Stage.SHIPPED
        assert shipped.epoch > job.epoch
        whys = [event.why for event in tx.jobs.events(job.id) if event.why]
        assert whys[-2:] == ["approved, last by bob", "approved by all who had to"]

    def test_a_person_ships_it_where_that_is_wanted(self, tx: Transaction) -> None:
        """Approval takes it to testing only."""
        job = succeed(tx, queue(tx, replace(BY_HAND, approvals=1)))

        tested = self.decide(tx, job, "ada")

        assert (job.stage, tested.stage, tested.epoch) == (Stage.REVIEW, Stage.TESTING, job.epoch + 1)
        assert VERBS["ship"](tx, tested).stage is Stage.SHIPPED

    def test_a_no_is_a_veto_and_sends_it_back(self, tx: Transaction) -> None:
        """Under a new epoch, at which what was said before does not count any more."""
        job = job_in(tx, Stage.REVIEW)
        self.decide(tx, job, "ada")

        back = self.decide(tx, job, "bob", approved=False)

        assert (back.stage, back.epoch) == (Stage.QUEUED, job.epoch + 1)
        assert tx.jobs.events(job.id)[-1].why == "declined by bob: says bob"
        second = succeed(tx, back)
        assert self.decide(tx, second, "bob").stage is Stage.REVIEW
        assert self.decide(tx, second, "cem").stage is Stage.SHIPPED

    def test_only_named_reviewers_count(self, tx: Transaction) -> None:
        """Anybody else is refused, with the names."""
        job = succeed(tx, queue(tx, replace(REVIEWED, approvals=1, reviewers=("ada", "bob"))))
        with pytest.raises(NotApproved, match="eve") as refused:
            self.decide(tx, job, "eve")

        assert "ada" in refused.value.fix
        assert self.decide(tx, job, "bob").stage is Stage.SHIPPED
