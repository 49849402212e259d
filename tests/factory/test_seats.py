"""Several attempts at once: seats, claims, one beat for all, draining, and what a lost answer does."""

from __future__ import annotations

import dataclasses

import pytest

from pilothouse.errors import StorageFailed
from pilothouse.factory.gpus import GpuPool
from pilothouse.factory.loop import FactorySettings, Leaving
from pilothouse.fleet.job import Outcome
from pilothouse.ids import Epoch, JobId
from pilothouse.testing.factory_bench import SPEC, Bench
from tests.factory.programs import PLAIN

UNTIL_TOLD = PLAIN + "mark('up')\nwhile not (run / 'end').exists():\n    threading.Event().wait(0.02)\nfinish()"
ONE, TWO, THREE = "job-1", "job-2", "job-3"


def end(bench: Bench, *jobs: str) -> None:
    """Let programs that run until they are told come to their ends."""
    for job in jobs:
        (bench.folder(job=job) / "end").touch()


def outcomes(bench: Bench) -> dict[str, Outcome]:
    """Return how each job was reported."""
    return {job: report.outcome for (job, _), report in bench.dispatch.reports.items()}


def test_the_loop_claims_until_it_is_stopped(bench: Bench) -> None:
    """One job after the other on one seat, as one factory in one boot; a failing engine is asked again."""
    failures = iter([StorageFailed("once", fix="wait")])
    bench.dispatch.fails = lambda verb: next(failures, None) if verb == "claim" else None
    bench.dispatch.offer(bench.offer_for(PLAIN + "finish()"), bench.offer_for(PLAIN + "raise SystemExit(2)", job=TWO))

    with bench.working() as working:
        bench.dispatch.until(lambda: len(bench.dispatch.reports) == 2)
        bench.stop.set()
        assert working.leaves() is Leaving.STOPPED

    assert outcomes(bench) == {ONE: Outcome.SUCCEEDED, TWO: Outcome.CRASHED}
    assert {(asked.factory, asked.boot, asked.seats) for asked in bench.dispatch.claims} == {("bench", "boot-1", 1)}


def test_jobs_run_side_by_side_on_their_seats(bench: Bench) -> None:
    """As many as fit, and each as wide as it is; what has no seat waits for one."""
    bench.settings = FactorySettings(seats=3, pools=("a",))
    wide = dataclasses.replace(SPEC, seats=2)
    bench.dispatch.offer(
        bench.offer_for(UNTIL_TOLD, job=ONE, spec=wide),
        bench.offer_for(UNTIL_TOLD, job=TWO),
        bench.offer_for(UNTIL_TOLD, job=THREE, spec=wide),
    )

    with bench.working():
        pids = {bench.pid("up", job=ONE), bench.pid("up", job=TWO)}
        assert not bench.folder(job=THREE).exists()
        end(bench, TWO)
        bench.dispatch.until(lambda: len(bench.dispatch.reports) == 1)
        bench.dispatch.until(lambda: bench.dispatch.claims[-1].seats == 1)
        assert not bench.folder(job=THREE).exists()
        end(bench, ONE)
        pids.add(bench.pid("up", job=THREE))
        end(bench, THREE)
        bench.dispatch.until(lambda: len(bench.dispatch.reports) == 3)

    assert set(outcomes(bench).values()) == {Outcome.SUCCEEDED}
    assert len(pids) == 3
    first = bench.dispatch.claims[0]
    assert (first.seats, first.jobs, first.pools, first.held) == (3, 3, ("a",), ())


def test_one_beat_speaks_for_all(bench: Bench) -> None:
    """It names every attempt, with progress only where there is news, and comes also while nothing is held."""
    bench.dispatch.lease_seconds = 0.6
    bench.settings = FactorySettings(seats=2)

    with bench.working():
        bench.dispatch.until(lambda: len(bench.dispatch.beats) >= 2)
        idle = bench.dispatch.beats[-1][2]
        bench.dispatch.offer(
            bench.offer_for("\n".join([PLAIN, "log(1, loss=0.5)", UNTIL_TOLD.removeprefix(PLAIN)])),
            bench.offer_for(UNTIL_TOLD, job=TWO),
        )
        bench.pid("up", job=ONE)
        bench.pid("up", job=TWO)
        bench.dispatch.until(lambda: bench.dispatch.progress)
        told = len(bench.dispatch.beats)
        bench.dispatch.until(lambda: len(bench.dispatch.beats) >= told + 3)
        end(bench, ONE, TWO)

    assert idle == ()
    both = [held for _, _, held in bench.dispatch.beats if len(held) == 2]
    assert {each.job for held in both for each in held} == {ONE, TWO}
    assert [(progress.step, progress.values) for progress in bench.dispatch.progress] == [(1, {"loss": 0.5})]


