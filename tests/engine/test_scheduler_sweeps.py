"""What is taken back from the silent, whom to trust, and commits that fail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from tests.engine.steps import SWEEP_SECONDS, cancelling, first_end, pass_sweeps, same
from tests.engine.world import ONE, THREE, TWO, Fleet, make_factory, memory

from pilothouse.engine.commands import Act, Command, Complete, Heartbeat, Look
from pilothouse.engine.sweeps import OVERTIME_SECONDS, UNHEARD_SECONDS
from pilothouse.errors import LeaseLost, StorageFailed
from pilothouse.fleet.factory import FAILURES_MAX, OPEN_SECONDS
from pilothouse.fleet.job import Outcome, Priority
from pilothouse.fleet.retry import FACTORIES_MAX
from pilothouse.fleet.stages import Stage
from pilothouse.ids import BootId, Epoch, JobId
from pilothouse.operations.submit import submit
from pilothouse.ports.dispatch import Held
from pilothouse.testing import values
from pilothouse.testing.values import BOOT, CAMPAIGN, PRODUCT


@pytest.fixture(name="fleet")
def _fleet() -> Fleet:
    return Fleet(make_factory(ONE, seats=2), make_factory(TWO, seats=2))


class TestSweeps:
    """What is taken back because nobody is heard."""

    def test_a_session_is_stale_after_its_time_and_missed_sweeps(self, fleet: Fleet) -> None:
        """A silent one loses its job; one that beats keeps it."""
        fleet.submit(1)
        fleet.submit(2)
        silent, beating = fleet.take(ONE), fleet.take(TWO)
        taken: list[JobId] = []
        for count in range(6):
            fleet.clock.advance(SWEEP_SECONDS)
            fleet.beat(TWO, held=[beating])
            found = fleet.sweep()
            assert not found or count >= 2
            taken += found

        assert taken == [silent.job]
        assert fleet.job(beating.job).stage is Stage.ASSIGNED
        assert fleet.job(silent.job).losses == 1
        assert "nothing was heard" in first_end(fleet, silent.job)
        same(fleet)

    def test_an_engine_that_slept_accuses_nobody(self, fleet: Fleet) -> None:
        """It heard nobody, so nobody was silent: neither a session nor an attempt is given up."""
        fleet.submit(1)
        held = fleet.take()
        fleet.begin(held)
        pass_sweeps(fleet, 2, beating=(ONE,))
        fleet.clock.advance(3600)

        assert fleet.sweep() == []
        fleet.beat(held=[held])
        assert pass_sweeps(fleet, 1) == []

    def test_a_restart_accuses_nobody(self, fleet: Fleet) -> None:
        """An attempt that has run for hours was heard by the engine before this one."""
        fleet.submit(1)
        held = fleet.take()
        fleet.begin(held)
        for _ in range(100):
            fleet.clock.advance(SWEEP_SECONDS)
            fleet.beat(held=[held])
        fleet.restart()
        fleet.clock.advance(1)
        assert fleet.sweep() == []
        fleet.clock.advance(SWEEP_SECONDS)
        fleet.beat(held=[held])

        assert fleet.sweep() == []
        assert fleet.complete(held) is None

    def test_an_attempt_that_its_factory_forgot_is_taken_back(self, fleet: Fleet) -> None:
        """The factory lives and beats without it, long enough; one that it claims with is known to it."""
        fleet.submit(1)
        fleet.submit(2)
        forgotten, known = fleet.claim(jobs=2)
        taken: list[JobId] = []
        for count in range(8):
            fleet.clock.advance(SWEEP_SECONDS)
            if count % 2:
                fleet.beat(held=[known])
            else:
                fleet.claim(held=[(known.job, known.epoch), (forgotten.job, Epoch(7))], seats=0)
            found = fleet.sweep()
            assert not found or count * SWEEP_SECONDS >= UNHEARD_SECONDS - SWEEP_SECONDS
            taken += found

        assert taken == [forgotten.job]
        assert fleet.job(known.job).losses == 0

    def test_nobody_else_keeps_an_attempt_that_its_factory_forgot(self, fleet: Fleet) -> None:
        """Not even with the right epoch: only the boot that holds it can say that it lives."""
        fleet.submit(1)
        forgotten = fleet.take(ONE)
        taken: list[JobId] = []
        for _ in range(8):
            fleet.clock.advance(SWEEP_SECONDS)
            fleet.beat(ONE)
            fleet.claim(TWO, held=[(forgotten.job, forgotten.epoch)], seats=0)
            taken += fleet.sweep()

        assert taken == [forgotten.job]

    def test_an_attempt_far_over_its_time_is_taken_back(self, fleet: Fleet) -> None:
        """Although its factory says that it runs."""
        fleet.submit(1, timeout_seconds=60.0)
        held = fleet.take()
        start = fleet.clock.now()
        taken: Sequence[JobId] = []
        while not taken:
            fleet.clock.advance(SWEEP_SECONDS)
            fleet.beat(held=[held])
            taken = fleet.sweep()

        assert list(taken) == [held.job]
        over = fleet.clock.now() - start - timedelta(seconds=60 + OVERTIME_SECONDS)
        assert timedelta(0) <= over < timedelta(seconds=SWEEP_SECONDS)

    def test_a_job_that_is_lost_everywhere_goes_to_a_person(self, fleet: Fleet) -> None:
        """With every loss as evidence."""
        with fleet.store.write() as tx:
            tx.campaigns.put(values.make_campaign())
        fleet.scheduler.enrol(make_factory(THREE))
        with fleet.store.write() as tx:
            tx.factories.put(make_factory(THREE), now=fleet.clock.now())
        job = fleet.submit(1)
        for factory in (ONE, TWO, THREE):
            assert fleet.job(job.id).stage is Stage.QUEUED
            assert fleet.take(factory).job == job.id
            fleet.beat(factory, boot="next")

        lost = fleet.job(job.id)
        assert (lost.stage, lost.losses) == (Stage.DEAD_LETTER, FACTORIES_MAX)
        with fleet.store.read() as tx:
            told = tx.campaigns.incidents(PRODUCT, CAMPAIGN)[-1].response
        assert all(f"on {factory}" in told for factory in (ONE, TWO, THREE))
        same(fleet)


class TestBreakers:
    """Engines that fail again and again."""

    def fail(self, fleet: Fleet, number: int) -> None:
        """Let a job fail for want of its engine."""
        fleet.submit(number, engine="codex")
        assert fleet.complete(fleet.take(), values.make_report(Outcome.NO_ENGINE)) is None

    @pytest.fixture(name="fleet")
    def _fleet(self) -> Fleet:
        fleet = Fleet(make_factory(ONE, engines=("codex", "claude")))
        for number in range(FAILURES_MAX):
            self.fail(fleet, number)
        return fleet

    def test_an_engine_that_fails_gets_nothing_for_a_while(self, fleet: Fleet) -> None:
        """Other engines of the factory do, and after its time it gets one job to try."""
        fleet.submit(10, engine="codex")
        fleet.submit(11, engine="codex")
        fleet.submit(12, engine="claude")
        assert [each.job for each in fleet.claim(jobs=3)] == ["job-demo-12"]
        held = [(JobId("job-demo-12"), Epoch(1))]
        fleet.clock.advance(OPEN_SECONDS)
        fleet.beat()
        fleet.scheduler.roster.probe(now=fleet.clock.now())

        (probe,) = fleet.claim(jobs=3, held=held)
        assert list(fleet.claim(jobs=3, held=[*held, (probe.job, probe.epoch)])) == []
        assert fleet.complete(probe) is None
        assert len(fleet.claim(jobs=3, held=held)) == 1

    def test_an_engine_that_fails_on_one_factory_is_well_on_another(self) -> None:
        """Neither the failures there nor the end of the time of rest say anything of it."""
        fleet = Fleet(make_factory(ONE, engines=("codex",)), make_factory(TWO, engines=("codex",)))
        fleet.beat(TWO)
        for number in range(FAILURES_MAX):
            self.fail(fleet, number)
        (place,) = (each for each in fleet.scheduler.board.places.values() if each.factory == TWO)
        assert place.health.get("codex", 1.0) == 1.0
        fleet.scheduler.roster.probe(now=fleet.clock.now())
        assert place.health.get("codex", 1.0) == 1.0
        fleet.submit(10, engine="codex")

        assert list(fleet.claim(ONE)) == []
        assert len(fleet.claim(TWO)) == 1

    def test_a_new_boot_does_not_mend_an_engine(self, fleet: Fleet) -> None:
        """Otherwise a factory that crashes would be trusted at each start."""
        fleet.submit(10, engine="codex")

        assert list(fleet.claim(boot="next")) == []

    @pytest.mark.parametrize("how", ["cancelled", "lost"])
    def test_a_probe_that_never_ends_is_not_waited_for(self, fleet: Fleet, how: str) -> None:
        """The next job tries the engine instead."""
        fleet.submit(10, engine="codex", priority=Priority.HIGH)
        fleet.submit(11, engine="codex")
        fleet.clock.advance(OPEN_SECONDS)
        fleet.scheduler.roster.probe(now=fleet.clock.now())
        probe = fleet.take()
        if how == "cancelled":
            fleet.ask(cancelling(fleet, probe.job))
        else:
            fleet.beat(boot="next")

        assert len(fleet.claim(boot=BOOT if how == "cancelled" else "next")) == 1

    def test_an_old_failure_that_is_told_again_says_nothing_of_the_attempt_after_it(self) -> None:
        """Its answer was lost; it was counted when it came first, and where it happened."""
        fleet = Fleet(make_factory(ONE, engines=("codex",)), make_factory(TWO, engines=("codex",)))
        fleet.submit(1, engine="codex", restarts=1)
        old, report = fleet.take(ONE), values.make_report(Outcome.LAUNCH_FAILED)
        fleet.complete(old, report)
        new = fleet.take(TWO)
        assert new.job == old.job
        before = fleet.scheduler.roster.breaker(TWO, "codex")

        assert fleet.complete(old, report) is None
        assert fleet.scheduler.roster.breaker(TWO, "codex") == before

    def test_a_success_counts_beside_a_stale_report_of_the_same_batch(self) -> None:
        """What is refused takes nothing away from what is taken in."""
        fleet = Fleet(make_factory(ONE, engines=("codex",)))
        self.fail(fleet, 1)
        fleet.submit(2, engine="codex")
        held = fleet.take()
        before = fleet.scheduler.roster.breaker(ONE, "codex").average
        stale, good = (Complete([(held.job, epoch, values.make_report())]) for epoch in (Epoch(0), held.epoch))

        fleet.run(stale, good)

        assert [type(each) for each in (*stale.value(), *good.value())] == [LeaseLost, type(None)]
        assert fleet.scheduler.roster.breaker(ONE, "codex").average > before

    def test_a_failure_that_is_told_twice_counts_once(self) -> None:
        """The health falls once."""
        fleet = Fleet(make_factory(ONE, engines=("codex",)))
        fleet.submit(1, engine="codex")
        fleet.submit(2, engine="codex")
        one, other = fleet.claim(jobs=2)
        for handover, times in ((one, 1), (other, 3)):
            report = values.make_report(Outcome.NO_ENGINE)
            before = fleet.scheduler.roster.breaker(ONE, "codex").average
            fleet.run(*(Complete([(handover.job, handover.epoch, report)]) for _ in range(times)))
            assert fleet.scheduler.roster.breaker(ONE, "codex").average == pytest.approx(0.8 * before)


class TestFailingCommits:
    """A batch that could not be stored."""

    def test_everybody_is_told_and_nothing_is_kept(self, fleet: Fleet) -> None:
        """Each has an error of its own; the memory is what the database is, and all goes on."""
        fleet.submit(1)
        fleet.submit(2)
        held = fleet.take()
        before = memory(fleet.fresh())
        batch: list[Command[Any]] = [
            fleet.claim_of(TWO),
            fleet.claim_of(ONE, boot="next", wait_seconds=60),
            Complete([(held.job, held.epoch, values.make_report())]),
            Heartbeat(factory=TWO, boot=BootId("other"), held=[Held(job=held.job, epoch=held.epoch)]),
            Act(lambda tx: submit(tx, values.make_new_job(3), now=fleet.clock.now())),
            cancelling(fleet, JobId("job-demo-2")),
        ]
        fleet.store.failing = True
        assert fleet.run(*batch) == batch
        fleet.store.failing = False

        for command in batch:
            with pytest.raises(StorageFailed, match="the disk is full"):
                command.value()
        fleet.ask(Look(lambda _: None))
        assert memory(fleet.scheduler) == before
        assert fleet.complete(held) is None
        assert len(fleet.claim(TWO)) == 1
        same(fleet)

    def test_waiting_claims_outlive_it(self, fleet: Fleet) -> None:
        """They are tried again with the memory that was read anew."""
        claim = fleet.claim_of(wait_seconds=60)
        fleet.run(claim)
        fleet.store.failing = True
        with pytest.raises(StorageFailed):
            fleet.submit(1)
        fleet.store.failing = False
        fleet.submit(2)

        assert fleet.retry() == [claim]
        assert [each.job for each in claim.value()] == ["job-demo-2"]
