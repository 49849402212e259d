"""The verbs of a job's life: submit, assign, start, complete, rescue, cancel."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from pilothouse.errors import Conflict, KeyReused, LeaseLost, NotFound
from pilothouse.fleet.claim import Grant
from pilothouse.fleet.job import Job, Outcome
from pilothouse.fleet.retry import LOSSES_MAX
from pilothouse.fleet.stages import Stage
from pilothouse.fleet.wire import spec_from_json
from pilothouse.ids import BootId, Epoch, FactoryName, JobId, SessionNumber
from pilothouse.operations.campaign_facts import step_facts
from pilothouse.operations.cancel import cancel
from pilothouse.operations.claim import Handover, assign
from pilothouse.operations.complete import complete
from pilothouse.operations.rescue import rescue, rescue_session
from pilothouse.operations.start import start
from pilothouse.operations.submit import submit, submit_many
from pilothouse.ports.store import Transaction
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import BOOT, CAMPAIGN, FACTORY, PRODUCT

LATER = BEGIN + timedelta(seconds=10)


@pytest.fixture(name="tx")
def _tx() -> Iterator[Transaction]:
    """Yield a writing transaction that is kept open for the whole test."""
    store = SqliteStore(":memory:")
    with store.write() as tx:
        yield tx
    store.close()


def queue(tx: Transaction, number: int = 1, *, restarts: int = 1) -> Job:
    """Submit a job."""
    return submit(tx, values.make_new_job(number, spec=values.make_spec(restarts=restarts)), now=BEGIN)


def session_of(tx: Transaction, boot: str) -> SessionNumber:
    """Open the session of a boot, or find it."""
    return tx.factories.open_session(PRODUCT, FACTORY, BootId(boot), now=BEGIN, expires=LATER)


def take(tx: Transaction, job: JobId, *, boot: str = BOOT) -> Handover:
    """Claim a job that is there to be claimed."""
    found = tx.jobs.by_id(job)
    assert found is not None
    (handover,), missed = assign(tx, [Grant(found.number, found.epoch, session_of(tx, boot))], now=BEGIN)
    assert not missed
    return handover


def run(tx: Transaction, job: JobId, *, boot: str = BOOT) -> Epoch:
    """Claim and start a job, and return the epoch of the attempt."""
    epoch = take(tx, job, boot=boot).epoch
    start(tx, job, epoch=epoch, pid=10, pid_started=1.5, now=BEGIN)
    return epoch


def end(tx: Transaction, job: JobId, outcome: Outcome) -> Job:
    """Run the job once to this end."""
    return complete(tx, job, epoch=run(tx, job), report=values.make_report(outcome), now=LATER)


class TestSubmit:
    """A key stands for one job."""

    def test_the_same_spec_under_the_same_key_is_the_same_job(self, tx: Transaction) -> None:
        """Also when the second request brings an id of its own, and the job has moved on."""
        job = queue(tx)
        run(tx, job.id)
        again = submit(tx, replace(values.make_new_job(1), id=JobId("job-other")), now=LATER)

        assert again == tx.jobs.by_id(job.id)

    def test_another_spec_supersedes_a_job_that_has_not_started(self, tx: Transaction) -> None:
        """The old one is cancelled, and the key means the new one from then on."""
        old = queue(tx)
        other = replace(values.make_new_job(2, key=old.key), spec=values.make_spec(seed=8))

        new = submit(tx, other, now=LATER)

        gone = tx.jobs.by_id(old.id)
        assert gone is not None
        assert (gone.stage, new.stage, new.id) == (Stage.CANCELLED, Stage.QUEUED, other.id)
        assert f"superseded by {other.id}" in [event.why for event in tx.jobs.events(old.id)]
        assert submit(tx, replace(other, id=JobId("job-again")), now=LATER) == new

    def test_another_spec_under_the_key_of_a_started_job_is_refused(self, tx: Transaction) -> None:
        """Also when that one was the third of its key; the error names the key and the job that has it."""
        first = queue(tx)
        for seed in (8, 9):
            submit(tx, values.make_new_job(seed, key=first.key, spec=values.make_spec(seed=seed)), now=BEGIN)
        run(tx, JobId("job-demo-9"))
        other = values.make_new_job(10, key=first.key, spec=values.make_spec(seed=10))

        with pytest.raises(KeyReused, match=f"{first.key}.*job-demo-9"):
            submit(tx, other, now=LATER)

    def test_a_cancelled_job_leaves_its_key_to_another_spec(self, tx: Transaction) -> None:
        """The same spec under it is the cancelled job."""
        job = queue(tx)
        cancel(tx, job.id, now=LATER)

        assert submit(tx, values.make_new_job(1), now=LATER).stage is Stage.CANCELLED
        assert submit(tx, values.make_new_job(2, key=job.key, spec=values.make_spec(seed=8)), now=LATER).id != job.id

    def test_many_are_stored_or_found_in_their_order(self, tx: Transaction) -> None:
        """New ones and known ones, in one request."""
        known = queue(tx, 2)

        jobs = submit_many(tx, [values.make_new_job(number) for number in (1, 2, 3)], now=LATER)

        assert [job.key for job in jobs] == ["step/1", "step/2", "step/3"]
        assert jobs[1] == known
        assert submit_many(tx, [values.make_new_job(number) for number in (1, 2, 3)], now=LATER) == jobs


class TestClaim:
    """What a factory is offered."""

    def test_a_handover_carries_all_that_an_attempt_needs(self, tx: Transaction) -> None:
        """The first attempt has nothing to resume."""
        job = queue(tx)
        handover = take(tx, job.id)

        held = tx.jobs.by_id(job.id)
        assert held is not None
        assert (held.epoch, held.stage, held.factory, held.boot) == (1, Stage.ASSIGNED, FACTORY, BOOT)
        assert spec_from_json(json.loads(handover.spec)) == values.make_spec()
        assert (handover.job, handover.epoch, handover.key) == (job.id, 1, job.key)
        assert (handover.folder, handover.earlier_folders) == (f"runs/{job.id}/attempt-1", ())

    def test_a_later_attempt_resumes_from_those_that_had_started(self, tx: Transaction) -> None:
        """Newest first; a claim that was lost before its start has left nothing."""
        job = queue(tx)
        epochs = [run(tx, job.id)]
        rescue(tx, job.id, epoch=epochs[0], why="gone", now=LATER)
        epochs.append(run(tx, job.id))
        rescue(tx, job.id, epoch=epochs[1], why="gone", now=LATER)
        unstarted = take(tx, job.id)
        rescue(tx, job.id, epoch=unstarted.epoch, why="gone", now=LATER)

        offer = take(tx, job.id)

        folders = [f"runs/{job.id}/attempt-{epoch}" for epoch in epochs]
        assert offer.earlier_folders == (folders[1], folders[0])
        assert offer.folder == f"runs/{job.id}/attempt-{offer.epoch}"
        assert offer.folder not in [*folders, unstarted.folder]

    def test_a_later_generation_resumes_from_the_one_before(self, tx: Transaction) -> None:
        """The key without its generation names all that decides a step's outcome."""
        old = submit(tx, values.make_new_job(1, key="train/abc#0"), now=BEGIN)
        epoch = run(tx, old.id)
        complete(tx, old.id, epoch=epoch, report=values.make_report(Outcome.NOT_A_NUMBER), now=LATER)
        new = submit(tx, values.make_new_job(2, key="train/abc#1"), now=BEGIN)

        assert take(tx, new.id).earlier_folders == (f"runs/{old.id}/attempt-{epoch}",)

    def test_a_child_of_a_step_is_no_launch_of_it(self, tx: Transaction) -> None:
        """It resumes from none of the step's checkpoints, and what became of it is not what became of the step."""
        old = submit(tx, values.make_new_job(1, key="train/abc#0"), now=BEGIN)
        epoch = run(tx, old.id)
        complete(tx, old.id, epoch=epoch, report=values.make_report(Outcome.NOT_A_NUMBER), now=LATER)
        new = submit(tx, values.make_new_job(2, key="train/abc#1"), now=BEGIN)
        child = submit(tx, values.make_new_job(3, key="train/abc#1/eval"), now=BEGIN)
        fact = step_facts(tx, values.PRODUCT)("train/abc")

        assert take(tx, child.id).earlier_folders == ()
        assert fact is not None
        assert (fact.job, fact.generation) == (new.id, 1)

    def test_a_job_that_is_held_is_not_given_away(self, tx: Transaction) -> None:
        """Whoever expected it elsewhere is told that it missed."""
        job, other = queue(tx), queue(tx, 2)
        take(tx, job.id)
        held, session = tx.jobs.by_id(job.id), session_of(tx, "boot-2")

        handovers, missed = assign(
            tx, [Grant(job.number, Epoch(0), session), Grant(other.number, Epoch(0), session)], now=LATER
        )

        assert [handover.job for handover in handovers] == [other.id]
        assert list(missed) == [job.number]
        assert tx.jobs.by_id(job.id) == held

    def test_a_job_that_is_not_there_is_not_found(self, tx: Transaction) -> None:
        """Every verb says so by name."""
        nobody = JobId("job-nobody")
        epoch = Epoch(1)
        verbs: list[Callable[[], object]] = [
            lambda: start(tx, nobody, epoch=epoch, pid=1, pid_started=1.0, now=BEGIN),
            lambda: complete(tx, nobody, epoch=epoch, report=values.make_report(), now=BEGIN),
            lambda: cancel(tx, nobody, now=BEGIN),
        ]
        for verb in verbs:
            with pytest.raises(NotFound, match="job-nobody"):
                verb()