def test_an_ended_attempt_stays_held_until_its_end_is_known(bench: Bench) -> None:
    """A completion that is lost must not look like a job that is lost."""
    bench.dispatch.lease_seconds = 0.6
    asked: list[int] = []

    def fails(verb: str) -> StorageFailed | None:
        if verb != "complete":
            return None
        asked.append(len(bench.dispatch.beats))
        return StorageFailed("no", fix="wait") if len(asked) < 4 else None

    bench.dispatch.fails = fails
    bench.dispatch.offer(bench.offer_for(PLAIN + "finish()"))
    with bench.working():
        bench.dispatch.until(lambda: bench.dispatch.reports)
        beats = len(bench.dispatch.beats)
        bench.dispatch.until(lambda: len(bench.dispatch.beats) >= beats + 2)

    between = bench.dispatch.beats[asked[0] : asked[-1]]
    assert between
    assert all([each.job for each in held] == [ONE] for _, _, held in between)
    assert bench.dispatch.beats[-1][2] == ()


def test_a_claim_whose_answer_was_lost_is_answered_again_and_run_once(bench: Bench) -> None:
    """The claim says what is held, and the job that is not among it is offered again."""
    bench.dispatch.lose_answers = 1
    bench.dispatch.offer(bench.offer_for(UNTIL_TOLD))

    with bench.working():
        bench.pid("up")
        claims = len(bench.dispatch.claims)
        end(bench, ONE)
        bench.dispatch.until(lambda: bench.dispatch.reports)
        bench.dispatch.until(lambda: len(bench.dispatch.claims) > claims)

    assert outcomes(bench) == {ONE: Outcome.SUCCEEDED}
    assert len(bench.dispatch.starts) == 1


def test_an_offer_that_comes_twice_is_run_once(bench: Bench) -> None:
    """An engine that has not heard yet that it is held may give it again."""
    bench.settings = FactorySettings(seats=2)
    offer = bench.offer_for(UNTIL_TOLD)
    bench.dispatch.offer(offer)

    with bench.working():
        bench.pid("up")
        claims = len(bench.dispatch.claims)
        bench.dispatch.offer(offer)
        bench.dispatch.until(lambda: len(bench.dispatch.claims) >= claims + 2)
        end(bench, ONE)
        bench.dispatch.until(lambda: bench.dispatch.reports)

    assert len(bench.dispatch.starts) == 1
    assert bench.dispatch.claims[-1].held in {(), ((JobId(ONE), Epoch(1)),)}


def test_a_draining_factory_claims_no_more_and_leaves_when_it_is_empty(bench: Bench) -> None:
    """What runs is brought to its end first."""
    bench.dispatch.lease_seconds = 0.3
    bench.settings = FactorySettings(seats=2, leave_when_drained=True)
    bench.dispatch.offer(bench.offer_for(UNTIL_TOLD))

    with bench.working() as working:
        bench.pid("up")
        bench.dispatch.drain()
        beats = len(bench.dispatch.beats)
        bench.dispatch.until(lambda: len(bench.dispatch.beats) >= beats + 2)
        bench.dispatch.offer(bench.offer_for(UNTIL_TOLD, job=TWO))
        claims = len(bench.dispatch.claims)
        bench.dispatch.until(lambda: len(bench.dispatch.beats) >= beats + 8)
        end(bench, ONE)
        assert working.leaves() is Leaving.DRAINED

    assert len(bench.dispatch.claims) == claims
    assert outcomes(bench) == {ONE: Outcome.SUCCEEDED}


