"""Drain Procrastinate with one worker process and print one JSON line.

python drain_procrastinate.py '{"dsn": …, "jobs": …, "seconds": …, "payload": …}'
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from importlib.metadata import version
from time import perf_counter, process_time
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector

CONCURRENCY = 1
ENQUEUE = 1000


class Drain:
    """What is counted while the worker runs."""

    def __init__(self) -> None:
        self.done = 0
        self.claims: list[float] = []
        self.began = 0.0

    async def work(self, payload: str) -> None:
        """Do nothing with the payload, which is the job."""
        assert payload
        if not self.done:
            self.began = perf_counter()
        self.done += 1


async def main(options: dict[str, Any]) -> None:
    """Install, enqueue, drain until the time is over, and tell the figures."""
    app, drain = App(connector=PsycopgConnector(conninfo=options["dsn"])), Drain()
    task: Any = app.task(name="noop")(drain.work)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        began = perf_counter()
        for first in range(0, options["jobs"], ENQUEUE):
            count = min(ENQUEUE, options["jobs"] - first)
            await task.batch_defer_async(*[{"payload": "x" * options["payload"]} for _ in range(count)])
        enqueued = options["jobs"] / (perf_counter() - began)
        with psycopg.connect(options["dsn"], autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        processor = process_time()
        seconds = await drained(app, drain, options)
        processor = process_time() - processor
    figures = {
        "version": version("procrastinate"),
        "setting": f"psycopg, concurrency {CONCURRENCY}",
        "done": drain.done,
        "processor_s": processor,
        "seconds": seconds,
        "claim_ms": drain.claims,
        "enqueue_per_s": enqueued,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


async def drained(app: Any, drain: Drain, options: dict[str, Any]) -> float:
    """Return the seconds from the first job to the end of the worker."""
    fetch = app.job_manager.fetch_job

    async def timed(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        found = await fetch(*args, **kwargs)
        drain.claims.append((perf_counter() - began) * 1e3)
        return found

    app.job_manager.fetch_job = timed
    worker = asyncio.create_task(
        app.run_worker_async(wait=False, concurrency=CONCURRENCY, install_signal_handlers=False)
    )
    await asyncio.wait([worker], timeout=options["seconds"])
    worker.cancel()
    await asyncio.wait([worker])
    return perf_counter() - drain.began


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    asyncio.run(main(json.loads(sys.argv[1])))
