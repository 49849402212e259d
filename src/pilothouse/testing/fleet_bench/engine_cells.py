"""What the engine can do in one process: claims and completions, with a long backlog, under an old snapshot."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter

import psycopg
import uvloop

from pilothouse import __version__
from pilothouse.canonical import Json
from pilothouse.engine.engine import Engine
from pilothouse.operations.submit import submit_many
from pilothouse.testing.fleet_bench.load import BATCH, DATABASE, Tally, enqueue, enrol, new_jobs, opened, work
from pilothouse.testing.fleet_bench.peers_beside import PAYLOAD_BYTES
from pilothouse.testing.fleet_bench.place import Place
from pilothouse.testing.fleet_bench.probe import quantile
from pilothouse.testing.fleet_bench.rows import Figures, System
from pilothouse.testing.fleet_bench.run import OURS, OURS_IN_BATCHES, Order

Progress = Callable[[str], None]
CONTRACT = (
    "lease per factory session, a fencing epoch compared at every change; the job's row stays, an attempt's row and "
    "a history row for each change; answered after the commit"
)
ONE_BY_ONE = f"one job a claim, one report a call; {CONTRACT}"
IN_BATCHES = f"{BATCH} jobs a claim, {BATCH} reports a call, as its peers in batches; {CONTRACT}"
BATCHERS = 4
"""How many factories claim in batches: while one waits for its answer another one's is made."""
JOBS_PER_SECOND = 30_000
ENQUEUED = 100_000
LOW_WATER = 20_000
WINDOWS = 10
SHARE_COMPARED = 0.2


def claim_systems(place: Place, order: Order) -> list[System]:
    """Return our queue, asked job by job and in batches, to be measured in turns with others."""

    def system(name: str, contract: str, *, clients: int, jobs: int) -> System:
        def measure() -> Figures:
            return _claims(place, order, clients=clients, jobs=jobs)

        return System(name=name, store=place.store, contract=contract, clients=clients, measure=measure)

    return [
        system(OURS, ONE_BY_ONE, clients=order.clients, jobs=1),
        system(OURS_IN_BATCHES, IN_BATCHES, clients=BATCHERS, jobs=BATCH),
    ]


def _claims(place: Place, order: Order, *, clients: int, jobs: int) -> Figures:
    waiting = max(1, round(JOBS_PER_SECOND * order.seconds))
    with place.fresh() as address, opened(place, address, order.clock) as engine:
        enrol(engine, clients, seats=jobs)
        filled = enqueue(engine, waiting, payload=PAYLOAD_BYTES, clock=order.clock)
        place.tidy()
        tally = uvloop.run(work(engine, clients=clients, jobs=jobs, seconds=order.seconds))
    return Figures(
        claim_complete_per_s=tally.done / tally.seconds,
        claim_p50_ms=quantile(tally.claims, 0.5),
        claim_p99_ms=quantile(tally.claims, 0.99),
        enqueue_per_s=waiting / filled,
        done=tally.done,
        seconds=tally.seconds,
        version=__version__,
        setting=f"{clients} coroutines on uvloop, each a factory of its own with {jobs} seats, statistics made before",
        processor_us_per_job=tally.processor_seconds / tally.done * 1e6,
        reason="" if not tally.refused else f"{tally.refused} reports were refused",
    )


def enqueue_cell(place: Place, order: Order, progress: Progress) -> dict[str, Json]:
    """Return how many jobs a second are taken in, a thousand in each transaction."""
    progress(f"{ENQUEUED} jobs")
    with place.fresh() as address, opened(place, address, order.clock) as engine:
        began = perf_counter()
        seconds = enqueue(engine, ENQUEUED, payload=PAYLOAD_BYTES, clock=order.clock)
        whole = perf_counter() - began
    return {"per_s": ENQUEUED / seconds, "with_making_them_up_per_s": ENQUEUED / whole, "aim_per_s": 50_000}


