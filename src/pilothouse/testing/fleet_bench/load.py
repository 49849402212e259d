"""Clients of an engine in this process: they claim one job, report its success, and begin again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

from pilothouse.engine.engine import Engine
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.job import JobSpec, NewJob, Outcome, Report
from pilothouse.ids import BootId, FactoryName, JobId, ProductId
from pilothouse.operations.submit import submit_many
from pilothouse.ports.clock import Clock
from pilothouse.ports.store import Store
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.fleet_bench.place import Place

PRODUCT = ProductId("bench")
POOL = "local"
BOOT = BootId("boot-1")
ENQUEUE = 1000
BATCH = 100
"""How many jobs those take at once that work in batches; the peers' programs have the same number."""
DATABASE = "pilothouse.db"
REPORT = Report(outcome=Outcome.SUCCEEDED, detail="", exit_code=0, metrics={}, artifacts=(), seconds=0.0)


def open_store(place: Place, address: str) -> Store:
    """Return a store on a new folder, or on a new database."""
    return SqliteStore(Path(address) / DATABASE) if place.store == "sqlite" else PostgresStore(address)


@contextmanager
def opened(place: Place, address: str, clock: Clock) -> Iterator[Engine]:
    """Give an engine at work, and close it with its store after the block."""
    store = open_store(place, address)
    try:
        with Engine(store, clock) as engine:
            yield engine
    finally:
        store.close()


def enrol(engine: Engine, count: int, *, seats: int = 1) -> None:
    """Let so many factories claim."""
    for number in range(count):
        engine.enrol(Factory(product=PRODUCT, name=factory_name(number), seats=seats))


def factory_name(number: int) -> FactoryName:
    """Return the name of a client's own factory."""
    return FactoryName(f"factory-{number}")


def new_jobs(first: int, count: int, *, payload: int) -> list[NewJob]:
    """Return jobs that differ in their ids, keys and payloads."""
    return [
        NewJob(
            id=JobId(f"job-bench-{number:09d}"),
            product=PRODUCT,
            pool=POOL,
            key=f"bench/{number}",
            spec=JobSpec(
                kind="command",
                command=("true",),
                config={"payload": f"{number:09d}" + "x" * (payload - 9)},
                seed=number,
                campaign="",
                trial=0,
            ),
        )
        for number in range(first, first + count)
    ]


def enqueue(engine: Engine, count: int, *, payload: int, first: int = 0, clock: Clock) -> float:
    """Return the seconds that the engine took for so many jobs; making them up is the client's own time."""
    seconds = 0.0
    for start in range(first, first + count, ENQUEUE):
        news = new_jobs(start, min(ENQUEUE, first + count - start), payload=payload)
        began = perf_counter()
        engine.apply(partial(submit_many, news=news, now=clock.now()))
        seconds += perf_counter() - began
    return seconds


@dataclass(slots=True)
class Tally:
    """What the clients have done; `processor_seconds` are those of this whole process, the engine included."""

    done: int = 0
    refused: int = 0
    empty: int = 0
    claims: list[float] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0
    processor_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """How long they worked."""
        return self.ended - self.began


async def work(engine: Engine, *, clients: int, seconds: float, jobs: int = 1) -> Tally:
    """Let the clients work for so long, or until nothing waits any more, and return what they did.

    Each claims so many jobs at once, and reports them in one call.
    """
    tally = Tally()
    # Everybody's first claim opens a session, which is no part of what is measured.
    await asyncio.gather(
        *(engine.beat_async(factory=factory_name(number), boot=BOOT, held=()) for number in range(clients))
    )
    processor = process_time()
    tally.began = perf_counter()
    until = tally.began + seconds
    await asyncio.gather(*(_client(engine, tally, number, jobs=jobs, until=until) for number in range(clients)))
    tally.ended, tally.processor_seconds = perf_counter(), process_time() - processor
    return tally


async def _client(engine: Engine, tally: Tally, number: int, *, jobs: int, until: float) -> None:
    name = factory_name(number)
    while (now := perf_counter()) < until:
        found = await engine.claim_async(factory=name, boot=BOOT, wait_seconds=0.0, seats=jobs, jobs=jobs)
        tally.claims.append((perf_counter() - now) * 1e3)
        if not found:
            tally.empty += 1
            return
        refusals = await engine.complete_async([(each.job, each.epoch, REPORT) for each in found])
        if any(refusals):
            tally.refused += 1
        tally.done += len(found)
