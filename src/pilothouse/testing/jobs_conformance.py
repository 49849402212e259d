"""What every store must do with jobs, as tests; the larger part of `store_conformance`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pilothouse.errors import Conflict, KeyReused, NotFound, PilothouseError
from pilothouse.fleet.claim import Ending, Grant, attempt_folder
from pilothouse.fleet.job import EdgeKind, Job, NewJob, Outcome, Placed, Priority, Progress, Report
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch, JobId, JobNumber, ProductId, SessionNumber
from pilothouse.ports.store import Store, Transaction
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import BOOT, FACTORY, PRODUCT

OTHER = ProductId("other")
LATER = BEGIN + timedelta(seconds=1)
NOBODY = JobId("job-nobody")
NUMBERLESS = JobNumber(2**40)


def insert(
    tx: Transaction,
    new: NewJob,
    *,
    stage: Stage = Stage.QUEUED,
    needs: tuple[tuple[JobNumber, EdgeKind], ...] = (),
    parent: JobNumber | None = None,
    now: datetime = BEGIN,
) -> Job:
    """Store one job, in the queue unless told otherwise."""
    [job] = tx.jobs.insert([Placed(new=new, stage=stage, needs=needs, parent=parent)], now=now)
    return job


def session(tx: Transaction, *, product: ProductId = PRODUCT) -> SessionNumber:
    """Open the session of the usual boot, or find it."""
    return tx.factories.open_session(product, FACTORY, BOOT, now=BEGIN, expires=BEGIN + timedelta(seconds=30))


def assign(tx: Transaction, job: Job, *, epoch: int | None = None) -> Job | None:
    """Claim the job at its own epoch, or at another one; return it as it is then, or None."""
    expected = job.epoch if epoch is None else Epoch(epoch)
    left = tx.jobs.assign([Grant(job.number, expected, session(tx))], now=LATER)
    assert left in ([], (), [job.number])
    return None if left else tx.jobs.by_number(job.number)


def start(tx: Transaction, job: Job, *, epoch: int | None = None) -> Job | None:
    """Start the attempt of the job's own epoch, or of another one."""
    return tx.jobs.start(
        job, epoch=job.epoch if epoch is None else Epoch(epoch), pid=4242, pid_started=1767323045.25, now=LATER
    )


def assigned(tx: Transaction, number: int = 1, *, new: NewJob | None = None) -> Job:
    """Store a job and claim it under epoch 1."""
    job = assign(tx, insert(tx, new or values.make_new_job(number)))
    assert job is not None
    return job


def building(tx: Transaction, number: int = 1, *, new: NewJob | None = None) -> Job:
    """Store a job and bring it to building at epoch 1."""
    job = start(tx, assigned(tx, number, new=new))
    assert job is not None
    return job


def finish(
    tx: Transaction,
    job: Job,
    outcome: Outcome = Outcome.SUCCEEDED,
    *,
    stage: Stage = Stage.SHIPPED,
    report: Report | None = None,
) -> Job | None:
    """End the attempt of the job's epoch."""
    return tx.jobs.finish(job, stage=stage, report=report or values.make_report(outcome), now=LATER)


