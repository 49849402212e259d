"""What one asker of a batch gets wrong, or a moment after the commit brings, is no harm to anybody else."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.engine.world import ONE, TWO, FailingStore, Fleet, make_factory, memory

from pilothouse.engine.commands import Act, Command, Complete, Heartbeat, Look
from pilothouse.engine.scheduler import Scheduler
from pilothouse.errors import BadValue, LeaseLost, NotFound, PilothouseError, StorageFailed
from pilothouse.fleet.budget import Budget
from pilothouse.fleet.factory import FAILURES_MAX, OPEN_SECONDS
from pilothouse.fleet.job import Artifact, Cost, Job, Outcome, Report
from pilothouse.ids import ArtifactDigest, BootId, FactoryName, JobId
from pilothouse.operations.cancel import cancel
from pilothouse.operations.submit import submit
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.store.transaction import StoredTransaction
from pilothouse.testing import values
from pilothouse.testing.values import BOOT, PRODUCT

BUDGET = Budget(product=PRODUCT, ceiling=Cost(usd=5.0), window_seconds=86_400)


def submitting(fleet: Fleet, number: int) -> Act[Job]:
    """Return the command that submits a job."""
    new = values.make_new_job(number)
    return Act(lambda tx: submit(tx, new, now=fleet.clock.now()))


def cancelling(fleet: Fleet, job: JobId) -> Act[Job]:
    """Return the command that cancels a job."""
    return Act(lambda tx: cancel(tx, job, now=fleet.clock.now()))


def refusal(command: Command[Any]) -> PilothouseError:
    """Return what a command was refused with."""
    with pytest.raises(PilothouseError) as caught:
        command.value()
    return caught.value


@pytest.fixture
def fleet() -> Fleet:
    """Return a fleet of one factory with two seats."""
    return Fleet()


def test_a_beat_of_a_stranger_is_refused_alone(fleet: Fleet) -> None:
    """The submission beside it is kept."""
    good = submitting(fleet, 1)
    beat = Heartbeat(factory=FactoryName("nobody"), boot=BootId("b"), held=[])

    fleet.run(good, beat)

    assert good.value().id == "job-demo-1"
    assert isinstance(refusal(beat), NotFound)


def test_a_boot_that_no_store_can_keep_is_refused_alone(fleet: Fleet) -> None:
    """Also where the database has found the fault, which spoils what else is done up to the savepoint."""
    good = submitting(fleet, 1)
    claim = fleet.claim_of(boot="\ud800")

    fleet.run(claim, good)

    assert good.value().id == "job-demo-1"
    assert isinstance(refusal(claim), BadValue)


@pytest.mark.parametrize("wrong", ["seconds", "artifact"])
def test_a_report_that_no_store_can_keep_is_refused_alone(fleet: Fleet, wrong: str) -> None:
    """The report beside it ships its job."""
    fleet.submit(1)
    fleet.submit(2)
    first, second = fleet.take(), fleet.take()
    artifact = Artifact(name="a\0b", digest=ArtifactDigest("0" * 64), size_bytes=1, meta={})
    report: Report = values.make_report()
    bad = replace(report, seconds=float("nan")) if wrong == "seconds" else replace(report, artifacts=(artifact,))
    ended = Complete([(first.job, first.epoch, bad), (second.job, second.epoch, report)])

    fleet.run(ended)

    refused, taken = ended.value()
    assert isinstance(refused, BadValue)
    assert taken is None
    assert [fleet.job(each.job).stage.value for each in (first, second)] == ["assigned", "shipped"]
    assert memory(fleet.scheduler) == memory(fleet.fresh())


def test_a_commit_stands_although_memory_could_not_follow_it(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is told that nothing was kept would do it again; memory is read anew with the next batch."""
    fleet.budget(BUDGET)
    fleet.clock.advance(BUDGET.window_seconds)
    good = submitting(fleet, 1)

    def fails() -> AbstractContextManager[StoredTransaction]:
        raise StorageFailed("the connection is gone", fix="wait")

    with monkeypatch.context() as patched:
        patched.setattr(fleet.store, "read", fails)
        fleet.run(good)

    assert good.value().id == "job-demo-1"
    assert fleet.take().job == "job-demo-1"
    assert memory(fleet.scheduler) == memory(fleet.fresh())


