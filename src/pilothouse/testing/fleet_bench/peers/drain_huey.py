"""Drain a SqliteHuey with one worker and print one JSON line.

python drain_huey.py '{"folder": …, "jobs": …, "seconds": …, "payload": …}'
"""

from __future__ import annotations

import json
import logging
import sys
from importlib.metadata import version
from time import perf_counter, process_time
from typing import Any

from huey import SqliteHuey


def work(payload: str) -> None:
    """Do nothing with the payload, which is the job."""
    assert payload


def main(options: dict[str, Any]) -> None:
    """Enqueue, drain until the time is over with a flush at each commit, and tell the figures."""
    file = f"{options['folder']}/huey.db"
    filler: Any = SqliteHuey(filename=file, fsync=False)
    task = filler.task(name="noop")(work)
    began = perf_counter()
    for _ in range(options["jobs"]):
        task("x" * options["payload"])
    enqueued = options["jobs"] / (perf_counter() - began)
    filler.storage.close()
    queue: Any = SqliteHuey(filename=file, fsync=True)
    queue.task(name="noop")(work)
    claims: list[float] = []
    processor = process_time()
    started = now = perf_counter()
    while now - started < options["seconds"]:
        taken = queue.dequeue()
        if taken is None:
            break
        claims.append((perf_counter() - now) * 1e3)
        queue.execute(taken)
        now = perf_counter()
    figures = {
        "version": version("huey"),
        "setting": "one worker's own loop of dequeue and execute, fsync",
        "done": len(claims),
        "processor_s": process_time() - processor,
        "seconds": now - started,
        "claim_ms": claims,
        "enqueue_per_s": enqueued,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main(json.loads(sys.argv[1]))
