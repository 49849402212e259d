"""Drain a queue of DBOS workflows in one process and print one JSON line.

python drain_dbos.py '{"dsn": … or "folder": …, "jobs": …, "seconds": …, "payload": …, "concurrency": …}'
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from importlib.metadata import version
from time import perf_counter, process_time
from typing import Any

import psycopg
from dbos import DBOS

POLL_SECONDS = 0.005


class Drain:
    """What is counted while the queue runs."""

    def __init__(self, jobs: int) -> None:
        self.lock = threading.Lock()
        self.jobs = jobs
        self.done = 0
        self.began = 0.0
        self.empty = threading.Event()

    def work(self, payload: str) -> None:
        """Do nothing with the payload, which is the workflow."""
        assert payload
        with self.lock:
            if not self.done:
                self.began = perf_counter()
            self.done += 1
            if self.done == self.jobs:
                self.empty.set()


def main(options: dict[str, Any]) -> None:
    """Launch, enqueue, run until the time is over, and tell the figures."""
    url = options.get("dsn") or f"sqlite:///{options['folder']}/dbos.db"
    config: Any = {"name": "bench", "system_database_url": url, "log_level": "ERROR", "sys_db_pool_size": 20}
    DBOS(config=config)
    drain = Drain(options["jobs"])

    def noop(payload: str) -> None:
        drain.work(payload)

    workflow: Any = DBOS.workflow(name="noop")(noop)
    DBOS.launch()
    # The queue opens only when everything is enqueued, so that the enqueueing is no part of what is measured.
    gate = DBOS.register_queue("gate", polling_interval_sec=POLL_SECONDS, worker_concurrency=0)
    began = perf_counter()
    for _ in range(options["jobs"]):
        DBOS.enqueue_workflow(gate.name, workflow, "x" * options["payload"])
    enqueued = options["jobs"] / (perf_counter() - began)
    if "dsn" in options:
        with psycopg.connect(options["dsn"], autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
    processor = process_time()
    gate.set_worker_concurrency(options["concurrency"])
    drain.empty.wait(options["seconds"])
    with drain.lock:
        done, seconds, processor = drain.done, perf_counter() - drain.began, process_time() - processor
    figures = {
        "version": version("dbos"),
        "setting": f"worker_concurrency {options['concurrency']}, polls every {POLL_SECONDS * 1e3:g} ms",
        "done": done,
        "processor_s": processor,
        "seconds": seconds,
        "claim_ms": [],
        "enqueue_per_s": enqueued,
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    DBOS.destroy(workflow_completion_timeout_sec=1)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main(json.loads(sys.argv[1]))