def test_a_claim_that_lost_its_job_within_a_batch_is_tried_again(fleet: Fleet) -> None:
    """The job it was given had just been cancelled, and another one waits."""
    fleet.run(fleet.claim_of(wait_seconds=60, pools=["elsewhere"]))
    first = fleet.submit(1)
    fleet.submit(2)
    fleet.retry()  # so that there is no news left from the submissions

    claim = fleet.claim_of(wait_seconds=60)
    fleet.run(cancelling(fleet, first.id), claim)

    assert fleet.retry() == [claim]
    assert [each.job for each in claim.value()] == ["job-demo-2"]


def test_a_claim_that_lost_its_job_within_a_batch_reserves_nothing(fleet: Fleet) -> None:
    """Its line never came into the ledger, so nothing would ever settle it."""
    fleet.budget(BUDGET)
    job = fleet.submit(1, cost=Cost(usd=1.0))

    fleet.run(cancelling(fleet, job.id), fleet.claim_of())

    assert memory(fleet.scheduler) == memory(fleet.fresh())


def test_an_engine_on_probation_does_not_wait_for_a_job_that_it_never_got(fleet: Fleet) -> None:
    """The job that was to try it out was cancelled in the same batch; another one tries it."""
    for number in range(1, FAILURES_MAX + 1):
        fleet.submit(number, restarts=0)
        fleet.complete(fleet.take(), replace(values.make_report(), outcome=Outcome.CRASHED, exit_code=1))
    fleet.clock.advance(OPEN_SECONDS)
    fleet.scheduler.roster.probe(now=fleet.clock.now())
    gone = fleet.submit(8)

    fleet.run(cancelling(fleet, gone.id), fleet.claim_of())
    fleet.submit(9)

    assert fleet.take().job == "job-demo-9"


def test_budgets_are_read_anew_only_when_the_batch_is_stored(tmp_path: Path) -> None:
    """What a claim of the same batch has reserved is in no table yet, and its end has to settle it all the same."""
    fleet = Fleet()
    fleet.store.inner.close()
    fleet.store = FailingStore(SqliteStore(tmp_path / "fleet.db"))
    with fleet.store.write() as tx:
        tx.factories.put(make_factory(), now=fleet.clock.now())
    fleet.restart()
    fleet.budget(BUDGET)
    fleet.submit(1, cost=Cost(usd=1.0))
    claim = fleet.claim_of()

    fleet.run(claim, Look(lambda scheduler: scheduler.refund()))

    (handover,) = claim.value()
    assert memory(fleet.scheduler) == memory(fleet.fresh())
    fleet.complete(handover)
    with fleet.store.read() as tx:
        assert tx.budgets.unsettled() == []
    fleet.store.close()


def test_budgets_are_read_anew_although_the_batch_writes(fleet: Fleet) -> None:
    """A store of one connection can read nothing while it writes."""
    fleet.budget(BUDGET)
    refund = Look(Scheduler.refund)

    fleet.run(submitting(fleet, 1), refund)

    refund.value()
    assert memory(fleet.scheduler) == memory(fleet.fresh())


def test_a_factory_loses_no_lease_when_its_server_loses_the_lead(fleet: Fleet) -> None:
    """It would stop what it runs, and the server that leads now would have gone on with it."""
    fleet.store.inner.lead("first", seconds=10.0)
    fleet.beat()
    with fleet.store.write() as tx:
        tx._connection.run("UPDATE leader SET holder = 'second', epoch = epoch + 1")
    beat = Heartbeat(factory=ONE, boot=BootId(BOOT), held=[])

    fleet.run(beat)

    found = refusal(beat)
    assert isinstance(found, StorageFailed)
    assert not isinstance(found, LeaseLost)


def test_only_its_own_factory_may_repeat_a_report() -> None:
    """Another one that says the same has never run it."""
    fleet = Fleet(make_factory(ONE), make_factory(TWO))
    fleet.submit(1)
    handover = fleet.take(ONE)
    assert fleet.complete(handover, factory=ONE) is None

    assert fleet.complete(handover, factory=ONE) is None
    assert isinstance(fleet.complete(handover, factory=TWO), LeaseLost)
