"""Drain PgQueuer with one worker process and print one JSON line.

python drain_pgqueuer.py '{"dsn": …, "jobs": …, "seconds": …, "payload": …, "driver": "asyncpg"}'
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from time import perf_counter, process_time
from typing import Any

import asyncpg
import psycopg
import uvloop
from pgqueuer.core.applications import PgQueuer
from pgqueuer.db import AsyncpgDriver, PsycopgDriver
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

BATCH = 100
ENQUEUE = 1000


class Drain:
    """What is counted while the worker runs."""

    def __init__(self) -> None:
        self.done = 0
        self.claims: list[float] = []
        self.began = 0.0

    async def work(self, _: object) -> None:
        """Do nothing, which is the job."""
        if not self.done:
            self.began = perf_counter()
        self.done += 1

    def timed(self, dequeue: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return the dequeue call with its milliseconds noted."""

        async def call(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            found = await dequeue(*args, **kwargs)
            self.claims.append((perf_counter() - began) * 1e3)
            return found

        return call


async def connect(options: dict[str, Any]) -> Any:
    """Return the driver that was asked for."""
    if options["driver"] == "psycopg":
        return PsycopgDriver(await psycopg.AsyncConnection.connect(options["dsn"], autocommit=True))
    return AsyncpgDriver(await asyncpg.connect(options["dsn"]))


async def enqueue(queries: Any, *, jobs: int, payload: int) -> float:
    """Return the jobs a second that were enqueued in batches."""
    began = perf_counter()
    for first in range(0, jobs, ENQUEUE):
        count = min(ENQUEUE, jobs - first)
        await queries.enqueue(["noop"] * count, [b"x" * payload] * count, [0] * count)
    return jobs / (perf_counter() - began)


async def main(options: dict[str, Any]) -> None:
    """Install, enqueue, drain until the time is over, and tell the figures."""
    driver = await connect(options)
    queries: Any = Queries(driver)
    await queries.install()
    await queries.optimize_autovacuum()
    enqueued = await enqueue(queries, jobs=options["jobs"], payload=options["payload"])
    await driver.execute("VACUUM ANALYZE")
    app, drain = PgQueuer(driver), Drain()
    queue: Any = app.qm.queries
    queue.dequeue = drain.timed(queue.dequeue)
    app.entrypoint("noop")(drain.work)
    stop = asyncio.get_running_loop().call_later(options["seconds"], app.shutdown.set)
    processor = process_time()
    await app.qm.run(batch_size=BATCH, mode=QueueExecutionMode.drain)
    seconds = perf_counter() - drain.began
    processor = process_time() - processor
    stop.cancel()
    figures = {
        "version": version("pgqueuer"),
        "setting": f"{options['driver']}, batch {BATCH}, uvloop, autovacuum settings applied",
        "done": drain.done,
        "processor_s": processor,
        "seconds": seconds,
        "claim_ms": drain.claims,
        "enqueue_per_s": enqueued,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))