class TestStart:
    """The words of a running attempt."""

    def test_a_start_that_is_told_again_changes_nothing(self, tx: Transaction) -> None:
        """Its sender may not have seen the answer; another process under the epoch is refused."""
        job = queue(tx)
        epoch = run(tx, job.id)
        before = tx.jobs.events(job.id)

        again = start(tx, job.id, epoch=epoch, pid=10, pid_started=1.5, now=LATER)

        assert again == tx.jobs.by_id(job.id)
        assert tx.jobs.events(job.id) == before
        with pytest.raises(LeaseLost):
            start(tx, job.id, epoch=epoch, pid=11, pid_started=1.5, now=LATER)

    def test_a_stale_epoch_learns_that_it_is_over(self, tx: Transaction) -> None:
        """Whether the job waits, runs elsewhere, was cancelled or has ended."""
        job = queue(tx)
        epoch = run(tx, job.id)
        rescue(tx, job.id, epoch=epoch, why="gone", now=LATER)

        late: list[Callable[[], object]] = [
            lambda: start(tx, job.id, epoch=epoch, pid=10, pid_started=1.5, now=LATER),
            lambda: complete(tx, job.id, epoch=epoch, report=values.make_report(), now=LATER),
        ]

        def words() -> None:
            for word in late:
                with pytest.raises(LeaseLost, match=f"epoch {epoch} of job {job.id}"):
                    word()

        words()
        run(tx, job.id, boot="boot-2")
        words()
        before = tx.jobs.by_id(job.id)
        words()
        assert tx.jobs.by_id(job.id) == before
        cancel(tx, job.id, now=LATER)
        words()


