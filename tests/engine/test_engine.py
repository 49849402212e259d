"""The engine as factories and loops use it, over a real store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pilothouse.engine.engine import Engine
from pilothouse.errors import LeaseLost, StorageFailed
from pilothouse.fleet.job import Job, Outcome, Priority
from pilothouse.fleet.lease import BEATS_MISSED_MAX
from pilothouse.fleet.stages import Stage
from pilothouse.ids import BootId, Epoch, JobId
from pilothouse.operations.submit import submit
from pilothouse.ports.dispatch import Dispatch, Offer
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN, FrozenClock
from pilothouse.testing.values import BOOT, FACTORY, PRODUCT

LEASE_SECONDS = 3000.0
"""Long, so that the engine's own sweeper never wakes; the tests sweep."""


@pytest.fixture(name="clock")
def _clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "pilothouse.db")
    yield store
    store.close()


@pytest.fixture(name="engine")
def _engine(store: SqliteStore, clock: FrozenClock) -> Iterator[Engine]:
    with Engine(store, clock, lease_seconds=LEASE_SECONDS) as engine:
        yield engine


def take(dispatch: Dispatch, *, wait_seconds: float = 0, boot: str = BOOT) -> Offer | None:
    """Claim as a factory does."""
    return dispatch.claim(factory=FACTORY, boot=BootId(boot), wait_seconds=wait_seconds)


def run(engine: Engine, *, boot: str = BOOT) -> Offer:
    """Claim and start the next job."""
    offer = take(engine, boot=boot)
    assert offer is not None
    engine.start(offer.job.id, epoch=offer.job.epoch, pid=1, pid_started=2.5)
    return offer


def stored(engine: Engine, job: JobId) -> Job:
    """Return the job as the database has it."""
    with engine.read() as tx:
        found = tx.jobs.by_id(job)
    assert found is not None
    return found


def sweep_until_overdue(engine: Engine, clock: FrozenClock) -> list[JobId]:
    """Let the leases run out and sweep as often as a silent holder is allowed; return what was taken back."""
    clock.advance(LEASE_SECONDS + 1)
    return [job.id for _ in range(BEATS_MISSED_MAX) for job in engine.sweep()]


def test_a_job_goes_its_whole_way(engine: Engine) -> None:
    """Submitted, claimed, started, renewed, completed."""
    job = engine.submit(values.make_new_job(1))
    offer = run(engine)
    engine.renew(job.id, epoch=offer.job.epoch, progress=None)
    engine.complete(job.id, epoch=offer.job.epoch, report=values.make_report())

    assert (offer.job.id, offer.spec, offer.lease_seconds) == (job.id, values.make_spec(), LEASE_SECONDS)
    assert stored(engine, job.id).stage is Stage.SHIPPED
    assert take(engine) is None


def test_jobs_are_claimed_by_urgency_then_age(engine: Engine, clock: FrozenClock) -> None:
    """Whatever their order of arrival."""
    for number, priority in enumerate([Priority.LOW, Priority.MEDIUM, Priority.CRITICAL, Priority.MEDIUM]):
        engine.submit(values.make_new_job(number, priority=priority))
        clock.advance(1)

    assert [run(engine).job.key for _ in range(4)] == ["step/2", "step/1", "step/3", "step/0"]


def test_a_claim_takes_only_what_fits_its_pools_and_seats(engine: Engine) -> None:
    """A large job at the front does not stop a small one behind it."""
    wide = engine.submit(values.make_new_job(1, spec=values.make_spec(seats=4)))
    small = engine.submit(values.make_new_job(2))
    elsewhere = engine.submit(values.make_new_job(3, pool="large"))

    claims = [
        engine.claim(factory=FACTORY, boot=BOOT, wait_seconds=0, pools=pools, seats=seats)
        for pools, seats in (({"local"}, 1), ({"local"}, 1), ({"large"}, 1), (None, None))
    ]

    assert [None if offer is None else offer.job.id for offer in claims] == [small.id, None, elsewhere.id, wide.id]


