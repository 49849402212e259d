"""What a claim gets, when it waits, and what is offered again."""

from __future__ import annotations

import pytest
from tests.engine.steps import same
from tests.engine.world import ONE, THREE, TWO, Fleet, make_factory

from pilothouse.engine.commands import Look
from pilothouse.errors import BadValue, LeaseLost, NotFound
from pilothouse.fleet.factory import FactoryState
from pilothouse.fleet.job import Outcome, Priority
from pilothouse.fleet.stages import Stage
from pilothouse.ids import FactoryName
from pilothouse.testing import values
from pilothouse.testing.values import PRODUCT


@pytest.fixture(name="fleet")
def _fleet() -> Fleet:
    return Fleet(make_factory(ONE, seats=2), make_factory(TWO, seats=2))


class TestClaims:
    """Who is handed what."""

    def test_a_job_is_claimed_started_and_shipped(self, fleet: Fleet) -> None:
        """The handover carries all that an attempt needs."""
        job = fleet.submit(1)
        handover = fleet.take()
        building = fleet.begin(handover)
        assert fleet.complete(handover) is None

        assert (handover.job, handover.epoch, handover.product, handover.key) == (job.id, 1, PRODUCT, job.key)
        assert (handover.folder, handover.earlier_folders) == (f"runs/{job.id}/attempt-1", ())
        assert building.stage is Stage.BUILDING
        assert fleet.job(job.id).stage is Stage.SHIPPED
        assert list(fleet.claim()) == []
        same(fleet)

    def test_a_success_may_come_before_the_start_was_told(self, fleet: Fleet) -> None:
        """A short attempt is over by then."""
        job = fleet.submit(1)
        assert fleet.complete(fleet.take()) is None

        assert fleet.job(job.id).stage is Stage.SHIPPED

    def test_several_jobs_fit_together_into_the_free_seats(self, fleet: Fleet) -> None:
        """Never more than were asked for, nor than the factory has free."""
        for number in range(1, 6):
            fleet.submit(number)

        first = fleet.claim(jobs=5)
        second = fleet.claim(TWO, jobs=1)
        third = fleet.claim(TWO, jobs=5, seats=0, held=[(second[0].job, second[0].epoch)])

        assert [len(each) for each in (first, second, third)] == [2, 1, 0]
        assert len({each.job for each in (*first, *second)}) == 3
        same(fleet)

    def test_many_claims_of_one_batch_share_no_job(self, fleet: Fleet) -> None:
        """And each is told its own."""
        for number in range(1, 4):
            fleet.submit(number)
        claims = [fleet.claim_of(factory) for factory in (ONE, TWO, ONE, TWO)]
        fleet.run(*claims)

        handed = [handover.job for claim in claims for handover in claim.value()]
        assert sorted(handed) == ["job-demo-1", "job-demo-2", "job-demo-3"]
        same(fleet)

    def test_a_later_attempt_is_told_where_the_earlier_ones_ran(self, fleet: Fleet) -> None:
        """Newest first, and only those that had started."""
        fleet.submit(1)
        first = fleet.take()
        fleet.begin(first)
        fleet.complete(first, values.make_report(Outcome.PREEMPTED))
        unstarted = fleet.take()
        fleet.complete(unstarted, values.make_report(Outcome.PREEMPTED))
        third = fleet.take()
        fleet.begin(third)
        fleet.complete(third, values.make_report(Outcome.PREEMPTED))

        assert fleet.take().earlier_folders == (third.folder, first.folder)

    def test_an_unknown_factory_and_a_revoked_one_are_refused(self, fleet: Fleet) -> None:
        """Alone or in a batch with others, who get their jobs."""
        fleet.submit(1)
        revoked = make_factory(THREE, state=FactoryState.REVOKED)
        fleet.scheduler.enrol(revoked)
        for stranger, error in ((FactoryName("nobody"), NotFound), (THREE, LeaseLost)):
            with pytest.raises(error, match=stranger):
                fleet.claim(stranger)
            claim = fleet.claim_of(stranger)
            fleet.run(claim, Look(lambda _: None))
            with pytest.raises(error, match=stranger):
                claim.value()

        assert len(fleet.claim()) == 1

    def test_weights_that_are_no_weights_are_refused(self, fleet: Fleet) -> None:
        """And nothing was given out for them."""
        fleet.submit(1)
        claims = [fleet.claim_of() for _ in range(3)]
        for claim in claims:
            claim.weights = {"beauty": 1.0}
        fleet.run(claims[0])
        fleet.run(*claims[1:])

        for claim in claims:
            with pytest.raises(BadValue, match="beauty"):
                claim.value()
        assert len(fleet.claim()) == 1
        same(fleet)

    def test_a_draining_factory_is_given_nothing_and_told_so(self, fleet: Fleet) -> None:
        """What it holds it may end, and once it is active again it gets work."""
        fleet.submit(1)
        held = fleet.take()
        fleet.submit(2)
        fleet.scheduler.enrol(make_factory(ONE, state=FactoryState.DRAINING))

        assert list(fleet.claim(held=[(held.job, held.epoch)])) == []
        assert fleet.beat(held=[held]).draining
        assert fleet.complete(held) is None
        fleet.scheduler.enrol(make_factory(ONE))
        assert fleet.take().job == "job-demo-2"

    def test_a_job_that_another_hand_has_moved_is_passed_over(self, fleet: Fleet) -> None:
        """The claim finds that out, and the memory is right again."""
        moved, other = fleet.submit(1, priority=Priority.HIGH), fleet.submit(2)
        with fleet.store.write() as tx:
            tx.jobs.cancel(moved, stage=Stage.CANCELLED, now=fleet.clock.now(), why="by hand")

        assert [each.job for each in fleet.claim(jobs=2)] == [other.id]
        same(fleet)