class TestComplete:
    """Where a report sends the job."""

    def test_a_success_ships_the_job(self, tx: Transaction) -> None:
        """Its artifacts are published and nothing is counted."""
        job = queue(tx)
        epoch = run(tx, job.id)
        report = values.make_report(artifacts=(values.make_artifact(),))

        shipped = complete(tx, job.id, epoch=epoch, report=report, now=LATER)

        assert (shipped.stage, shipped.epoch) == (Stage.SHIPPED, epoch)
        assert (shipped.failures, shipped.preemptions, shipped.losses) == (0, 0, 0)
        assert tuple(tx.jobs.artifacts(job.id)) == report.artifacts

    @pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.CRASHED, Outcome.NOT_A_NUMBER])
    def test_a_report_that_comes_again_changes_nothing(self, tx: Transaction, outcome: Outcome) -> None:
        """Not even when another attempt runs by then; metrics that are no number equal themselves."""
        job = queue(tx)
        epoch = run(tx, job.id)
        report = values.make_report(outcome, metrics={"loss": float("nan")})
        complete(tx, job.id, epoch=epoch, report=report, now=LATER)
        if outcome is Outcome.CRASHED:
            run(tx, job.id)
        before = tx.jobs.by_id(job.id), tx.jobs.events(job.id), tx.jobs.attempts(job.id)

        again = complete(tx, job.id, epoch=epoch, report=report, now=LATER + timedelta(seconds=9))

        assert again == before[0]
        assert repr((tx.jobs.by_id(job.id), tx.jobs.events(job.id), tx.jobs.attempts(job.id))) == repr(before)

    def test_another_report_of_an_epoch_that_is_over_is_refused(self, tx: Transaction) -> None:
        """A success that comes after the rescue does not count."""
        job = queue(tx)
        epoch = run(tx, job.id)
        rescue(tx, job.id, epoch=epoch, why="gone", now=LATER)

        with pytest.raises(LeaseLost):
            complete(tx, job.id, epoch=epoch, report=values.make_report(), now=LATER)
        shipped = end(tx, job.id, Outcome.SUCCEEDED)
        with pytest.raises(LeaseLost):
            complete(tx, job.id, epoch=shipped.epoch, report=values.make_report(Outcome.CRASHED), now=LATER)

    def test_an_attempt_may_end_before_its_start_was_told(self, tx: Transaction) -> None:
        """A short one has succeeded by then, and a command that does not exist never starts."""
        short, broken = queue(tx, 1), queue(tx, 2, restarts=0)
        ends = [
            complete(tx, job.id, epoch=take(tx, job.id).epoch, report=values.make_report(outcome), now=LATER)
            for job, outcome in ((short, Outcome.SUCCEEDED), (broken, Outcome.LAUNCH_FAILED))
        ]

        assert [job.stage for job in ends] == [Stage.SHIPPED, Stage.FAILED]

    def test_only_the_factory_that_holds_the_job_may_end_it(self, tx: Transaction) -> None:
        """Where it is known who speaks."""
        job = queue(tx)
        epoch = run(tx, job.id)
        with pytest.raises(LeaseLost):
            complete(tx, job.id, epoch=epoch, report=values.make_report(), now=LATER, factory=FactoryName("other"))

        shipped = complete(tx, job.id, epoch=epoch, report=values.make_report(), now=LATER, factory=FACTORY)
        assert shipped.stage is Stage.SHIPPED

    def test_a_crash_is_tried_again_as_often_as_the_spec_allows(self, tx: Transaction) -> None:
        """Preemptions and losses in between spend nothing of it."""
        job = queue(tx)
        assert end(tx, job.id, Outcome.PREEMPTED).stage is Stage.QUEUED
        assert end(tx, job.id, Outcome.CRASHED).stage is Stage.QUEUED
        assert end(tx, job.id, Outcome.LOST).stage is Stage.QUEUED
        failed = end(tx, job.id, Outcome.CRASHED)

        assert (failed.stage, failed.failures, failed.preemptions, failed.losses) == (Stage.FAILED, 2, 1, 1)

    def test_the_same_failure_after_a_restart_goes_to_a_person(self, tx: Transaction) -> None:
        """Even while restarts are left."""
        job = queue(tx, restarts=9)
        assert end(tx, job.id, Outcome.SILENT).stage is Stage.QUEUED
        assert end(tx, job.id, Outcome.CRASHED).stage is Stage.QUEUED
        assert end(tx, job.id, Outcome.SILENT).stage is Stage.FAILED

    @pytest.mark.parametrize("outcome", [Outcome.OUT_OF_MEMORY, Outcome.NOT_A_NUMBER, Outcome.PROMISE_BROKEN])
    def test_what_a_restart_cannot_mend_fails_at_once(self, tx: Transaction, outcome: Outcome) -> None:
        """Whatever the allowance."""
        assert end(tx, queue(tx, restarts=9).id, outcome).stage is Stage.FAILED

    def test_an_attempt_may_end_as_cancelled(self, tx: Transaction) -> None:
        """A factory that was told to drop the job closes it, and the late word of anyone else is fenced."""
        cancelled = end(tx, queue(tx).id, Outcome.CANCELLED)

        assert (cancelled.stage, cancelled.epoch, cancelled.failures) == (Stage.CANCELLED, 2, 0)

    def test_a_damaged_input_is_marked_where_it_was_published(self, tx: Transaction) -> None:
        """The job that named it fails, and its maker no longer counts as having it."""
        maker, reader = queue(tx, 1), queue(tx, 2)
        artifact = values.make_artifact()
        report = values.make_report(artifacts=(artifact,))
        complete(tx, maker.id, epoch=run(tx, maker.id), report=report, now=LATER)
        assert tx.jobs.is_intact(PRODUCT, artifact.digest)

        broken = values.make_report(Outcome.INPUT_DAMAGED, damaged=artifact.digest)
        failed = complete(tx, reader.id, epoch=run(tx, reader.id), report=broken, now=LATER)

        assert failed.stage is Stage.FAILED
        assert not tx.jobs.is_intact(PRODUCT, artifact.digest)

    def test_what_went_wrong_is_kept_as_an_incident_of_its_campaign(self, tx: Transaction) -> None:
        """With the response; successes, preemptions and cancellations are none."""
        tx.campaigns.put(values.make_campaign())
        job = queue(tx)
        for outcome in (Outcome.PREEMPTED, Outcome.CRASHED, Outcome.SUCCEEDED):
            end(tx, job.id, outcome)

        incidents = tx.campaigns.incidents(PRODUCT, CAMPAIGN)

        assert [(incident.job, incident.diagnosis, incident.epoch) for incident in incidents] == [
            (job.id, "crashed", 3)
        ]
        assert incidents[0].response.startswith("restart: ")

    def test_an_incident_keeps_the_evidence_and_a_loss_its_own_words(self, tx: Transaction) -> None:
        """The detail stands in the attempt already."""
        tx.campaigns.put(values.make_campaign())
        job = queue(tx)
        crash = replace(values.make_report(Outcome.CRASHED), evidence="the last lines")
        complete(tx, job.id, epoch=run(tx, job.id), report=crash, now=LATER)
        rescue(tx, job.id, epoch=run(tx, job.id), why="its lease ran out", now=LATER)

        incidents = tx.campaigns.incidents(PRODUCT, CAMPAIGN)

        assert [incident.evidence for incident in incidents] == ["the last lines", "its lease ran out"]


