"""What every store must do with jobs, as tests; the larger part of `store_conformance`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pilothouse.errors import Conflict, KeyReused, NotFound, PilothouseError
from pilothouse.fleet.claim import attempt_folder
from pilothouse.fleet.job import Job, NewJob, Outcome, Priority, Progress
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch, JobId, ProductId
from pilothouse.ports.store import Store, Transaction
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import BOOT, CAMPAIGN, FACTORY, PRODUCT

OTHER = ProductId("other")
LATER = BEGIN + timedelta(seconds=1)
NOBODY = JobId("job-nobody")


def insert(tx: Transaction, new: NewJob, *, now: datetime = BEGIN) -> Job:
    """Store a job in the queue."""
    return tx.jobs.insert(new, stage=Stage.QUEUED, now=now)


def assign(tx: Transaction, job: JobId, *, epoch: int = 0) -> Job | None:
    """Claim the job at the epoch."""
    return tx.jobs.assign(
        job,
        epoch=Epoch(epoch),
        factory=FACTORY,
        boot=BOOT,
        expires=BEGIN + timedelta(seconds=30),
        folder=attempt_folder(job, Epoch(epoch + 1)),
        now=LATER,
    )


def start(tx: Transaction, job: JobId, *, epoch: int = 1) -> Job | None:
    """Start the attempt of the epoch."""
    return tx.jobs.start(job, epoch=Epoch(epoch), pid=4242, pid_started=1767323045.25, now=LATER)


def building(tx: Transaction, number: int = 1) -> Job:
    """Store a job and bring it to building at epoch 1."""
    job = insert(tx, values.make_new_job(number))
    assert assign(tx, job.id)
    started = start(tx, job.id)
    assert started is not None
    return started


def finish(
    tx: Transaction, job: JobId, outcome: Outcome = Outcome.SUCCEEDED, *, stage: Stage = Stage.SHIPPED, epoch: int = 1
) -> Job | None:
    """End the attempt of the epoch."""
    report = values.make_report(outcome)
    return tx.jobs.finish(job, epoch=Epoch(epoch), stage=stage, report=report, now=LATER)


class JobsConformance:
    """Jobs: identity, lists, fenced moves, attempts, history and artifacts."""

    def test_a_stored_job_is_what_was_handed_in(self, store: Store) -> None:
        """The hot part and the spec come back as they went in, in another transaction."""
        new = values.make_new_job(1, priority=Priority.HIGH, spec=values.make_spec(seats=3))
        with store.write() as tx:
            inserted = insert(tx, new)
        with store.read() as tx:
            stored, spec = tx.jobs.by_id(new.id), tx.jobs.spec(new.id)
            by_key = tx.jobs.by_key(PRODUCT, new.key)

        assert stored == inserted == by_key
        assert (spec, spec.digest()) == (new.spec, new.spec.digest())
        assert stored is not None
        assert (stored.stage, stored.epoch, stored.priority, stored.seats) == (Stage.QUEUED, 0, Priority.HIGH, 3)
        assert (stored.created_at, stored.created_at.tzinfo) == (BEGIN, UTC)

    def test_what_is_not_there_is_none_or_not_found(self, store: Store) -> None:
        """Looking up by id or key gives None; a spec must exist."""
        with store.read() as tx:
            assert tx.jobs.by_id(NOBODY) is None
            assert tx.jobs.by_key(PRODUCT, "no") is None
            assert tx.jobs.attempt(NOBODY, epoch=Epoch(1)) is None
            with pytest.raises(NotFound):
                tx.jobs.spec(NOBODY)

    def test_a_key_stands_for_one_job_of_its_product(self, store: Store) -> None:
        """The second job under a key is refused, and another product may use the same key."""
        with store.write() as tx:
            insert(tx, values.make_new_job(1, key="k"))
        with pytest.raises(KeyReused), store.write() as tx:
            insert(tx, values.make_new_job(2, key="k"))
        with store.write() as tx:
            insert(tx, values.make_new_job(3, key="k", product=OTHER))
        with store.read() as tx:
            mine, theirs = tx.jobs.by_key(PRODUCT, "k"), tx.jobs.by_key(OTHER, "k")

        assert mine is not None
        assert theirs is not None
        assert mine.id != theirs.id

    def test_an_id_is_taken_once(self, store: Store) -> None:
        """Two jobs cannot share an id, whatever their keys and products."""
        new = values.make_new_job(1)
        with store.write() as tx:
            insert(tx, new)
        with pytest.raises(Conflict), store.write() as tx:
            insert(tx, replace(new, key="other", product=OTHER))

    @pytest.mark.parametrize("bad", ["", "a/b", "..", "a b", "ä"])
    def test_an_id_that_is_no_file_name_is_refused(self, store: Store, bad: str) -> None:
        """Ids name folders, so one with a path in it never gets in."""
        with pytest.raises(PilothouseError), store.write() as tx:
            insert(tx, replace(values.make_new_job(1), id=JobId(bad)))

    def test_a_job_begins_only_blocked_or_queued(self, store: Store) -> None:
        """No job is born in the middle of its life."""
        for stage in set(Stage) - {Stage.BLOCKED, Stage.QUEUED}:
            with pytest.raises(Conflict), store.write() as tx:
                tx.jobs.insert(values.make_new_job(1), stage=stage, now=BEGIN)

    def test_keys_are_found_by_prefix_exactly_as_written(self, store: Store) -> None:
        """Wildcards, case and longer alphabets are letters like any other; the order is that of storing."""
        keys = ["c/step#2", "c/step#1", "C/step#0", "c/st", "c%step#0", "c_step", "c/stepé#1", "c/step"]
        with store.write() as tx:
            for number, key in enumerate(keys):
                insert(tx, values.make_new_job(number, key=key))
            insert(tx, values.make_new_job(99, key="c/step#9", product=OTHER))
        with store.read() as tx:
            found = {
                prefix: [job.key for job in tx.jobs.keys_like(PRODUCT, prefix)] for prefix in ("c/step#", "c%", "")
            }

        assert found == {"c/step#": ["c/step#2", "c/step#1"], "c%": ["c%step#0"], "": keys}

    def test_lists_are_newest_first_and_stay_within_product_and_campaign(self, store: Store) -> None:
        """Neither another product's jobs nor another campaign's ever show."""
        with store.write() as tx:
            for number in range(6):
                spec = values.make_spec(campaign="even" if number % 2 == 0 else "odd")
                insert(tx, values.make_new_job(number, spec=spec))
            insert(tx, values.make_new_job(7, product=OTHER, spec=values.make_spec(campaign="even")))
        with store.read() as tx:
            everything = [job.key for job in tx.jobs.listed(PRODUCT, campaign=None, limit=4)]
            even = [job.key for job in tx.jobs.listed(PRODUCT, campaign="even", limit=9)]

        assert everything == ["step/5", "step/4", "step/3", "step/2"]
        assert even == ["step/4", "step/2", "step/0"]

    def test_queued_and_leased_split_the_open_jobs(self, store: Store) -> None:
        """Blocked and ended jobs are in neither list."""
        with store.write() as tx:
            tx.jobs.insert(values.make_new_job(1), stage=Stage.BLOCKED, now=BEGIN)
            queued = insert(tx, values.make_new_job(2))
            assigned = insert(tx, values.make_new_job(3))
            assign(tx, assigned.id)
            running = building(tx, 4)
            ended = building(tx, 5)
            finish(tx, ended.id)
        with store.read() as tx:
            assert [job.id for job in tx.jobs.queued()] == [queued.id]
            assert [job.id for job in tx.jobs.leased()] == [assigned.id, running.id]

    def test_a_claim_raises_the_epoch_and_opens_an_attempt(self, store: Store) -> None:
        """The job carries its holder and the attempt its folder."""
        with store.write() as tx:
            job = insert(tx, values.make_new_job(1))
            assigned = assign(tx, job.id)
            attempt = tx.jobs.attempt(job.id, epoch=Epoch(1))
            assert tx.jobs.by_id(job.id) == assigned

        assert assigned is not None
        assert (assigned.stage, assigned.epoch) == (Stage.ASSIGNED, 1)
        assert (assigned.factory, assigned.boot) == (FACTORY, BOOT)
        assert assigned.lease_expires_at == BEGIN + timedelta(seconds=30)
        assert attempt is not None
        assert (attempt.folder, attempt.claimed_at) == (attempt_folder(job.id, Epoch(1)), LATER)
        assert (attempt.started_at, attempt.outcome, attempt.seconds, attempt.metrics) == (None, None, None, {})

    def test_a_job_is_claimed_once(self, store: Store) -> None:
        """Neither the old epoch nor the new one lets anybody else have it."""
        with store.write() as tx:
            job = insert(tx, values.make_new_job(1))
            assert assign(tx, job.id)
            assert assign(tx, job.id) is None
            assert assign(tx, job.id, epoch=1) is None
            assert len(tx.jobs.attempts(job.id)) == 1

    @pytest.mark.parametrize("epoch", [0, 2, -1])
    def test_another_epoch_moves_nothing(self, store: Store, epoch: int) -> None:
        """Every fenced write at a wrong epoch returns None and leaves no trace."""
        wrong = Epoch(epoch)
        with store.write() as tx:
            job = insert(tx, values.make_new_job(1))
            assert (
                tx.jobs.assign(
                    job.id, epoch=Epoch(epoch + 5), factory=FACTORY, boot=BOOT, expires=LATER, folder="f", now=LATER
                )
                is None
            )
            assign(tx, job.id)
            assert tx.jobs.start(job.id, epoch=wrong, pid=1, pid_started=1.0, now=LATER) is None
            running = start(tx, job.id)
        with store.read() as tx:
            before = tx.jobs.by_id(job.id), tx.jobs.attempts(job.id), tx.jobs.events(job.id)
        with store.write() as tx:
            progress = Progress(step=1, total=2, values={})
            assert tx.jobs.renew(job.id, epoch=wrong, expires=LATER) is None
            assert not tx.jobs.observe(job.id, epoch=wrong, progress=progress, now=LATER)
            assert finish(tx, job.id, epoch=epoch) is None
            assert tx.jobs.cancel(job.id, epoch=wrong, now=LATER) is None
            assert tx.touched == ()
        with store.read() as tx:
            after = tx.jobs.by_id(job.id), tx.jobs.attempts(job.id), tx.jobs.events(job.id)

        assert before == after
        assert before[0] == running

    def test_a_start_keeps_the_process(self, store: Store) -> None:
        """The pid and its start time name the process; a job starts once."""
        with store.write() as tx:
            job = building(tx)
            assert start(tx, job.id) is None
            attempt = tx.jobs.attempt(job.id, epoch=Epoch(1))

        assert job.stage is Stage.BUILDING
        assert attempt is not None
        assert (attempt.pid, attempt.pid_started, attempt.started_at) == (4242, 1767323045.25, LATER)

    def test_a_renewal_extends_the_lease_and_makes_no_history(self, store: Store) -> None:
        """Only the expiry changes."""
        with store.write() as tx:
            job = building(tx)
            renewed = tx.jobs.renew(job.id, epoch=Epoch(1), expires=LATER + timedelta(hours=1))
            events = tx.jobs.events(job.id)

        assert renewed == replace(job, lease_expires_at=LATER + timedelta(hours=1))
        assert len(events) == 3

    def test_the_last_sign_of_life_is_kept(self, store: Store) -> None:
        """Numbers that are not finite come back as they are."""
        progress = Progress(step=7, total=None, values={"grad": float("nan"), "loss": float("-inf"), "lr": 0.1})
        with store.write() as tx:
            job = building(tx)
            assert tx.jobs.observe(job.id, epoch=Epoch(1), progress=progress, now=LATER)
        with store.read() as tx:
            attempt = tx.jobs.attempt(job.id, epoch=Epoch(1))

        assert attempt is not None
        assert attempt.progress is not None
        assert repr(attempt.progress) == repr(progress)
        assert attempt.progress_at == LATER

    def test_a_shipped_job_publishes_its_artifacts(self, store: Store) -> None:
        """The report is kept with the attempt, in the order of the artifacts."""
        artifacts = (values.make_artifact("tokens", content="t"), values.make_artifact("checkpoint", content="c"))
        report = values.make_report(artifacts=artifacts, metrics={"loss": 0.5, "worst": float("inf")})
        with store.write() as tx:
            job = building(tx)
            shipped = tx.jobs.finish(job.id, epoch=Epoch(1), stage=Stage.SHIPPED, report=report, now=LATER)
        with store.read() as tx:
            attempt = tx.jobs.attempt(job.id, epoch=Epoch(1))
            published = tuple(tx.jobs.artifacts(job.id))

        assert shipped is not None
        assert (shipped.stage, shipped.epoch, shipped.factory, shipped.lease_expires_at) == (
            Stage.SHIPPED,
            1,
            None,
            None,
        )
        assert attempt is not None
        assert (attempt.outcome, attempt.metrics, attempt.ended_at) == (Outcome.SUCCEEDED, report.metrics, LATER)
        assert (attempt.exit_code, attempt.seconds, attempt.peak_memory_mb) == (0, 2.5, 64.5)
        assert published == artifacts

    def test_a_failed_job_publishes_nothing(self, store: Store) -> None:
        """What a failed attempt sealed is kept out of sight."""
        report = values.make_report(Outcome.CRASHED, artifacts=(values.make_artifact(),))
        with store.write() as tx:
            job = building(tx)
            tx.jobs.finish(job.id, epoch=Epoch(1), stage=Stage.FAILED, report=report, now=LATER)
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
            job = building(tx)
            back = finish(tx, job.id, outcome, stage=Stage.QUEUED)
            again = assign(tx, job.id, epoch=2)
            attempts = tx.jobs.attempts(job.id)

        assert back is not None
        assert (back.stage, back.epoch, back.boot) == (Stage.QUEUED, 2, None)
        assert (back.failures, back.preemptions, back.losses) == counted
        assert again is not None
        assert [(attempt.epoch, attempt.outcome) for attempt in attempts] == [(1, outcome), (3, None)]

    def test_a_second_attempt_leaves_the_first_as_it_ended(self, store: Store) -> None:
        """Each keeps its own report, and only the shipped one publishes."""
        failed = values.make_report(Outcome.CRASHED, artifacts=(values.make_artifact(content="half"),))
        shipped = values.make_report(artifacts=(values.make_artifact(content="whole"),))
        with store.write() as tx:
            job = building(tx)
            tx.jobs.finish(job.id, epoch=Epoch(1), stage=Stage.QUEUED, report=failed, now=LATER)
            first = tx.jobs.attempt(job.id, epoch=Epoch(1))
            assign(tx, job.id, epoch=2)
            start(tx, job.id, epoch=3)
            tx.jobs.finish(job.id, epoch=Epoch(3), stage=Stage.SHIPPED, report=shipped, now=LATER)
            second = tx.jobs.attempt(job.id, epoch=Epoch(3))
            published = tuple(tx.jobs.artifacts(job.id))
            attempts = tx.jobs.attempts(job.id)
            intact = [tx.jobs.is_intact(PRODUCT, each.artifacts[0].digest) for each in (failed, shipped)]

        assert first is not None
        assert second is not None
        assert (first.outcome, second.outcome) == (Outcome.CRASHED, Outcome.SUCCEEDED)
        assert list(attempts) == [first, second]
        assert published == shipped.artifacts
        assert intact == [False, True]

    def test_a_log_in_a_broken_encoding_cannot_block_a_report(self, store: Store) -> None:
        """Lone surrogates are replaced, zero bytes and other scripts are kept."""
        report = values.make_report(Outcome.CRASHED, detail="bad \ud800 byte, \x00 and 日本")
        with store.write() as tx:
            job = building(tx)
            tx.jobs.finish(job.id, epoch=Epoch(1), stage=Stage.FAILED, report=report, now=LATER)
            attempt = tx.jobs.attempt(job.id, epoch=Epoch(1))

        assert attempt is not None
        assert attempt.detail == "bad ? byte, \x00 and 日本"

    def test_a_cancelled_job_fences_its_holder(self, store: Store) -> None:
        """The epoch grows and the attempt is ended with the seconds it had."""
        with store.write() as tx:
            job = building(tx)
            cancelled = tx.jobs.cancel(job.id, epoch=Epoch(1), now=LATER + timedelta(seconds=3))
            attempt = tx.jobs.attempt(job.id, epoch=Epoch(1))
            assert tx.jobs.renew(job.id, epoch=Epoch(1), expires=LATER) is None

        assert cancelled is not None
        assert (cancelled.stage, cancelled.epoch, cancelled.factory) == (Stage.CANCELLED, 2, None)
        assert attempt is not None
        assert (attempt.outcome, attempt.seconds) == (Outcome.CANCELLED, 3.0)

    @pytest.mark.parametrize("end", [Stage.SHIPPED, Stage.FAILED, Stage.CANCELLED, Stage.DEAD_LETTER])
    def test_an_end_is_an_end(self, store: Store, end: Stage) -> None:
        """No fenced write moves a job that has ended, not even at its own epoch."""
        with store.write() as tx:
            job = building(tx)
            ended = finish(tx, job.id, Outcome.CRASHED, stage=end)
        with store.write() as tx:
            assert assign(tx, job.id, epoch=1) is None
            assert start(tx, job.id) is None
            assert tx.jobs.renew(job.id, epoch=Epoch(1), expires=LATER) is None
            assert finish(tx, job.id, stage=Stage.QUEUED) is None
            assert tx.jobs.cancel(job.id, epoch=Epoch(1), now=LATER) is None
            assert tx.jobs.by_id(job.id) == ended

    def test_the_tables_know_the_ways_between_stages(self, store: Store) -> None:
        """An assigned job cannot ship: it has never run."""
        with store.write() as tx:
            job = insert(tx, values.make_new_job(1))
            assign(tx, job.id)
        with pytest.raises(Conflict, match="stage table"), store.write() as tx:
            finish(tx, job.id)

    def test_history_is_written_by_the_store(self, store: Store) -> None:
        """Each move is one event, numbered from one, with the stage before and the time of the move."""
        with store.write() as tx:
            job = building(tx)
            finish(tx, job.id, Outcome.LOST, stage=Stage.QUEUED)
            tx.jobs.cancel(job.id, epoch=Epoch(2), now=LATER)
            events = tx.jobs.events(job.id)

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
            theirs = insert(tx, values.make_new_job(9, product=OTHER))
            assign(tx, theirs.id)
            start(tx, theirs.id)
            for job in [*jobs, theirs]:
                tx.jobs.finish(job.id, epoch=Epoch(1), stage=Stage.SHIPPED, report=report, now=LATER)
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
            wide = insert(tx, values.make_new_job(1, spec=values.make_spec(seats=2)))
            assign(tx, wide.id)
            start(tx, wide.id)
            finish(tx, wide.id, Outcome.CRASHED, stage=Stage.QUEUED)
            assign(tx, wide.id, epoch=2)
            start(tx, wide.id, epoch=3)
            finish(tx, wide.id, epoch=3)
            building(tx, 2)
            elsewhere = insert(tx, values.make_new_job(3, spec=values.make_spec(campaign="else")))
            assign(tx, elsewhere.id)
            start(tx, elsewhere.id)
            finish(tx, elsewhere.id)
        with store.read() as tx:
            assert tx.jobs.seconds_spent(PRODUCT, campaign=CAMPAIGN) == 2 * 2 * 2.5
            assert tx.jobs.seconds_spent(PRODUCT, campaign="none") == 0.0
            assert tx.jobs.seconds_spent(OTHER, campaign=CAMPAIGN) == 0.0
