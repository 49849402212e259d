"""What a store holds of a fleet after the fact, as the history checker reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pilothouse.fleet.history import Operation, of_events
from pilothouse.fleet.job import Event, Job
from pilothouse.ids import Epoch, FactoryName, JobId, ProductId
from pilothouse.ports.store import Store, Transaction
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.store.sqlite.store import SqliteStore

JOBS_MAX = 10**7


@contextmanager
def open_store(home: Path, *, database: str | None) -> Iterator[Store]:
    """Give the store that a server on this home works on, and close it after the block."""
    store: Store = SqliteStore(home / "pilothouse.db") if database is None else PostgresStore(database)
    try:
        yield store
    finally:
        store.close()


def jobs_of(tx: Transaction, product: ProductId) -> list[Job]:
    """Return every job of a product, oldest first."""
    return list(reversed(tx.jobs.listed(product, limit=JOBS_MAX)))


def history_of(tx: Transaction, jobs: list[Job]) -> Iterator[Operation]:
    """Yield what the store has recorded of these jobs, job by job."""
    for job in jobs:
        events: list[Event] = list(tx.jobs.events(job.id))
        holders: dict[tuple[JobId, Epoch], FactoryName] = {
            (job.id, attempt.epoch): attempt.factory for attempt in tx.jobs.attempts(job.id)
        }
        yield from of_events(events, holders=holders)