class TestRescue:
    """Taking a job back."""

    def test_a_rescue_fences_and_counts_a_loss(self, tx: Transaction) -> None:
        """The attempt says why, with the seconds it can have used at most."""
        job = queue(tx)
        epoch = run(tx, job.id)

        rescued = rescue(tx, job.id, epoch=epoch, why="its lease ran out", now=LATER)

        assert rescued is not None
        assert (rescued.stage, rescued.epoch, rescued.losses, rescued.factory) == (Stage.QUEUED, 2, 1, None)
        attempt = tx.jobs.attempt(job.id, epoch=epoch)
        assert attempt is not None
        assert (attempt.outcome, attempt.detail, attempt.seconds) == (Outcome.LOST, "its lease ran out", 10.0)

    def test_a_rescue_on_old_knowledge_changes_nothing(self, tx: Transaction) -> None:
        """Neither a finished job nor one that was claimed again is touched."""
        job = queue(tx)
        first = run(tx, job.id)
        rescue(tx, job.id, epoch=first, why="gone", now=LATER)
        second = run(tx, job.id)
        assert rescue(tx, job.id, epoch=first, why="gone", now=LATER) is None
        complete(tx, job.id, epoch=second, report=values.make_report(), now=LATER)
        before = tx.jobs.by_id(job.id)

        assert rescue(tx, job.id, epoch=second, why="gone", now=LATER) is None
        assert rescue(tx, JobId("job-nobody"), epoch=second, why="gone", now=LATER) is None
        assert tx.jobs.by_id(job.id) == before

    def test_a_dead_session_gives_back_exactly_what_it_held(self, tx: Transaction) -> None:
        """The same factory's new boot keeps its own, and the old one may never speak again."""
        lost, kept, waiting = (queue(tx, number) for number in (1, 2, 3))
        run(tx, lost.id, boot="old")
        epoch = run(tx, kept.id, boot="new")

        rescued = rescue_session(tx, session_of(tx, "old"), why="dead", now=LATER)

        assert [job.id for job in rescued] == [lost.id]
        held = tx.jobs.by_id(kept.id)
        assert held is not None
        assert (held.stage, held.epoch) == (Stage.BUILDING, epoch)
        assert tx.jobs.by_id(waiting.id) == waiting
        with pytest.raises(LeaseLost):
            session_of(tx, "old")

    def test_a_job_that_is_lost_again_and_again_goes_to_a_person(self, tx: Transaction) -> None:
        """Without a bound, one that kills its machine would never end; every loss is told."""
        tx.campaigns.put(values.make_campaign())
        job = queue(tx)
        stages = []
        for _ in range(LOSSES_MAX):
            rescued = rescue(tx, job.id, epoch=run(tx, job.id), why="gone", now=LATER)
            assert rescued is not None
            stages.append(rescued.stage)

        assert stages == [*([Stage.QUEUED] * (LOSSES_MAX - 1)), Stage.DEAD_LETTER]
        told = tx.campaigns.incidents(PRODUCT, CAMPAIGN)[-1].response
        assert told.count(f"on {FACTORY}") == LOSSES_MAX


class TestCancel:
    """Ending a job that is no longer wanted."""

    def test_a_cancelled_job_stays_cancelled(self, tx: Transaction) -> None:
        """Cancelling twice changes nothing the second time."""
        job = queue(tx)
        run(tx, job.id)

        cancelled = cancel(tx, job.id, now=LATER)

        assert (cancelled.stage, cancelled.epoch) == (Stage.CANCELLED, 2)
        assert cancel(tx, job.id, now=LATER) == cancelled

    @pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.NOT_A_NUMBER])
    def test_a_job_that_has_ended_cannot_be_cancelled(self, tx: Transaction, outcome: Outcome) -> None:
        """The error says how it ended."""
        ended = end(tx, queue(tx).id, outcome)

        with pytest.raises(Conflict, match=ended.stage.value):
            cancel(tx, ended.id, now=LATER)
