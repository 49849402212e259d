"""The engine's one thread of thought, without the thread: claims, ends, beats, sweeps, and commits that fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.engine.world import LEASE_SECONDS, ONE, THREE, TWO, Fleet, make_factory, memory

from pilothouse.engine.commands import Act, Claim, Command, Complete, Heartbeat, Look
from pilothouse.engine.sweeps import OVERTIME_SECONDS, UNHEARD_SECONDS
from pilothouse.errors import BadValue, Conflict, LeaseLost, NotFound, StorageFailed
from pilothouse.fleet.factory import FAILURES_MAX, OPEN_SECONDS, FactoryState
from pilothouse.fleet.job import Job, Outcome, Priority, Progress
from pilothouse.fleet.retry import FACTORIES_MAX
from pilothouse.fleet.stages import Stage
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.operations.cancel import cancel
from pilothouse.operations.submit import submit
from pilothouse.ports.dispatch import Held, Word
from pilothouse.ports.store import Transaction
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import BOOT, CAMPAIGN, PRODUCT

SWEEP_SECONDS = LEASE_SECONDS / 3


@pytest.fixture(name="fleet")
def _fleet() -> Fleet:
    return Fleet(make_factory(ONE, seats=2), make_factory(TWO, seats=2))


def same(fleet: Fleet) -> None:
    """Compare the memory with the database."""
    assert memory(fleet.scheduler) == memory(fleet.fresh())


def cancelling(fleet: Fleet, job: JobId) -> Act[Job]:
    """Return the command that cancels a job."""
    return Act(lambda tx: cancel(tx, job, now=fleet.clock.now()))


def submit_and_fail(tx: Transaction) -> Job:
    """Write something, then fail."""
    job = submit(tx, values.make_new_job(1), now=BEGIN)
    raise Conflict(f"{job.id} is not wanted", fix="none")


def first_end(fleet: Fleet, job: JobId) -> str:
    """Return what stands in the first attempt of a job about its end."""
    with fleet.store.read() as tx:
        return tx.jobs.attempts(job)[0].detail


def pass_sweeps(fleet: Fleet, count: int, *, beating: tuple[FactoryName, ...] = ()) -> list[JobId]:
    """Let so many sweeps happen, each at its time, and return what they took back."""
    taken: list[JobId] = []
    for _ in range(count):
        fleet.clock.advance(SWEEP_SECONDS)
        for factory in beating:
            fleet.beat(factory)
        taken += fleet.sweep()
    return taken


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


class TestEnds:
    """Reports of attempts."""

    @pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.CRASHED, Outcome.PREEMPTED])
    def test_a_report_may_come_twice(self, fleet: Fleet, outcome: Outcome) -> None:
        """In one batch or in two, and nothing is counted twice."""
        fleet.submit(1, restarts=5)
        handover = fleet.take()
        ended = (handover.job, handover.epoch, values.make_report(outcome))
        both = Complete([ended, ended]), Complete([ended])
        fleet.run(*both)
        after = fleet.job(handover.job)

        assert [list(command.value()) for command in both] == [[None, None], [None]]
        assert fleet.complete(handover, values.make_report(outcome)) is None
        assert fleet.job(handover.job) == after
        assert after.failures + after.preemptions <= 1
        same(fleet)

    def test_other_words_of_an_epoch_that_is_over_are_refused(self, fleet: Fleet) -> None:
        """The first word stays."""
        fleet.submit(1)
        handover = fleet.take()
        fleet.complete(handover)

        for report in (values.make_report(Outcome.CRASHED), values.make_report(metrics={"loss": 9.0})):
            assert isinstance(fleet.complete(handover, report), LeaseLost)
        assert fleet.job(handover.job).stage is Stage.SHIPPED

    def test_another_factory_has_no_say(self, fleet: Fleet) -> None:
        """Neither by a success nor by a failure; the holder has."""
        fleet.submit(1)
        handover = fleet.take(ONE)

        for outcome in (Outcome.SUCCEEDED, Outcome.CRASHED):
            assert isinstance(fleet.complete(handover, values.make_report(outcome), factory=TWO), LeaseLost)
        assert fleet.complete(handover, factory=ONE) is None

    def test_a_rescued_job_is_fenced(self, fleet: Fleet) -> None:
        """The late success of the first attempt does not count, that of the second does."""
        fleet.submit(1)
        late = fleet.take()
        taken = pass_sweeps(fleet, 5, beating=(TWO,))
        again = fleet.take(TWO)

        assert taken == [late.job]
        assert isinstance(fleet.complete(late), LeaseLost)
        assert (again.job, again.epoch) == (late.job, 3)
        assert fleet.complete(again) is None
        assert fleet.job(late.job).losses == 1

    def test_each_of_many_ends_gets_its_own_answer(self, fleet: Fleet) -> None:
        """Good, bad and unknown ones in one command."""
        fleet.submit(1)
        fleet.submit(2)
        good, bad = fleet.claim(jobs=2)
        report = values.make_report()
        answers = fleet.ask(
            Complete(
                [
                    (good.job, good.epoch, report),
                    (bad.job, Epoch(9), report),
                    (JobId("job-nobody"), Epoch(1), report),
                    (bad.job, bad.epoch, values.make_report(Outcome.CRASHED)),
                ]
            )
        )

        assert [type(answer) for answer in answers] == [type(None), LeaseLost, NotFound, type(None)]
        assert [fleet.job(each.job).stage for each in (good, bad)] == [Stage.SHIPPED, Stage.QUEUED]
        same(fleet)

    def test_a_success_that_others_wait_for_lets_them_go(self, fleet: Fleet) -> None:
        """Whether they came before the claim, while it ran, or in the same batch as its end."""
        first = fleet.submit(1)
        before = fleet.submit(2, deps=[first.id])
        handover = fleet.take()
        while_running = fleet.submit(3, deps=[first.id])
        last = replace(values.make_new_job(4), deps=(first.id,))
        end = Complete([(handover.job, handover.epoch, values.make_report())])
        fleet.run(Act(lambda tx: submit(tx, last, now=fleet.clock.now())), end)

        assert handover.job == first.id
        assert [fleet.job(job).stage for job in (before.id, while_running.id, last.id)] == [Stage.QUEUED] * 3
        same(fleet)

    def test_a_cancelled_job_ends_its_attempt(self, fleet: Fleet) -> None:
        """Its holder is told at its next beat, and its word no longer counts."""
        fleet.submit(1)
        handover = fleet.take()
        fleet.ask(cancelling(fleet, handover.job))

        (order,) = fleet.beat(held=[handover]).commands
        assert (order.job, order.epoch, order.word) == (handover.job, handover.epoch, Word.LOST)
        assert isinstance(fleet.complete(handover), LeaseLost)
        same(fleet)

    def test_one_that_is_claimed_and_cancelled_in_one_batch_is_cancelled(self, fleet: Fleet) -> None:
        """In whichever order."""
        jobs = [fleet.submit(number) for number in (1, 2)]
        claim = fleet.claim_of(jobs=2)
        fleet.run(cancelling(fleet, jobs[0].id), claim, cancelling(fleet, jobs[1].id))

        assert [each.job for each in claim.value()] == [jobs[1].id]
        assert [fleet.job(job.id).stage for job in jobs] == [Stage.CANCELLED] * 2
        same(fleet)

    def test_an_act_that_fails_undoes_only_itself(self, fleet: Fleet) -> None:
        """Its neighbours are kept, and the memory knows nothing of it."""
        bad, good = Act(submit_and_fail), Act(lambda tx: submit(tx, values.make_new_job(2), now=fleet.clock.now()))
        fleet.run(bad, good)

        with pytest.raises(Conflict):
            bad.value()
        assert good.value().key == "step/2"
        assert [each.key for each in fleet.claim(jobs=2)] == ["step/2"]
        same(fleet)

    def test_an_act_that_fails_alone_costs_no_scan_of_the_database(self, fleet: Fleet) -> None:
        """A refused request must not make the engine read everything anew."""
        board = fleet.scheduler.board
        with pytest.raises(Conflict):
            fleet.ask(Act(submit_and_fail))
        fleet.submit(2)

        assert fleet.scheduler.board is board
        same(fleet)


class TestBeats:
    """Heartbeats, and what they are told."""

    def test_a_beat_keeps_the_lease_and_the_progress(self, fleet: Fleet) -> None:
        """Of each attempt that is told."""
        fleet.submit(1)
        handover = fleet.take()
        fleet.begin(handover)
        progress = Progress(step=3, total=9, values={"loss": 0.5}, checkpoint_step=2)

        answer = fleet.beat(held=[handover], progress=progress)

        assert (answer.lease_seconds, answer.commands, answer.draining) == (LEASE_SECONDS, (), False)
        with fleet.store.read() as tx:
            attempt = tx.jobs.attempt(handover.job, epoch=handover.epoch)
        assert attempt is not None
        assert attempt.progress == progress

    def test_what_a_factory_no_longer_holds_is_lost(self, fleet: Fleet) -> None:
        """Another epoch, another factory's job, one that has ended, one that nobody knows."""
        fleet.submit(1)
        fleet.submit(2)
        mine, others = fleet.take(ONE), fleet.take(TWO)
        older, unknown = mine._replace(epoch=Epoch(0)), mine._replace(job=JobId("job-nobody"))

        told = fleet.beat(ONE, held=[older, others, unknown, mine]).commands

        assert [(order.job, order.word) for order in told] == [
            (each.job, Word.LOST) for each in (older, others, unknown)
        ]

    def test_a_closed_session_is_over_for_good(self, fleet: Fleet) -> None:
        """For beats and for claims, alone or in a batch; another boot may go on."""
        fleet.beat()
        taken = pass_sweeps(fleet, 5)
        assert taken == []
        for _ in range(2):
            beat = Heartbeat(factory=ONE, boot=BOOT, held=())
            fleet.run(beat, Look(lambda _: None))
            for word in (beat.value, fleet.beat, fleet.claim):
                with pytest.raises(LeaseLost):
                    word()
        same(fleet)

        assert fleet.beat(boot="boot-2").commands == ()

    def test_a_new_boot_ends_the_old_one(self, fleet: Fleet) -> None:
        """What the old one held is taken back at once, and may go to the new one."""
        job = fleet.submit(1)
        old = fleet.take(boot="old")

        fleet.beat(boot="new")
        again = fleet.take(boot="new")

        assert (again.job, again.epoch) == (job.id, 3)
        assert isinstance(fleet.complete(old), LeaseLost)
        assert "booted anew" in first_end(fleet, old.job)
        same(fleet)

    @pytest.mark.parametrize("in_company", [False, True])
    def test_a_zombie_of_an_old_boot_ends_nothing(self, fleet: Fleet, in_company: bool) -> None:
        """Whatever it says; the new boot keeps what it holds."""
        fleet.submit(1)
        fleet.beat(boot="old")
        held = fleet.take(boot="new")
        words: list[Claim | Heartbeat] = [
            fleet.claim_of(boot="old"),
            Heartbeat(factory=ONE, boot=BootId("old"), held=()),
        ]
        for word in words:
            fleet.run(word, *([Look(lambda _: None)] if in_company else []))
            with pytest.raises(LeaseLost):
                word.value()

        assert fleet.beat(boot="new", held=[held]).commands == ()
        assert fleet.job(held.job).epoch == held.epoch
        same(fleet)


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