def test_a_waiting_claim_is_woken_by_a_submission(engine: Engine) -> None:
    """It need not come back and ask."""
    with ThreadPoolExecutor(1) as pool:
        claim = pool.submit(take, engine, wait_seconds=60)
        job = engine.submit(values.make_new_job(1))
        offer = claim.result(30)

    assert offer is not None
    assert offer.job.id == job.id


def test_no_job_is_claimed_twice_by_many(engine: Engine) -> None:
    """Every job goes to exactly one of the claimants, and each claimant that got none was told so."""
    count = 40
    for number in range(count):
        engine.submit(values.make_new_job(number))
    with ThreadPoolExecutor(16) as pool:
        offers = list(pool.map(lambda _: take(engine), range(count + 10)))

    claimed = [offer.job.id for offer in offers if offer is not None]
    assert len(claimed) == len(set(claimed)) == count


def test_jobs_that_are_submitted_inside_something_larger_are_ready_too(engine: Engine) -> None:
    """Whatever a command does to jobs, the engine learns of it from the commit."""
    both = [values.make_new_job(number) for number in (1, 2)]

    engine.apply(lambda tx: [submit(tx, new, now=BEGIN) for new in both])

    assert [run(engine).job.key for _ in range(2)] == ["step/1", "step/2"]


