"""The engine as factories and loops use it, on its own thread over a real store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from tests.engine.world import ONE, TWO, make_factory

from pilothouse.engine.commands import Look
from pilothouse.engine.engine import Engine
from pilothouse.errors import Conflict, LeaseLost, StillPending, StorageFailed
from pilothouse.fleet.job import Job, Outcome, Priority
from pilothouse.fleet.stages import Stage
from pilothouse.ids import BootId, FactoryName, JobId
from pilothouse.operations.submit import submit
from pilothouse.ports.dispatch import Dispatch, Held, Offer, Word
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN, FrozenClock
from pilothouse.testing.values import BOOT, PRODUCT

LEASE_SECONDS = 3000.0
PATIENCE_SECONDS = 30.0


@pytest.fixture(name="clock")
def _clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "pilothouse.db")
    with store.write() as tx:
        for name in (ONE, TWO):
            tx.factories.put(make_factory(name, seats=4), now=BEGIN)
    yield store
    store.close()


@pytest.fixture(name="engine")
def _engine(store: SqliteStore, clock: FrozenClock) -> Iterator[Engine]:
    with Engine(store, clock, lease_seconds=LEASE_SECONDS) as engine:
        yield engine


def take(
    dispatch: Dispatch, *, factory: FactoryName = ONE, boot: str = BOOT, wait_seconds: float = 0.0
) -> Offer | None:
    """Claim one job as a factory does that holds nothing."""
    offers = dispatch.claim(factory=factory, boot=BootId(boot), wait_seconds=wait_seconds, seats=4)
    return offers[0] if offers else None


def run(engine: Engine, *, factory: FactoryName = ONE, boot: str = BOOT) -> Offer:
    """Claim and start the next job."""
    offer = take(engine, factory=factory, boot=boot)
    assert offer is not None
    engine.start(offer.job, epoch=offer.epoch, pid=1, pid_started=2.5)
    return offer


def stored(engine: Engine, job: JobId) -> Job:
    """Return the job as the database has it."""
    with engine.read() as tx:
        found = tx.jobs.by_id(job)
    assert found is not None
    return found


def test_a_job_goes_its_whole_way(engine: Engine) -> None:
    """Submitted, claimed, started, heard of, completed."""
    job = engine.submit(values.make_new_job(1))
    offer = run(engine)
    beat = engine.beat(factory=ONE, boot=BOOT, held=[Held(job=job.id, epoch=offer.epoch)])
    engine.complete(job.id, epoch=offer.epoch, report=values.make_report())

    assert (offer.job, offer.spec, offer.lease_seconds) == (job.id, values.make_spec(), LEASE_SECONDS)
    assert (beat.lease_seconds, beat.commands) == (LEASE_SECONDS, ())
    assert stored(engine, job.id).stage is Stage.SHIPPED
    assert take(engine) is None


def test_jobs_are_claimed_by_urgency_then_age(engine: Engine, clock: FrozenClock) -> None:
    """Whatever their order of arrival."""
    for number, priority in enumerate([Priority.LOW, Priority.MEDIUM, Priority.CRITICAL, Priority.MEDIUM]):
        engine.submit(values.make_new_job(number, priority=priority))
        clock.advance(1)

    offers = engine.claim(factory=ONE, boot=BOOT, wait_seconds=0, seats=4, jobs=4)
    assert [offer.key for offer in offers] == ["step/2", "step/1", "step/3", "step/0"]


def test_a_claim_takes_only_what_fits_its_pools_and_seats(engine: Engine) -> None:
    """A large job at the front does not stop a small one behind it."""
    wide = engine.submit(values.make_new_job(1, spec=values.make_spec(seats=4)))
    small = engine.submit(values.make_new_job(2))
    elsewhere = engine.submit(values.make_new_job(3, pool="large"))

    def claim(factory: FactoryName, pools: tuple[str, ...] | None, seats: int) -> list[JobId]:
        offers = engine.claim(factory=factory, boot=BOOT, wait_seconds=0, pools=pools, seats=seats)
        for offer in offers:
            engine.start(offer.job, epoch=offer.epoch, pid=1, pid_started=1.0)
        return [offer.job for offer in offers]

    assert claim(ONE, ("local",), 1) == [small.id]
    assert claim(ONE, ("local",), 1) == []
    assert claim(ONE, ("large",), 1) == [elsewhere.id]
    assert claim(TWO, None, 4) == [wide.id]


def test_a_waiting_claim_is_woken_by_a_submission(engine: Engine) -> None:
    """It need not come back and ask."""
    with ThreadPoolExecutor(1) as pool:
        claim = pool.submit(take, engine, wait_seconds=60)
        job = engine.submit(values.make_new_job(1))
        offer = claim.result(PATIENCE_SECONDS)

    assert offer is not None
    assert offer.job == job.id


def test_no_job_is_claimed_twice_by_many(engine: Engine) -> None:
    """Every job goes to exactly one of the claimants, and each claimant that got none was told so."""
    count = 40
    names = [FactoryName(f"factory-{number}") for number in range(count + 10)]
    for name in names:
        engine.enrol(make_factory(name, seats=1))
    for number in range(count):
        engine.submit(values.make_new_job(number))
    with ThreadPoolExecutor(16) as pool:
        offers = list(pool.map(lambda name: take(engine, factory=name), names))

    claimed = [offer.job for offer in offers if offer is not None]
    assert len(claimed) == len(set(claimed)) == count


def test_jobs_that_are_submitted_inside_something_larger_are_ready_too(engine: Engine) -> None:
    """Whatever a command does to jobs, the engine learns of it from the commit."""
    both = [values.make_new_job(number) for number in (1, 2)]

    engine.apply(lambda tx: [submit(tx, new, now=BEGIN) for new in both])

    assert [run(engine).key for _ in range(2)] == ["step/1", "step/2"]


def test_a_command_that_fails_makes_nothing_ready(engine: Engine) -> None:
    """What was undone was never there."""

    def act_and_fail() -> None:
        engine.apply(lambda tx: (submit(tx, values.make_new_job(1), now=BEGIN), 1 // 0))

    with pytest.raises(ZeroDivisionError):
        act_and_fail()

    assert take(engine) is None


def test_a_cancelled_job_is_not_offered_and_its_holder_is_told(engine: Engine) -> None:
    """Queued or running."""
    queued = engine.submit(values.make_new_job(1))
    engine.cancel(queued.id)
    assert take(engine) is None

    running = engine.submit(values.make_new_job(2))
    offer = run(engine)
    engine.cancel(running.id)
    (order,) = engine.beat(factory=ONE, boot=BOOT, held=[Held(job=running.id, epoch=offer.epoch)]).commands
    assert (order.job, order.word) == (running.id, Word.LOST)
    engine.complete(engine.submit(values.make_new_job(3)).id, epoch=run(engine).epoch, report=values.make_report())
    with pytest.raises(Conflict):
        engine.cancel(JobId("job-demo-3"))


def test_a_job_that_goes_back_is_offered_again(engine: Engine) -> None:
    """With the folder of the attempt before it."""
    job = engine.submit(values.make_new_job(1))
    first = run(engine)
    engine.complete(job.id, epoch=first.epoch, report=values.make_report(Outcome.PREEMPTED))
    second = run(engine)

    assert (second.job, second.resume_folder) == (job.id, first.folder)
    assert second.epoch > first.epoch


def test_a_dead_boot_is_rescued_at_once(engine: Engine) -> None:
    """Without waiting for a lease; another factory keeps its job, and a boot that was never heard holds nothing."""
    lost, kept = engine.submit(values.make_new_job(1)), engine.submit(values.make_new_job(2))
    old = run(engine, factory=ONE)
    run(engine, factory=TWO)

    rescued = engine.rescue_boot(ONE, BOOT)

    assert [job.id for job in rescued] == [lost.id]
    assert list(engine.rescue_boot(ONE, BootId("never"))) == []
    assert stored(engine, kept.id).stage is Stage.BUILDING
    with pytest.raises(LeaseLost):
        engine.complete(lost.id, epoch=old.epoch, report=values.make_report())
    assert run(engine, boot="new").job == lost.id


def test_a_silent_session_is_swept_by_the_engine_itself(store: SqliteStore, clock: FrozenClock) -> None:
    """On its own thread, as often as beats should come."""
    with Engine(store, clock, lease_seconds=0.3) as engine:
        job = engine.submit(values.make_new_job(1))
        run(engine)
        seen = engine.changes
        for _ in range(400):
            clock.advance(0.1)
            seen = engine.wait_change(seen, timeout_seconds=0.05)
            if stored(engine, job.id).losses:
                break

        assert stored(engine, job.id).losses == 1
        assert stored(engine, job.id).stage is Stage.QUEUED


def test_a_loop_is_woken_by_any_change_of_a_job(engine: Engine) -> None:
    """It says what it has seen, so nothing between two waits is missed."""
    seen = engine.changes
    job = engine.submit(values.make_new_job(1))
    assert engine.wait_change(seen, timeout_seconds=PATIENCE_SECONDS) > seen
    seen = engine.changes
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(engine.wait_change, seen, timeout_seconds=60)
        engine.cancel(job.id)
        assert waiting.result(PATIENCE_SECONDS) > seen


def test_an_engine_finds_what_the_last_one_left(store: SqliteStore, clock: FrozenClock) -> None:
    """Queued jobs are ready, and what is held stays with its holder."""
    with Engine(store, clock, lease_seconds=LEASE_SECONDS) as first:
        held = first.submit(values.make_new_job(1))
        waiting = first.submit(values.make_new_job(2))
        offer = run(first)
    with Engine(store, clock, lease_seconds=LEASE_SECONDS) as second:
        assert run(second, factory=TWO).job == waiting.id
        second.complete(held.id, epoch=offer.epoch, report=values.make_report())

        assert stored(second, held.id).stage is Stage.SHIPPED


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
        # The claim waits inside the engine as soon as another command behind it was answered.
        while not engine.look(lambda scheduler: scheduler.due_at):
            assert not claim.done()
        change = pool.submit(engine.wait_change, seen, timeout_seconds=3600)
        engine.close()

        assert claim.result(PATIENCE_SECONDS) is None
        assert isinstance(change.result(PATIENCE_SECONDS), int)


def test_coroutines_ask_the_same_engine(engine: Engine) -> None:
    """They claim, beat, complete, apply and look; refusals are raised, those of single reports are answers."""

    async def work() -> list[object]:
        job = await engine.apply_async(lambda tx: submit(tx, values.make_new_job(1), now=BEGIN))
        (handover,) = await engine.claim_async(factory=ONE, boot=BOOT, wait_seconds=0, seats=1)
        beat = await engine.beat_async(factory=ONE, boot=BOOT, held=[Held(job=job.id, epoch=handover.epoch)])
        ended = (job.id, handover.epoch, values.make_report())
        wrong = await engine.complete_async([ended], factory=TWO)
        right = await engine.complete_async([ended], factory=ONE)
        waiting = await engine.look_async(lambda scheduler: len(scheduler.board))
        offer = engine.offer(handover)
        with pytest.raises(ZeroDivisionError):
            await engine.apply_async(lambda _: 1 // 0)
        return [offer.spec == values.make_spec(), beat.commands, type(wrong[0]), right[0], waiting]

    assert asyncio.run(work()) == [True, (), LeaseLost, None, 0]


def test_many_coroutines_are_woken_together(engine: Engine) -> None:
    """Claims that wait are answered when their jobs come, each with its own."""

    async def work() -> set[JobId]:
        names = [FactoryName(f"factory-{number}") for number in range(20)]
        for name in names:
            await asyncio.to_thread(engine.enrol, make_factory(name, seats=1))
        claims = [engine.claim_async(factory=name, boot=BOOT, wait_seconds=60, seats=1) for name in names]
        waiting = asyncio.gather(*claims)
        news = [values.make_new_job(number) for number in range(20)]
        await asyncio.gather(*(engine.apply_async(partial(submit, new=new, now=BEGIN)) for new in news))
        return {handover.job for handed in await waiting for handover in handed}

    assert len(asyncio.run(work())) == 20


def test_a_coroutine_does_not_wait_for_ever(store: SqliteStore, clock: FrozenClock) -> None:
    """An engine that was never opened answers nothing, and says that the change may still be made."""
    engine = Engine(store, clock, lease_seconds=LEASE_SECONDS)

    with pytest.raises(StillPending, match="may still be made"):
        asyncio.run(engine._ask(Look(lambda _: None), timeout_seconds=0.001))


def test_listing_shows_what_was_submitted(engine: Engine) -> None:
    """A reading transaction sees every answered command."""
    engine.submit(values.make_new_job(1))
    with engine.read() as tx:
        assert [job.key for job in tx.jobs.listed(PRODUCT, limit=10)] == ["step/1"]
