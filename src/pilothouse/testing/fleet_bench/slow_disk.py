"""A disk on which a commit takes longer, as one whose fsync costs milliseconds: no such disk needs to be at hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

import uvloop

from pilothouse.canonical import Json
from pilothouse.engine.engine import Engine
from pilothouse.fleet.claim import Ending, Grant
from pilothouse.ports.store import Flight, Store, Transaction
from pilothouse.testing.fleet_bench.engine_cells import JOBS_PER_SECOND, Progress, rates
from pilothouse.testing.fleet_bench.load import enqueue, enrol, open_store, work
from pilothouse.testing.fleet_bench.peers_beside import PAYLOAD_BYTES
from pilothouse.testing.fleet_bench.place import Place
from pilothouse.testing.fleet_bench.run import Order

COMMIT_SECONDS = 0.004


class SlowCommits:
    """A store whose every commit waits for so many seconds more, in which the processor is free for others."""

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self.seconds = seconds
        self._never = threading.Event()
        self.commits = 0

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Commit, and wait."""
        with self._store.write() as tx:
            yield tx
        self._wait()

    def send(self, grants: Sequence[Grant], endings: Sequence[Ending], *, now: datetime) -> Flight:
        """Send a flight, and wait for its commit."""
        flight = self._store.send(grants, endings, now=now)
        self._wait()
        return flight

    def read(self) -> AbstractContextManager[Transaction]:
        """Read as ever."""
        return self._store.read()

    def damage(self) -> Sequence[str]:
        """Return what is wrong with the store."""
        return self._store.damage()

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _wait(self) -> None:
        self.commits += 1
        self._never.wait(self.seconds)


def slow_disk_cell(place: Place, order: Order, progress: Progress) -> dict[str, Json]:
    """Return the rate where every commit is made to take 4 ms longer."""
    progress(f"commits that take {1e3 * COMMIT_SECONDS:g} ms longer")
    with place.fresh() as address:
        store = open_store(place, address)
        try:
            slow = SlowCommits(store, 0.0)
            with Engine(slow, order.clock) as engine:
                enrol(engine, order.clients)
                enqueue(engine, round(JOBS_PER_SECOND * order.seconds), payload=PAYLOAD_BYTES, clock=order.clock)
                place.tidy()
                slow.seconds, slow.commits = COMMIT_SECONDS, 0
                tally = uvloop.run(work(engine, clients=order.clients, seconds=order.seconds))
        finally:
            store.close()
    return {
        "commit_made_longer_by_ms": 1e3 * COMMIT_SECONDS,
        "commits_per_s": slow.commits / tally.seconds,
        **rates(tally),
        "aim_per_s": 8000,
    }
