"""What every store must do with the ends of attempts, as tests: publish, count, keep, and never change again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pilothouse.errors import BadValue, Conflict
from pilothouse.fleet.claim import Ending
from pilothouse.fleet.job import FreshStart, Outcome, Progress
from pilothouse.fleet.least_step import LeastStep, least_step
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch
from pilothouse.ports.store import Store
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.jobs_conformance import LATER, OTHER, assign, assigned, building, finish, insert, start
from pilothouse.testing.values import CAMPAIGN, FACTORY, PRODUCT


class EndingsConformance:
    """How attempts end: what they publish, what they count, what is kept of them, and what is never changed again."""

    def test_a_shipped_job_publishes_its_artifacts(self, store: Store) -> None:
        """The report is kept with the attempt, in the order of the artifacts."""
        artifacts = (values.make_artifact("tokens", content="t"), values.make_artifact("checkpoint", content="c"))
        report = values.make_report(artifacts=artifacts, metrics={"loss": 0.5, "worst": float("inf")})
        with store.write() as tx:
            job = building(tx)
            shipped = finish(tx, job, report=report)
        with store.read() as tx:
            attempt = tx.jobs.attempt(job.id, epoch=Epoch(1))
            published = tuple(tx.jobs.artifacts(job.id))

        assert shipped is not None
        assert (shipped.stage, shipped.epoch, shipped.factory, shipped.session) == (Stage.SHIPPED, 1, None, None)
        assert attempt is not None
        assert (attempt.outcome, attempt.metrics, attempt.ended_at) == (Outcome.SUCCEEDED, report.metrics, LATER)
        assert (attempt.exit_code, attempt.seconds, attempt.peak_memory_mb) == (0, 2.5, 64.5)
        assert published == artifacts

    def test_a_failed_job_publishes_nothing(self, store: Store) -> None:
        """What a failed attempt sealed is kept out of sight."""
        report = values.make_report(Outcome.CRASHED, artifacts=(values.make_artifact(),))
        with store.write() as tx:
            job = building(tx)
            finish(tx, job, stage=Stage.FAILED, report=report)
            assert list(tx.jobs.artifacts(job.id)) == []
            assert not tx.jobs.is_intact(PRODUCT, values.make_artifact().digest)

    @pytest.mark.parametrize(
        ("outcome", "counted"),
        [
            (Outcome.CRASHED, (1, 0, 0)),
            (Outcome.PREEMPTED, (0, 1, 0)),
            (Outcome.LOST, (0, 0, 1)),
        ],
    )
    def test_going_back_raises_the_epoch_and_counts_apart(
        self, store: Store, outcome: Outcome, counted: tuple[int, int, int]
    ) -> None:
        """The old holder is fenced, and the next claim is a new attempt."""
        with store.write() as tx:
            back = finish(tx, building(tx), outcome, stage=Stage.QUEUED)
            assert back is not None
            again = assign(tx, back)
            attempts = tx.jobs.attempts(back.id)

        assert (back.stage, back.epoch, back.boot) == (Stage.QUEUED, 2, None)
        assert (back.failures, back.preemptions, back.losses) == counted
        assert again is not None
        assert [(attempt.epoch, attempt.outcome) for attempt in attempts] == [(1, outcome), (3, None)]

    def test_a_second_attempt_leaves_the_first_as_it_ended(self, store: Store) -> None:
        """Each keeps its own report, and only the shipped one publishes."""
        failed = values.make_report(Outcome.CRASHED, artifacts=(values.make_artifact(content="half"),))
        shipped = values.make_report(artifacts=(values.make_artifact(content="whole"),))
        with store.write() as tx:
            back = finish(tx, building(tx), stage=Stage.QUEUED, report=failed)
            assert back is not None
            first = tx.jobs.attempt(back.id, epoch=Epoch(1))
            claimed = assign(tx, back)
            assert claimed is not None
            running = start(tx, claimed)
            assert running is not None
            finish(tx, running, report=shipped)
            second = tx.jobs.attempt(back.id, epoch=Epoch(3))
            published = tuple(tx.jobs.artifacts(back.id))
            attempts = tx.jobs.attempts(back.id)
            intact = [tx.jobs.is_intact(PRODUCT, each.artifacts[0].digest) for each in (failed, shipped)]

        assert first is not None
        assert second is not None
        assert (first.outcome, second.outcome) == (Outcome.CRASHED, Outcome.SUCCEEDED)
        assert list(attempts) == [first, second]
        assert published == shipped.artifacts
        assert intact == [False, True]

    def test_a_batch_ends_the_attempt_of_its_epoch_and_no_other(self, store: Store) -> None:
        """A job that was lost once ships in its second attempt, and the first stays lost."""
        with store.write() as tx:
            back = finish(tx, assigned(tx), Outcome.LOST, stage=Stage.QUEUED)
            assert back is not None
            again = assign(tx, back)
            assert again is not None
            early = Ending(again.number, again.epoch, Stage.BUILDING, values.make_report())
            assert list(tx.jobs.ship([early], now=LATER)) == [again.number]
            assert list(tx.jobs.ship([early._replace(stage=Stage.ASSIGNED)], now=LATER)) == []
            attempts = tx.jobs.attempts(back.id)

        assert [(each.epoch, each.outcome) for each in attempts] == [(1, Outcome.LOST), (3, Outcome.SUCCEEDED)]

    def test_what_a_lost_attempt_has_saved_is_the_least_step_of_the_next(self, store: Store) -> None:
        """With its place; a start below says why in the history, and a job that refuses one says so in its spec."""
        spec = replace(values.make_spec(), fresh_start=FreshStart.REFUSED)
        saved = Progress(step=7, total=None, values={}, checkpoint_step=5)
        with store.write() as tx:
            job = building(tx, new=replace(values.make_new_job(1), spec=spec))
            assert tx.jobs.observe(job.number, epoch=job.epoch, progress=saved, now=LATER)
            back = finish(tx, job, Outcome.LOST, stage=Stage.QUEUED)
            assert back is not None
            again = assign(tx, back)
            assert again is not None
            assert tx.jobs.start(again, epoch=again.epoch, pid=1, pid_started=1.0, now=LATER, why="begins afresh")
        with store.read() as tx:
            least, last = least_step(tx.jobs.attempts(job.id)), tx.jobs.events(job.id)[-1]

            assert least == LeastStep(step=5, factory=FACTORY, folder=f"runs/{job.id}/attempt-1")
            assert (last.epoch, last.stage, last.why) == (again.epoch, Stage.BUILDING, "begins afresh")
            assert tx.jobs.spec(job.id) == spec

    def test_a_log_in_a_broken_encoding_cannot_block_a_report(self, store: Store) -> None:
        """Lone surrogates and zero bytes, which no store can keep, are replaced; other scripts are kept."""
        report = values.make_report(Outcome.CRASHED, detail="bad \ud800 byte, \x00 and 日本")
        with store.write() as tx:
            job = building(tx)
            finish(tx, job, stage=Stage.FAILED, report=report)
            attempt = tx.jobs.attempt(job.id, epoch=Epoch(1))

        assert attempt is not None
        assert attempt.detail == "bad ? byte, \N{REPLACEMENT CHARACTER} and 日本"

    def test_text_with_a_zero_byte_is_refused_by_name(self, store: Store) -> None:
        """One store could keep it and the other cannot, so neither does; also in a batch."""
        for key in ("a\0b", "\0"):
            with pytest.raises(BadValue, match="zero byte"), store.write() as tx:
                tx.jobs.by_key(PRODUCT, key)
            with pytest.raises(BadValue, match="zero byte"), store.write() as tx:
                insert(tx, values.make_new_job(1, key=key))

    @pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
    def test_a_duration_that_is_no_number_is_refused(self, store: Store, seconds: float) -> None:
        """The databases would each make something else of it; alone as in a batch."""
        report = replace(values.make_report(), seconds=seconds)
        with store.write() as tx:
            job = building(tx)
            with pytest.raises(BadValue, match="not finite"), tx.savepoint():
                finish(tx, job, report=report)
            with pytest.raises(BadValue, match="not finite"), tx.savepoint():
                tx.jobs.ship([Ending(job.number, job.epoch, Stage.BUILDING, report)], now=LATER)
            assert tx.jobs.by_id(job.id) == job

    def test_a_cancelled_job_fences_its_holder(self, store: Store) -> None:
        """The epoch grows and the attempt is ended with the seconds it had."""
        with store.write() as tx:
            job = building(tx)
            cancelled = tx.jobs.cancel(
                job, stage=Stage.CANCELLED, now=LATER + timedelta(seconds=3), why="ada has cancelled it"
            )
            attempt = tx.jobs.attempt(job.id, epoch=Epoch(1))
            event = tx.jobs.events(job.id)[-1]

        assert cancelled is not None
        assert (cancelled.stage, cancelled.epoch, cancelled.factory) == (Stage.CANCELLED, 2, None)
        assert attempt is not None
        assert (attempt.outcome, attempt.seconds) == (Outcome.CANCELLED, 3.0)
        assert (event.stage, event.epoch, event.why) == (Stage.CANCELLED, 2, "ada has cancelled it")

    @pytest.mark.parametrize("end", [Stage.SHIPPED, Stage.FAILED, Stage.CANCELLED, Stage.DEAD_LETTER])
    def test_an_end_is_an_end(self, store: Store, end: Stage) -> None:
        """No fenced write moves a job that has ended, not even at its own epoch."""
        with store.write() as tx:
            ended = finish(tx, building(tx), Outcome.CRASHED, stage=end)
            assert ended is not None
        with store.write() as tx:
            assert assign(tx, ended) is None
            assert start(tx, ended) is None
            assert finish(tx, ended, stage=Stage.QUEUED) is None
            assert tx.jobs.ask_to_stop(ended, by=LATER, now=LATER, why="") is None
            assert tx.jobs.cancel(ended, stage=Stage.CANCELLED, now=LATER, why="") is None
            assert tx.jobs.by_id(ended.id) == ended

    def test_the_tables_know_the_ways_between_stages(self, store: Store) -> None:
        """A queued job cannot go to review: it has never run; and a job that has ended cannot be moved."""
        with store.write() as tx:
            job = insert(tx, values.make_new_job(1))
            ended = finish(tx, building(tx, 2))
            assert ended is not None
        with pytest.raises(Conflict, match="stage table"), store.write() as tx:
            tx.jobs.move(job, stage=Stage.REVIEW, now=LATER, why="")
        with pytest.raises(Conflict, match="has ended"), store.write() as tx:
            tx.jobs.move(ended, stage=Stage.QUEUED, now=LATER, why="")

    def test_history_is_written_by_the_store(self, store: Store) -> None:
        """Each move is one event, numbered from one, with the stage before it, whatever its caller believed."""
        with store.write() as tx:
            claimed = assigned(tx)
            start(tx, claimed)
            back = finish(tx, claimed, Outcome.LOST, stage=Stage.QUEUED)
            assert back is not None
            tx.jobs.cancel(back, stage=Stage.CANCELLED, now=LATER, why="")
            events = tx.jobs.events(back.id)

        assert [(each.sequence, each.previous, each.stage, each.epoch, each.at) for each in events] == [
            (1, None, Stage.QUEUED, 0, BEGIN),
            (2, Stage.QUEUED, Stage.ASSIGNED, 1, LATER),
            (3, Stage.ASSIGNED, Stage.BUILDING, 1, LATER),
            (4, Stage.BUILDING, Stage.QUEUED, 2, LATER),
            (5, Stage.QUEUED, Stage.CANCELLED, 3, LATER),
        ]

    def test_damage_is_marked_wherever_the_folder_was_published(self, store: Store) -> None:
        """Marking tells the makers, oldest first; another product's copy stays."""
        artifact = values.make_artifact()
        report = values.make_report(artifacts=(artifact, values.make_artifact("other", content="else")))
        with store.write() as tx:
            jobs = [building(tx, number) for number in (2, 1)]
            theirs = building(tx, new=values.make_new_job(9, product=OTHER))
            for job in [*jobs, theirs]:
                finish(tx, job, report=report)
            assert tx.jobs.is_intact(PRODUCT, artifact.digest)
            makers = tx.jobs.mark_damaged(PRODUCT, artifact.digest, now=LATER)
        with store.write() as tx:
            again = tx.jobs.mark_damaged(PRODUCT, artifact.digest, now=LATER)
            left = {job.id: [each.name for each in tx.jobs.artifacts(job.id)] for job in [*jobs, theirs]}
            intact = tx.jobs.is_intact(PRODUCT, artifact.digest), tx.jobs.is_intact(OTHER, artifact.digest)

        assert list(makers) == list(again) == [job.id for job in jobs]
        assert left == {jobs[0].id: ["other"], jobs[1].id: ["other"], theirs.id: ["checkpoint", "other"]}
        assert intact == (False, True)

    def test_spent_seconds_count_seats_and_every_ended_attempt(self, store: Store) -> None:
        """Running attempts, other campaigns and other products cost nothing here."""
        with store.write() as tx:
            wide = building(tx, new=values.make_new_job(1, spec=values.make_spec(seats=2)))
            back = finish(tx, wide, Outcome.CRASHED, stage=Stage.QUEUED)
            assert back is not None
            again = assign(tx, back)
            assert again is not None
            finish(tx, again, Outcome.CRASHED, stage=Stage.FAILED)
            building(tx, 2)
            finish(tx, building(tx, new=values.make_new_job(3, spec=values.make_spec(campaign="else"))))
        with store.read() as tx:
            assert tx.jobs.seconds_spent(PRODUCT, campaign=CAMPAIGN) == 2 * 2 * 2.5
            assert tx.jobs.seconds_spent(PRODUCT, campaign="none") == 0.0
            assert tx.jobs.seconds_spent(OTHER, campaign=CAMPAIGN) == 0.0