class JobsConformance:
    """Jobs: identity, lists and fenced moves."""

    def test_a_stored_job_is_what_was_handed_in(self, store: Store) -> None:
        """The hot part and the spec come back as they went in, in another transaction."""
        new = values.make_new_job(1, priority=Priority.HIGH, spec=values.make_spec(seats=3))
        with store.write() as tx:
            inserted = insert(tx, new)
        with store.read() as tx:
            stored, spec = tx.jobs.by_id(new.id), tx.jobs.spec(new.id)
            by_key, by_number = tx.jobs.by_key(PRODUCT, new.key), tx.jobs.by_number(inserted.number)
            [(_, shape)] = tx.jobs.shapes([inserted.shape]).items()
            handed = tx.jobs.handed([inserted.number, NUMBERLESS])

        assert stored == inserted == by_key == by_number
        assert (spec, spec.digest()) == (new.spec, new.spec.digest())
        assert (inserted.stage, inserted.epoch, inserted.priority, inserted.seats) == (
            Stage.QUEUED,
            0,
            Priority.HIGH,
            3,
        )
        assert (inserted.created_at, inserted.created_at.tzinfo) == (BEGIN, UTC)
        assert shape == new.spec.shape(product=PRODUCT, pool=new.pool)
        assert set(handed) == {inserted.number}
        assert (handed[inserted.number].id, handed[inserted.number].key) == (new.id, new.key)

    def test_what_is_not_there_is_none_or_not_found(self, store: Store) -> None:
        """Looking up by id, number or key gives None; a spec must exist."""
        with store.read() as tx:
            assert tx.jobs.by_id(NOBODY) is None
            assert tx.jobs.by_number(NUMBERLESS) is None
            assert tx.jobs.by_key(PRODUCT, "no") is None
            assert tx.jobs.by_keys(PRODUCT, ["no", "none"]) == []
            assert tx.jobs.attempt(NOBODY, epoch=Epoch(1)) is None
            assert (tx.jobs.attempts(NOBODY), tx.jobs.events(NOBODY), tx.jobs.artifacts(NOBODY)) == ([], [], [])
            with pytest.raises(NotFound):
                tx.jobs.spec(NOBODY)

    def test_a_key_stands_for_one_job_of_its_product(self, store: Store) -> None:
        """The second job under a key is refused, and another product may use the same key."""
        with store.write() as tx:
            mine = insert(tx, values.make_new_job(1, key="k"))
        with pytest.raises(KeyReused), store.write() as tx:
            insert(tx, values.make_new_job(2, key="k"))
        with store.write() as tx:
            theirs = insert(tx, values.make_new_job(3, key="k", product=OTHER))
        with store.read() as tx:
            assert tx.jobs.by_key(PRODUCT, "k") == mine
            assert tx.jobs.by_key(OTHER, "k") == theirs
            assert tx.jobs.by_keys(PRODUCT, ["none", "k"]) == [mine]

    def test_a_batch_is_stored_whole_or_not_at_all(self, store: Store) -> None:
        """One key that is taken keeps the others out, and the numbers of a batch grow in its order."""
        with store.write() as tx:
            placed = [Placed(new=values.make_new_job(number), stage=Stage.QUEUED) for number in (3, 1, 2)]
            jobs = tx.jobs.insert(placed, now=BEGIN)
        news = [values.make_new_job(8), values.make_new_job(9, key="step/2")]
        more = [Placed(new=new, stage=Stage.QUEUED) for new in news]
        with pytest.raises(KeyReused), store.write() as tx:
            tx.jobs.insert(more, now=BEGIN)
        with store.write() as tx:
            assert list(tx.jobs.insert([], now=BEGIN)) == []
            assert list(tx.touched) == []
            stored = tx.jobs.listed(PRODUCT, limit=9)

        assert [job.key for job in jobs] == ["step/3", "step/1", "step/2"]
        assert list(reversed(stored)) == list(jobs)
        assert [job.number for job in jobs] == sorted(job.number for job in jobs)

    def test_a_batch_may_be_larger_than_what_a_socket_holds(self, store: Store) -> None:
        """Nobody waits for an answer to what was sent only in part."""
        spec = replace(values.make_new_job(1).spec, config={"text": "x" * 50_000})
        placed = [
            Placed(new=replace(values.make_new_job(number), spec=spec), stage=Stage.QUEUED) for number in range(1, 301)
        ]
        with store.write() as tx:
            tx.jobs.insert(placed, now=BEGIN)
        with store.read() as tx:
            assert len(tx.jobs.listed(PRODUCT, limit=1000)) == 300

    def test_an_id_is_taken_once(self, store: Store) -> None:
        """Two jobs cannot share an id, whatever their keys and products."""
        new = values.make_new_job(1)
        with store.write() as tx:
            insert(tx, new)
        with pytest.raises(Conflict), store.write() as tx:
            insert(tx, replace(new, key="other", product=OTHER))

    @pytest.mark.parametrize("bad", ["", "a/b", "..", "a b", "ä", "a\n", "x" * 101])
    def test_an_id_that_is_no_file_name_is_refused(self, store: Store, bad: str) -> None:
        """Ids name folders, so one with a path in it never gets in."""
        with pytest.raises(PilothouseError), store.write() as tx:
            insert(tx, replace(values.make_new_job(1), id=JobId(bad)))

    def test_a_job_begins_only_blocked_or_queued(self, store: Store) -> None:
        """No job is born in the middle of its life."""
        for stage in set(Stage) - {Stage.BLOCKED, Stage.QUEUED}:
            with pytest.raises(Conflict), store.write() as tx:
                insert(tx, values.make_new_job(1), stage=stage)

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
        """Neither another product's jobs nor another campaign's ever show, and a listing can be continued."""
        with store.write() as tx:
            for number in range(6):
                spec = values.make_spec(campaign="even" if number % 2 == 0 else "odd")
                priority = Priority.HIGH if number > 3 else Priority.LOW
                insert(tx, values.make_new_job(number, spec=spec, priority=priority))
            insert(tx, values.make_new_job(7, product=OTHER, spec=values.make_spec(campaign="even")))
        with store.read() as tx:
            page = tx.jobs.listed(PRODUCT, limit=4)
            rest = tx.jobs.listed(PRODUCT, before=page[-1].number, limit=4)
            even = tx.jobs.listed(PRODUCT, campaign="even", limit=9)
            high = tx.jobs.listed(PRODUCT, priority=Priority.HIGH, stage=Stage.QUEUED, limit=9)
            assert tx.jobs.listed(PRODUCT, stage=Stage.BLOCKED, limit=9) == []

        assert [job.key for job in page] == ["step/5", "step/4", "step/3", "step/2"]
        assert [job.key for job in rest] == ["step/1", "step/0"]
        assert [job.key for job in even] == ["step/4", "step/2", "step/0"]
        assert [job.key for job in high] == ["step/5", "step/4"]

    def test_ready_and_leased_split_the_open_jobs(self, store: Store) -> None:
        """Blocked and ended jobs are in neither list; the stages are counted by product."""
        with store.write() as tx:
            insert(tx, values.make_new_job(1), stage=Stage.BLOCKED)
            queued = insert(tx, values.make_new_job(2, priority=Priority.LOW))
            claimed = assigned(tx, 3)
            running = building(tx, 4)
            finish(tx, building(tx, 5))
            insert(tx, values.make_new_job(6, product=OTHER))
        with store.read() as tx:
            ready = {each.number: each for each in tx.jobs.ready()}
            counts = tx.jobs.count_stages()
            assert [job.id for job in tx.jobs.leased()] == [claimed.id, running.id]

        assert len(ready) == 2
        found = ready[queued.number]
        assert (found.shape, found.priority, found.epoch, found.marks) == (queued.shape, Priority.LOW.rank, 0, 0)
        assert BEGIN.timestamp() == found.created_us / 1_000_000
        assert {key: count for key, count in counts.items() if key[0] == OTHER} == {(OTHER, Stage.QUEUED): 1}
        mine = {stage: counts[PRODUCT, stage] for stage in (Stage.BLOCKED, Stage.ASSIGNED, Stage.SHIPPED)}
        assert mine == {Stage.BLOCKED: 1, Stage.ASSIGNED: 1, Stage.SHIPPED: 1}

    def test_a_claim_raises_the_epoch_and_opens_an_attempt(self, store: Store) -> None:
        """The job carries its holder and the attempt its folder."""
        with store.write() as tx:
            job = assigned(tx)
            attempt = tx.jobs.attempt(job.id, epoch=Epoch(1))

        assert (job.stage, job.epoch) == (Stage.ASSIGNED, 1)
        assert (job.factory, job.boot) == (FACTORY, BOOT)
        assert attempt is not None
        assert (attempt.folder, attempt.claimed_at) == (attempt_folder(job.id, Epoch(1)), LATER)
        assert (attempt.factory, attempt.boot) == (FACTORY, BOOT)
        assert (attempt.started_at, attempt.outcome, attempt.seconds, attempt.metrics) == (None, None, None, {})

    def test_a_job_is_claimed_once(self, store: Store) -> None:
        """Neither the old epoch nor the new one lets anybody else have it."""
        with store.write() as tx:
            job = insert(tx, values.make_new_job(1))
            assert assign(tx, job)
            assert assign(tx, job) is None
            assert assign(tx, job, epoch=1) is None
            assert len(tx.jobs.attempts(job.id)) == 1

    def test_a_thousand_jobs_are_stored_at_once(self, store: Store) -> None:
        """Each comes back as it was, under its number and its key, and each has the first line of its history."""
        news = [values.make_new_job(number) for number in range(1203)]
        with store.write() as tx:
            jobs = tx.jobs.insert([Placed(new=new, stage=Stage.QUEUED) for new in news], now=BEGIN)
        with store.read() as tx:
            keys = [new.key for new in reversed(news)]
            found = tx.jobs.by_keys(PRODUCT, ["none", *keys])
            last = tx.jobs.by_number(jobs[-1].number)
            told = [len(tx.jobs.events(job.id)) for job in (jobs[0], jobs[499], jobs[500], jobs[-1])]
            spec = tx.jobs.spec(jobs[500].id)

        assert [job.number for job in jobs] == list(range(jobs[0].number, jobs[0].number + 1203))
        assert list(reversed(found)) == list(jobs)
        assert last == jobs[-1]
        assert told == [1, 1, 1, 1]
        assert spec == news[500].spec

    @pytest.mark.parametrize("place", [2, 598])
    def test_one_taken_key_among_many_keeps_all_of_them_back(self, store: Store, place: int) -> None:
        """Wherever it stands; and what is done after the savepoint is kept."""
        news = [values.make_new_job(number) for number in range(600)]
        with store.write() as tx:
            taken = insert(tx, replace(values.make_new_job(1000), key=news[place].key))
            with pytest.raises(KeyReused), tx.savepoint():
                tx.jobs.insert([Placed(new=new, stage=Stage.QUEUED) for new in news], now=BEGIN)
            other = insert(tx, values.make_new_job(2000))

        with store.read() as tx:
            assert list(tx.jobs.listed(PRODUCT, limit=9)) == [other, taken]

    def test_a_batch_of_claims_moves_those_that_still_can(self, store: Store) -> None:
        """The others are named, in their order, and leave no trace."""
        with store.write() as tx:
            jobs = [insert(tx, values.make_new_job(number)) for number in range(5)]
            assign(tx, jobs[1])
            mine = session(tx)
            grants = [Grant(job.number, job.epoch, mine) for job in jobs]
            left = tx.jobs.assign([*grants, Grant(NUMBERLESS, Epoch(0), mine)], now=LATER, why="claimed in a batch")
            stages = [each.stage for each in reversed(tx.jobs.listed(PRODUCT, limit=9))]
            attempts = [len(tx.jobs.attempts(job.id)) for job in jobs]
            events = [(event.sequence, event.why) for event in tx.jobs.events(jobs[4].id)]
            assert list(tx.jobs.assign([], now=LATER)) == []

        assert list(left) == [jobs[1].number, NUMBERLESS]
        assert stages == [Stage.ASSIGNED] * 5
        assert attempts == [1] * 5
        assert events == [(1, ""), (2, "claimed in a batch")]

    def test_a_batch_of_successes_ships_those_that_still_can(self, store: Store) -> None:
        """Each at the stage it is known to be in, with its report, its history and its artifacts."""
        report = values.make_report(artifacts=(values.make_artifact(),))
        with store.write() as tx:
            jobs = [building(tx, 1), assigned(tx, 2), building(tx, 3)]
            finish(tx, jobs[2], Outcome.LOST, stage=Stage.QUEUED)
            endings = [Ending(job.number, job.epoch, Stage.BUILDING, report) for job in jobs]
            left = tx.jobs.ship(endings, now=LATER)
            stages = [each.stage for each in reversed(tx.jobs.listed(PRODUCT, limit=9))]
            attempt = tx.jobs.attempt(jobs[0].id, epoch=Epoch(1))
            published = [list(tx.jobs.artifacts(job.id)) for job in jobs]
            moves = [(event.previous, event.stage) for event in tx.jobs.events(jobs[0].id)]

        assert list(left) == [jobs[1].number, jobs[2].number]
        assert stages == [Stage.SHIPPED, Stage.ASSIGNED, Stage.QUEUED]
        assert attempt is not None
        assert (attempt.outcome, attempt.ended_at, attempt.seconds) == (Outcome.SUCCEEDED, LATER, 2.5)
        assert published == [[values.make_artifact()], [], []]
        assert moves[-1] == (Stage.BUILDING, Stage.SHIPPED)

    def test_a_batch_may_mix_what_is_known_and_what_is_not(self, store: Store) -> None:
        """Exit status, peak memory and whole seconds come back as they went in, row by row."""
        reports = [
            replace(values.make_report(), exit_code=None, peak_memory_mb=None, seconds=3),
            replace(values.make_report(), exit_code=7, peak_memory_mb=2, seconds=0.5, metrics={}),
            replace(values.make_report(), detail="日本", metrics={"loss": float("nan")}),
        ]
        with store.write() as tx:
            jobs = [building(tx, number) for number in range(3)]
            endings = [
                Ending(job.number, job.epoch, Stage.BUILDING, report) for job, report in zip(jobs, reports, strict=True)
            ]
            assert not tx.jobs.ship(endings, now=LATER)
            found = [tx.jobs.attempts(job.id)[0] for job in jobs]

        assert [(each.exit_code, each.peak_memory_mb, each.seconds, each.detail) for each in found] == [
            (None, None, 3.0, ""),
            (7, 2.0, 0.5, ""),
            (0, 64.5, 2.5, "日本"),
        ]
        assert [repr(each.metrics) for each in found] == ["{'loss': 1.25}", "{}", "{'loss': nan}"]

    @pytest.mark.parametrize("epoch", [0, 2, -1])
    def test_another_epoch_moves_nothing(self, store: Store, epoch: int) -> None:
        """Every fenced write at a wrong epoch is refused and leaves no trace."""
        with store.write() as tx:
            job = insert(tx, values.make_new_job(1))
            assert assign(tx, job, epoch=epoch + 5) is None
            claimed = assign(tx, job)
            assert claimed is not None
            assert start(tx, claimed, epoch=epoch) is None
            running = start(tx, claimed)
            assert running is not None
        with store.read() as tx:
            before = tx.jobs.by_id(job.id), tx.jobs.attempts(job.id), tx.jobs.events(job.id)
        wrong = running._replace(epoch=Epoch(epoch))
        with store.write() as tx:
            progress = Progress(step=1, total=2, values={})
            assert not tx.jobs.observe(wrong.number, epoch=wrong.epoch, progress=progress, now=LATER)
            assert tx.jobs.ask_to_stop(wrong, by=LATER, now=LATER, why="make room") is None
            assert finish(tx, wrong) is None
            assert tx.jobs.move(wrong, stage=Stage.FAILED, now=LATER, why="") is None
            assert tx.jobs.cancel(wrong, stage=Stage.CANCELLED, now=LATER, why="") is None
            ending = Ending(wrong.number, wrong.epoch, Stage.BUILDING, values.make_report())
            assert list(tx.jobs.ship([ending], now=LATER)) == [job.number]
            assert tx.touched == ()
        with store.read() as tx:
            after = tx.jobs.by_id(job.id), tx.jobs.attempts(job.id), tx.jobs.events(job.id)

        assert before == after
        assert before[0] == running

    def test_a_start_keeps_the_process(self, store: Store) -> None:
        """The pid and its start time name the process; a job starts once."""
        with store.write() as tx:
            job = building(tx)
            assert start(tx, job) is None
            attempt = tx.jobs.attempt(job.id, epoch=Epoch(1))

        assert job.stage is Stage.BUILDING
        assert attempt is not None
        assert (attempt.pid, attempt.pid_started, attempt.started_at) == (4242, 1767323045.25, LATER)

    def test_the_last_sign_of_life_is_kept(self, store: Store) -> None:
        """Numbers that are not finite come back as they are."""
        progress = Progress(step=7, total=None, values={"grad": float("nan"), "loss": float("-inf"), "lr": 0.1})
        with store.write() as tx:
            job = building(tx)
            assert tx.jobs.observe(job.number, epoch=Epoch(1), progress=progress, now=LATER)
        with store.read() as tx:
            attempt = tx.jobs.attempt(job.id, epoch=Epoch(1))

        assert attempt is not None
        assert attempt.progress is not None
        assert repr(attempt.progress) == repr(progress)
        assert attempt.progress_at == LATER

    def test_a_job_is_asked_once_to_make_room(self, store: Store) -> None:
        """The first deadline stays; whoever comes back to the queue owes nothing any more."""
        with store.write() as tx:
            job = building(tx)
            asked = tx.jobs.ask_to_stop(job, by=LATER + timedelta(minutes=1), now=LATER, why="job-2 is critical")
            again = tx.jobs.ask_to_stop(job, by=LATER + timedelta(minutes=9), now=LATER, why="job-3 as well")
            back = finish(tx, job, Outcome.PREEMPTED, stage=Stage.QUEUED)
            events = tx.jobs.events(job.id)

        assert asked == job._replace(stop_at=LATER + timedelta(minutes=1), changed_at=LATER)
        assert again is None
        assert back is not None
        assert (back.stop_at, back.preemptions) == (None, 1)
        assert [event.why for event in events[-2:]] == ["job-2 is critical", "preempted"]

    def test_a_job_that_nobody_holds_moves_with_a_reason(self, store: Store) -> None:
        """It is raised by one epoch, but for the one that becomes queued because nothing blocks it any more."""
        with store.write() as tx:
            blocked = insert(tx, values.make_new_job(1), stage=Stage.BLOCKED)
            free = tx.jobs.move(blocked, stage=Stage.QUEUED, now=LATER, why="")
            assert free is not None
            failed = tx.jobs.move(free, stage=Stage.FAILED, now=LATER, why="its dependency failed")
            assert tx.jobs.move(blocked, stage=Stage.QUEUED, now=LATER, why="late") is None
            held = building(tx, 2)
            assert tx.jobs.move(held, stage=Stage.FAILED, now=LATER, why="") is None
            events = tx.jobs.events(blocked.id)

        assert (free.stage, free.epoch) == (Stage.QUEUED, 0)
        assert failed is not None
        assert (failed.stage, failed.epoch) == (Stage.FAILED, 1)
        assert [(event.stage, event.why) for event in events] == [
            (Stage.BLOCKED, ""),
            (Stage.QUEUED, ""),
            (Stage.FAILED, "its dependency failed"),
        ]