def test_a_drained_factory_that_stays_works_again_when_it_is_resumed(bench: Bench) -> None:
    """Draining is the engine's to begin and to end."""
    bench.dispatch.lease_seconds = 0.3
    bench.dispatch.draining = True
    bench.dispatch.offer(bench.offer_for(PLAIN + "finish()"))

    with bench.working():
        bench.dispatch.until(lambda: len(bench.dispatch.beats) >= 3)
        claims = len(bench.dispatch.claims)
        bench.dispatch.draining = False
        bench.dispatch.until(lambda: bench.dispatch.reports)

    assert claims == 0


def test_a_factory_that_is_stopped_asks_every_job_to_save_itself(bench: Bench) -> None:
    """All at once, and each is reported as preempted."""
    bench.settings = FactorySettings(seats=2)
    save = PLAIN + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\nmark('up')\nrest()"
    bench.dispatch.offer(bench.offer_for(save), bench.offer_for(save, job=TWO))

    with bench.working() as working:
        bench.pid("up", job=ONE)
        bench.pid("up", job=TWO)
        bench.stop.set()
        assert working.leaves() is Leaving.STOPPED

    assert outcomes(bench) == {ONE: Outcome.PREEMPTED, TWO: Outcome.PREEMPTED}


def test_each_job_sees_its_own_gpus(bench: Bench) -> None:
    """Side by side no GPU is shown twice, and one that is free again goes to the next."""
    bench.settings = FactorySettings(seats=3)
    bench.gpus = GpuPool(lambda: ("GPU-a", "GPU-b", "GPU-c"))
    text = PLAIN + "(run / 'seen').write_text(os.environ.get('CUDA_VISIBLE_DEVICES', 'all'))\n"
    one, two = (dataclasses.replace(SPEC, gpus=count) for count in (1, 2))
    bench.dispatch.offer(
        bench.offer_for(text + UNTIL_TOLD.removeprefix(PLAIN), job=ONE, spec=two),
        bench.offer_for(text + UNTIL_TOLD.removeprefix(PLAIN), job=TWO, spec=one),
        bench.offer_for(text + "finish()", job=THREE),
    )

    with bench.working():
        bench.pid("up", job=ONE)
        bench.pid("up", job=TWO)
        end(bench, ONE)
        bench.dispatch.until(lambda: len(bench.dispatch.reports) == 2)
        bench.dispatch.offer(bench.offer_for(text + "finish()", job="job-4", spec=two))
        bench.dispatch.until(lambda: len(bench.dispatch.reports) == 3)
        end(bench, TWO)

    seen = [(bench.folder(job=job) / "seen").read_text(encoding="utf-8") for job in (ONE, TWO, THREE, "job-4")]
    assert sorted(",".join(seen[:2]).split(",")) == ["GPU-a", "GPU-b", "GPU-c"]
    assert seen[2] == "all"
    assert seen[3] == seen[0]


def test_a_job_that_wants_more_gpus_than_are_free_is_given_back(bench: Bench) -> None:
    """It is a mismatch, no failure of the program."""
    bench.gpus = GpuPool(lambda: ("GPU-a",))

    report = bench.run(bench.offer_for(PLAIN + "finish()", spec=dataclasses.replace(SPEC, gpus=2)))

    assert report is not None
    assert report.outcome is Outcome.CAPABILITY_MISMATCH
    assert bench.dispatch.starts == []


def test_a_fault_of_the_factory_ends_one_attempt_and_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its neighbours and the loop go on."""
    bench.settings = FactorySettings(seats=2)

    def fault(_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("pilothouse.factory.attempt.read_summary", fault)
    bench.dispatch.offer(bench.offer_for(PLAIN + "finish()"), bench.offer_for(UNTIL_TOLD, job=TWO))
    with bench.working():
        bench.dispatch.until(lambda: bench.dispatch.reports)
        bench.pid("up", job=TWO)
        monkeypatch.undo()
        end(bench, TWO)
        bench.dispatch.until(lambda: len(bench.dispatch.reports) == 2)

    assert outcomes(bench) == {ONE: Outcome.LOST, TWO: Outcome.SUCCEEDED}
    assert "a fault" in bench.dispatch.reports[JobId(ONE), Epoch(1)].detail