class TestWaitingClaims:
    """Claims that are parked until there is something for them."""

    def test_it_is_woken_by_an_arrival(self, fleet: Fleet) -> None:
        """And by nothing else."""
        claim = fleet.claim_of(wait_seconds=30)
        assert fleet.run(claim) == []
        assert fleet.retry() == []
        assert fleet.scheduler.due_at == 30

        fleet.submit(1)

        assert fleet.retry() == [claim]
        assert [each.job for each in claim.value()] == ["job-demo-1"]
        assert fleet.scheduler.due_at is None

    def test_it_is_woken_by_a_seat_that_is_free_again(self, fleet: Fleet) -> None:
        """Or by a lock."""
        first, second = (fleet.submit(number, lock="one") for number in (1, 2))
        held = fleet.take()
        claim = fleet.claim_of(TWO, wait_seconds=30)
        fleet.run(claim)
        assert fleet.retry() == []

        fleet.complete(held)

        assert held.job == first.id
        assert fleet.retry() == [claim]
        assert [each.job for each in claim.value()] == [second.id]

    def test_it_is_woken_when_what_keeps_it_is_changed(self, fleet: Fleet) -> None:
        """Such as its own factory."""
        fleet.submit(1, seats=3)
        claim = fleet.claim_of(wait_seconds=30, seats=3)
        fleet.run(claim)
        fleet.scheduler.enrol(make_factory(ONE, seats=3))

        assert fleet.retry() == [claim]

    def test_it_goes_home_at_its_deadline(self, fleet: Fleet) -> None:
        """With nothing, and another one goes on waiting."""
        short, long = fleet.claim_of(wait_seconds=30), fleet.claim_of(TWO, wait_seconds=31)
        fleet.run(short, long)
        fleet.clock.advance(29.9)
        assert fleet.retry() == []
        fleet.clock.advance(0.1)

        assert fleet.retry() == [short]
        assert list(short.value()) == []
        assert fleet.scheduler.due_at == 31
        assert list(fleet.scheduler.release_parked()) == [long]
        assert list(long.value()) == []

    def test_the_claim_of_an_older_boot_ends_nothing(self, fleet: Fleet) -> None:
        """It is told that it is over when it is tried again; the new boot keeps its session and its job."""
        old = fleet.claim_of(boot="old", wait_seconds=30)
        fleet.run(old)
        fleet.submit(1)
        held = fleet.take(boot="new")
        fleet.submit(2)

        assert fleet.retry() == [old]
        with pytest.raises(LeaseLost):
            old.value()
        assert fleet.complete(held) is None
        same(fleet)


class TestLostAnswers:
    """An answer that never arrived."""

    def test_it_is_given_again_under_the_same_epoch(self, fleet: Fleet) -> None:
        """Until the factory says that it holds the job."""
        fleet.submit(1)
        fleet.submit(2)
        (lost,) = fleet.claim()

        again = fleet.claim(jobs=2)

        assert again[0] == lost
        assert len(again) == 2
        known = [(each.job, each.epoch) for each in again]
        assert list(fleet.claim(jobs=2, held=known)) == []
        same(fleet)

    def test_what_runs_already_is_not_given_again(self, fleet: Fleet) -> None:
        """The factory has told of its start, so the answer has arrived."""
        fleet.submit(1)
        fleet.begin(fleet.take())

        assert list(fleet.claim()) == []

    def test_it_goes_to_the_same_boot_only(self, fleet: Fleet) -> None:
        """Another factory gets another job."""
        fleet.submit(1)
        fleet.claim()
        fleet.submit(2)

        assert [each.job for each in fleet.claim(TWO)] == ["job-demo-2"]

    def test_it_is_given_again_after_a_restart(self, fleet: Fleet) -> None:
        """The assignment is in the database."""
        fleet.submit(1)
        (lost,) = fleet.claim()
        fleet.restart()

        assert list(fleet.claim()) == [lost]
