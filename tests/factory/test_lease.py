"""What ends an attempt from outside: a lost lease, one that runs out, an order to stop, a thread that hangs."""

from __future__ import annotations

import dataclasses
import signal
import threading
from pathlib import Path

import pytest

from pilothouse.blobs.local import LocalBlobs
from pilothouse.errors import LeaseLost, PilothouseError, Unreachable
from pilothouse.factory.loop import FactorySettings, Leaving
from pilothouse.fleet.job import Outcome
from pilothouse.ids import ArtifactDigest, Epoch, JobId
from pilothouse.ports.dispatch import Command, Offer, Word
from pilothouse.testing.factory_bench import SPEC, Bench, is_running
from tests.factory.programs import KIT, PLAIN, reported

STUBBORN = PLAIN + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nlog(1)\nmark('up')\nrest()"
JOB, EPOCH = JobId("job-1"), Epoch(1)
LOST = LeaseLost("a later epoch exists", fix="stop")
AWAY = Unreachable("no answer", fix="wait")


def with_input(bench: Bench) -> Offer:
    """Return an offer of a job that needs an input, which is in the bench's blobs."""
    shard = bench.home / "shard"
    shard.write_text("rows", encoding="utf-8")
    digest = bench.blobs.put(shard).digest
    return bench.offer_for(STUBBORN, spec=dataclasses.replace(SPEC, inputs={"shards": (digest,)}))


def failing(verb: str, error: PilothouseError) -> dict[str, PilothouseError]:
    """Return what to fail with, by verb."""
    return {verb: error}


def test_a_lost_lease_kills_the_attempt_and_says_nothing(bench: Bench) -> None:
    """The job is a later epoch's."""
    bench.dispatch.lease_seconds = 0.9

    def fence() -> None:
        bench.pid("up")
        bench.dispatch.order(Command(job=JOB, epoch=EPOCH, word=Word.LOST))

    report = bench.run(bench.offer_for(STUBBORN), meanwhile=fence)

    assert report is None
    assert bench.dispatch.reports == {}
    assert not is_running(bench.pid("up"))


def test_a_lease_lost_at_the_start_kills_the_attempt(bench: Bench) -> None:
    """Nobody runs what another may be running."""
    bench.dispatch.fails = failing("start", LOST).get

    assert bench.run(bench.offer_for(PLAIN + "mark('up')\nrest()")) is None


def test_an_order_for_another_epoch_is_not_obeyed(bench: Bench) -> None:
    """Nor one for another job."""
    bench.dispatch.lease_seconds = 0.6
    bench.dispatch.order(
        Command(job=JOB, epoch=Epoch(7), word=Word.LOST), Command(job=JobId("job-9"), epoch=EPOCH, word=Word.STOP)
    )
    offer = bench.offer_for(PLAIN + "threading.Event().wait(0.6)\nfinish()")

    assert reported(bench.run(offer)).outcome is Outcome.SUCCEEDED


def test_an_order_to_stop_lets_the_program_save_and_is_reported(bench: Bench) -> None:
    """SIGTERM, checkpoint, exit 75; the report says who wanted it, and the last checkpoint is known."""
    bench.dispatch.lease_seconds = 0.9
    program = KIT + (
        "    run.log(30, total=400)\n    mark('up')\n"
        "    while not run.stopping:\n        __import__('signal').pause()\n"
        "    run.checkpoint(40, save)\n    run.leave()\n"
    )

    def order() -> None:
        bench.pid("up")
        bench.dispatch.order(Command(job=JOB, epoch=EPOCH, word=Word.STOP, seconds=20, why="job-2 is critical"))

    report = reported(bench.run(bench.offer_for(program), meanwhile=order))

    assert (report.outcome, report.exit_code) == (Outcome.PREEMPTED, 75)
    assert "job-2 is critical" in report.detail
    assert bench.dispatch.progress[-1].checkpoint_step == 40


def test_a_program_that_does_not_stop_is_killed_at_the_deadline(bench: Bench) -> None:
    """The order's seconds count where they are fewer than the job's own grace of ten."""
    bench.dispatch.lease_seconds = 0.9

    def order() -> None:
        bench.pid("up")
        bench.dispatch.order(Command(job=JOB, epoch=EPOCH, word=Word.STOP, seconds=0.5))

    report = reported(bench.run(bench.offer_for(STUBBORN), meanwhile=order))

    assert (report.outcome, report.exit_code) == (Outcome.PREEMPTED, -signal.SIGKILL)
    assert report.seconds < SPEC.grace_seconds


def test_a_job_that_is_to_stop_before_it_started_is_given_back(bench: Bench) -> None:
    """Nothing is started."""
    bench.dispatch.lease_seconds = 0.3
    bench.blobs = WaitingBlobs(bench.home)
    offer = with_input(bench)

    def order() -> None:
        assert bench_blobs(bench).asked.wait(20)
        bench.dispatch.order(Command(job=JOB, epoch=EPOCH, word=Word.STOP, seconds=20))
        beats = len(bench.dispatch.beats)
        bench.dispatch.until(lambda: len(bench.dispatch.beats) >= beats + 2)
        bench_blobs(bench).go_on.set()

    report = reported(bench.run(offer, meanwhile=order))

    assert report.outcome is Outcome.PREEMPTED
    assert bench.dispatch.starts == []