def backlog_cell(place: Place, order: Order, progress: Progress) -> dict[str, Json]:
    """Return how soon an engine claims again after a start with a long backlog, and how long a claim takes then."""
    with place.fresh() as address:
        progress(f"{order.backlog} jobs")
        with opened(place, address, order.clock) as engine:
            enrol(engine, order.clients)
            seconds = enqueue(engine, order.backlog, payload=PAYLOAD_BYTES, clock=order.clock)
        progress("a start, and claims")
        began = perf_counter()
        with opened(place, address, order.clock) as engine:
            ready = perf_counter() - began
            first = uvloop.run(work(engine, clients=1, seconds=0.001))
            answered = perf_counter() - began
            tally = uvloop.run(work(engine, clients=order.clients, seconds=order.seconds))
    assert first.done, "nothing could be claimed after the start"
    return {
        "jobs": order.backlog,
        "enqueue_per_s": order.backlog / seconds,
        "restart_s": ready,
        "restart_to_first_completion_s": answered,
        "aim_restart_s": 5,
        **rates(tally),
        "aim_claim_p99_ms": 25,
    }


def restart_cell(place: Place, order: Order, progress: Progress) -> dict[str, Json]:
    """Return only how long a start with a long backlog takes."""
    with place.fresh() as address:
        progress(f"{order.backlog} jobs")
        with opened(place, address, order.clock) as engine:
            enqueue(engine, order.backlog, payload=PAYLOAD_BYTES, clock=order.clock)
        began = perf_counter()
        with opened(place, address, order.clock):
            seconds = perf_counter() - began
    return {"jobs": order.backlog, "restart_s": seconds, "aim_s": 5}


def decay_cell(place: Place, order: Order, progress: Progress) -> dict[str, Json]:
    """Return the rate in each tenth of a long run, during which another connection holds the snapshot of its start."""
    with place.fresh() as address, opened(place, address, order.clock) as engine:
        enrol(engine, order.clients)
        enqueue(engine, 2 * LOW_WATER, payload=PAYLOAD_BYTES, clock=order.clock)
        uvloop.run(work(engine, clients=order.clients, seconds=1.0))
        progress(f"{order.decay_seconds:g} s under an old snapshot")
        with old_snapshot(place, address):
            windows = uvloop.run(_in_windows(engine, order))
    first, last = _ends([tally.done / tally.seconds for tally in windows])
    cheap, dear = _ends([tally.done / tally.processor_seconds for tally in windows])
    return {
        "seconds": order.decay_seconds,
        "per_s": [tally.done / tally.seconds for tally in windows],
        "claim_p99_ms": [quantile(tally.claims, 0.99) for tally in windows],
        "first_per_s": first,
        "last_per_s": last,
        "decay": 1.0 - last / first,
        # On a machine that others use as well, this one says more; for PostgreSQL it leaves the server's part out.
        "decay_per_processor_second": 1.0 - dear / cheap,
        "aim_decay": 0.1,
    }


async def _in_windows(engine: Engine, order: Order) -> list[Tally]:
    stop = asyncio.Event()
    feeder = asyncio.create_task(_feed(engine, order, stop))
    found = [await work(engine, clients=order.clients, seconds=order.decay_seconds / WINDOWS) for _ in range(WINDOWS)]
    stop.set()
    await feeder
    return found


async def _feed(engine: Engine, order: Order, stop: asyncio.Event) -> None:
    """Keep enough jobs waiting."""
    number = 2 * LOW_WATER
    while not stop.is_set():
        waiting = await engine.look_async(lambda core: len(core.board))
        if waiting < LOW_WATER:
            news = new_jobs(number, 500, payload=PAYLOAD_BYTES)
            number += len(news)
            await engine.apply_async(partial(submit_many, news=news, now=order.clock.now()))
        else:
            await asyncio.sleep(0.01)


@contextmanager
def old_snapshot(place: Place, address: str) -> Iterator[None]:
    """Hold the database as it is now for one reader, which does nothing with it."""
    if place.store == "sqlite":
        with closing(sqlite3.connect(Path(address) / DATABASE, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM jobs").fetchone()
            yield
    else:
        with psycopg.connect(address) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute("SELECT count(*) FROM jobs").fetchone()
            yield


def _ends(rates: Sequence[float]) -> tuple[float, float]:
    """Return the mean rate at the beginning and at the end."""
    count = max(1, round(SHARE_COMPARED * len(rates)))
    return sum(rates[:count]) / count, sum(rates[-count:]) / count


def rates(tally: Tally) -> dict[str, Json]:
    """Return a tally as figures."""
    return {
        "claim_complete_per_s": tally.done / tally.seconds,
        "processor_us_per_job": tally.processor_seconds / tally.done * 1e6,
        "claim_p50_ms": quantile(tally.claims, 0.5),
        "claim_p99_ms": quantile(tally.claims, 0.99),
        "done": tally.done,
    }
