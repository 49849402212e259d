"""How attempts end, what beats say, and what sweeps take back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.steps import cancelling, first_end, pass_sweeps, same, submit_and_fail
from tests.engine.world import LEASE_SECONDS, ONE, TWO, Fleet, make_factory

from pilothouse.engine.commands import Act, Claim, Complete, Heartbeat, Look
from pilothouse.errors import Conflict, LeaseLost, NotFound
from pilothouse.fleet.job import Outcome, Progress
from pilothouse.fleet.stages import Stage
from pilothouse.ids import BootId, Epoch, JobId
from pilothouse.operations.submit import submit
from pilothouse.ports.dispatch import Word
from pilothouse.testing import values
from pilothouse.testing.values import BOOT


@pytest.fixture(name="fleet")
def _fleet() -> Fleet:
    return Fleet(make_factory(ONE, seats=2), make_factory(TWO, seats=2))


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