def test_an_engine_that_does_not_answer_ends_the_attempt_on_the_factorys_own_clock(bench: Bench) -> None:
    """It is ended before the lease is over, and told as lost when the engine listens again."""
    bench.dispatch.lease_seconds = 1.2
    away = threading.Event()

    def go_away() -> None:
        job = bench.pid("up")
        away.set()
        bench.until(lambda: not is_running(job))
        away.clear()

    bench.dispatch.fails = lambda _: AWAY if away.is_set() else None
    report = reported(bench.run(bench.offer_for(STUBBORN), meanwhile=go_away))

    assert report.outcome is Outcome.LOST
    assert "lease" in report.detail


def test_a_heart_that_waits_for_an_answer_does_not_keep_jobs_alive(bench: Bench) -> None:
    """The lease is counted by every attempt itself, so a beat that hangs ends nothing too late."""
    bench.dispatch.lease_seconds = 1.2
    hangs, go_on = threading.Event(), threading.Event()

    def wait(verb: str) -> None:
        if verb == "beat" and hangs.is_set():
            assert go_on.wait(20)

    def hang() -> None:
        job = bench.pid("up")
        hangs.set()
        bench.until(lambda: not is_running(job))
        go_on.set()

    bench.dispatch.fails = wait
    report = reported(bench.run(bench.offer_for(STUBBORN), meanwhile=hang))

    assert report.outcome is Outcome.LOST


def test_work_that_is_done_is_told_however_late(bench: Bench) -> None:
    """The engine was away for longer than the lease; the epoch fences, so nothing speaks against taking it."""
    bench.dispatch.lease_seconds = 0.6
    away, tries = threading.Event(), []

    def fails(verb: str) -> Unreachable | None:
        tries.append(verb)
        if verb == "complete" and tries.count("complete") == 1:
            away.set()
        if verb == "beat" and tries.count("complete") >= 3:
            away.clear()
        return AWAY if away.is_set() else None

    bench.dispatch.fails = fails

    report = reported(bench.run(bench.offer_for(PLAIN + "finish()")))

    assert report.outcome is Outcome.SUCCEEDED
    assert tries.count("complete") >= 3


def test_one_failed_beat_does_not_cost_a_live_job(bench: Bench) -> None:
    """It is asked again in time."""
    bench.dispatch.lease_seconds = 1.5
    failures = iter([None, AWAY])
    bench.dispatch.fails = lambda verb: next(failures, None) if verb == "beat" else None

    report = reported(bench.run(bench.offer_for(PLAIN + "threading.Event().wait(1.8)\nfinish()")))

    assert report.outcome is Outcome.SUCCEEDED
    assert len(bench.dispatch.beats) >= 3


def test_a_session_that_was_given_up_ends_everything(bench: Bench) -> None:
    """Nothing is reported, and the factory leaves for another boot to begin anew."""
    bench.dispatch.lease_seconds = 0.6
    bench.settings = FactorySettings(seats=2)
    bench.dispatch.offer(bench.offer_for(STUBBORN, job="job-1"), bench.offer_for(STUBBORN, job="job-2"))

    with bench.working() as working:
        jobs = [bench.pid("up", job="job-1"), bench.pid("up", job="job-2")]
        bench.dispatch.fails = failing("beat", LOST).get
        assert working.leaves() is Leaving.SESSION_OVER

    assert working.factory.failure is LOST
    assert bench.dispatch.reports == {}
    assert not any(is_running(job) for job in jobs)


def test_a_claim_can_end_the_session_too(bench: Bench) -> None:
    """A key that was revoked is heard of by whichever word comes first."""
    bench.dispatch.fails = failing("claim", LOST).get

    with bench.working() as working:
        assert working.leaves() is Leaving.SESSION_OVER


def test_an_attempt_whose_thread_hangs_is_ended_as_lost_and_its_neighbours_go_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One disk that does not answer may cost one job; the thread that wakes up later says nothing."""
    monkeypatch.setattr("pilothouse.factory.heart.HUNG_AFTER_SECONDS", 0.7)
    bench.dispatch.lease_seconds = 0.9
    bench.settings = FactorySettings(seats=2)
    bench.blobs = WaitingBlobs(bench.home)
    neighbour = bench.offer_for(
        PLAIN + "while not (run / 'end').exists():\n    time.sleep(0.02)\nfinish()", job="job-2"
    )
    bench.dispatch.offer(with_input(bench), neighbour)

    with bench.working():
        bench.dispatch.until(lambda: bench.dispatch.reports)
        (early,) = bench.dispatch.reports.values()
        bench.until(lambda: bench.folder(job="job-2").exists())
        (bench.folder(job="job-2") / "end").touch()
        bench.dispatch.until(lambda: len(bench.dispatch.reports) == 2)
        bench_blobs(bench).go_on.set()

    assert early.outcome is Outcome.LOST
    assert "hung" in early.detail
    assert bench.dispatch.reports[JobId("job-2"), EPOCH].outcome is Outcome.SUCCEEDED
    assert bench.dispatch.reports[JOB, EPOCH] is early
    assert [job for job, *_ in bench.dispatch.starts] == ["job-2"]


class WaitingBlobs(LocalBlobs):
    """A disk that answers when it is told to."""

    def __init__(self, home: Path) -> None:
        super().__init__(home / "blobs")
        self.asked = threading.Event()
        self.go_on = threading.Event()

    def path(self, digest: ArtifactDigest) -> Path:
        """Wait, then answer."""
        self.asked.set()
        assert self.go_on.wait(20)
        return super().path(digest)


def bench_blobs(bench: Bench) -> WaitingBlobs:
    """Return the bench's blobs as those that wait."""
    assert isinstance(bench.blobs, WaitingBlobs)
    return bench.blobs