def test_a_command_that_fails_makes_nothing_ready(engine: Engine) -> None:
    """What was undone was never there."""
    before = engine.changes

    def act_and_fail() -> None:
        engine.apply(lambda tx: (submit(tx, values.make_new_job(1), now=BEGIN), 1 // 0))

    with pytest.raises(ZeroDivisionError):
        act_and_fail()

    assert take(engine) is None
    assert engine.changes == before


def test_a_cancelled_job_is_not_offered_and_its_holder_is_told(engine: Engine) -> None:
    """Queued or running."""
    queued = engine.submit(values.make_new_job(1))
    engine.cancel(queued.id)
    assert take(engine) is None

    running = engine.submit(values.make_new_job(2))
    offer = run(engine)
    engine.cancel(running.id)
    with pytest.raises(LeaseLost):
        engine.renew(running.id, epoch=offer.job.epoch, progress=None)


def test_a_job_that_goes_back_is_offered_again(engine: Engine) -> None:
    """With the folder of the attempt before it."""
    job = engine.submit(values.make_new_job(1))
    first = run(engine)
    engine.complete(job.id, epoch=first.job.epoch, report=values.make_report(Outcome.PREEMPTED))
    second = run(engine)

    assert (second.job.id, second.resume_folder) == (job.id, first.folder)
    assert second.job.epoch > first.job.epoch


def test_a_silent_holder_loses_its_job_and_a_beating_one_keeps_it(engine: Engine, clock: FrozenClock) -> None:
    """The late word of the silent one is refused; the job goes on elsewhere."""
    silent, beating = engine.submit(values.make_new_job(1)), engine.submit(values.make_new_job(2))
    offers = [run(engine), run(engine)]
    clock.advance(LEASE_SECONDS + 1)
    assert engine.sweep() == []
    engine.renew(beating.id, epoch=offers[1].job.epoch, progress=None)

    rescued = [job.id for job in engine.sweep()]

    assert rescued == [silent.id]
    with pytest.raises(LeaseLost):
        engine.complete(silent.id, epoch=offers[0].job.epoch, report=values.make_report())
    again = run(engine, boot="boot-2")
    assert (again.job.id, again.job.losses) == (silent.id, 1)
    assert stored(engine, beating.id).stage is Stage.BUILDING


def test_a_machine_that_slept_past_its_lease_may_go_on(engine: Engine, clock: FrozenClock) -> None:
    """One sweep after waking is not yet a loss."""
    job = engine.submit(values.make_new_job(1))
    offer = run(engine)
    clock.advance(LEASE_SECONDS * 100)
    assert engine.sweep() == []

    engine.renew(job.id, epoch=offer.job.epoch, progress=None)

    assert sweep_until_overdue(engine, clock) == [job.id]


def test_a_dead_boot_is_rescued_at_once(engine: Engine) -> None:
    """Without waiting for a lease; another boot keeps its job."""
    lost, kept = engine.submit(values.make_new_job(1)), engine.submit(values.make_new_job(2))
    run(engine, boot="old")
    run(engine, boot="new")

    rescued = engine.rescue_boot(FACTORY, BootId("old"))

    assert [job.id for job in rescued] == [lost.id]
    assert stored(engine, kept.id).stage is Stage.BUILDING
    assert run(engine, boot="new").job.id == lost.id


def test_a_loop_is_woken_by_any_change_of_a_job(engine: Engine) -> None:
    """It says what it has seen, so nothing between two waits is missed."""
    seen = engine.changes
    assert engine.wait_change(seen, timeout_seconds=0.001) == seen
    job = engine.submit(values.make_new_job(1))
    assert engine.wait_change(seen, timeout_seconds=30) > seen
    seen = engine.changes
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(engine.wait_change, seen, timeout_seconds=60)
        engine.cancel(job.id)
        assert waiting.result(30) > seen


def test_an_engine_finds_what_the_last_one_left(store: SqliteStore, clock: FrozenClock) -> None:
    """Queued jobs are ready, and leases that nobody renews any more are swept."""
    with Engine(store, clock, lease_seconds=LEASE_SECONDS) as first:
        held = first.submit(values.make_new_job(1))
        waiting = first.submit(values.make_new_job(2))
        run(first)
    with Engine(store, clock, lease_seconds=LEASE_SECONDS) as second:
        assert run(second, boot="other").job.id == waiting.id
        second.renew(waiting.id, epoch=Epoch(1), progress=None)

        rescued = sweep_until_overdue(second, clock)

    assert set(rescued) == {held.id, waiting.id}


def test_a_stale_entry_is_skipped(engine: Engine, store: SqliteStore) -> None:
    """A job that another process moved meanwhile is passed over for the next one."""
    moved = engine.submit(values.make_new_job(1))
    next_one = engine.submit(values.make_new_job(2))
    with store.write() as tx:
        tx.jobs.cancel(moved.id, epoch=Epoch(0), now=BEGIN)

    assert run(engine).job.id == next_one.id


def test_a_claim_that_cannot_be_stored_loses_no_job(engine: Engine, store: SqliteStore) -> None:
    """The entry goes back, and the next claim gets it."""
    job = engine.submit(values.make_new_job(1))
    store._writer.run("PRAGMA query_only = ON")

    with pytest.raises(StorageFailed):
        take(engine)
    store._writer.run("PRAGMA query_only = OFF")

    assert run(engine).job.id == job.id


def test_a_closed_engine_refuses(store: SqliteStore, clock: FrozenClock) -> None:
    """Closing twice is harmless, and no thread is left."""
    engine = Engine(store, clock, lease_seconds=LEASE_SECONDS)
    engine.open()
    engine.close()
    engine.close()

    with pytest.raises(StorageFailed, match="stopped"):
        engine.submit(values.make_new_job(1))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pilothouse-")]


def test_closing_sends_home_whoever_waits(store: SqliteStore, clock: FrozenClock) -> None:
    """Neither a long poll for a job nor a wait for a change holds up the end."""
    engine = Engine(store, clock, lease_seconds=LEASE_SECONDS)
    engine.open()
    seen = engine.changes
    with ThreadPoolExecutor(2) as pool:
        claim = pool.submit(take, engine, wait_seconds=3600)
        change = pool.submit(engine.wait_change, seen, timeout_seconds=3600)
        engine.close()

        assert claim.result(30) is None
        assert change.result(30) > seen


def test_listing_shows_what_was_submitted(engine: Engine) -> None:
    """A reading transaction sees every answered command."""
    engine.submit(values.make_new_job(1))
    with engine.read() as tx:
        assert [job.key for job in tx.jobs.listed(PRODUCT, campaign=None, limit=10)] == ["step/1"]
