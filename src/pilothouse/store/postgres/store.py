"""`ports.store.Store` on PostgreSQL: the one writer connection of this process and the pool of readers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pilothouse.errors import StorageFailed
from pilothouse.fleet.claim import Ending, Grant
from pilothouse.ports.store import Flight
from pilothouse.store.database import Database
from pilothouse.store.migrations import migrate, migrations
from pilothouse.store.postgres.address import Address
from pilothouse.store.postgres.connection import PostgresConnection
from pilothouse.store.postgres.flights import PostgresFlight
from pilothouse.store.postgres.migrate import PostgresSchema

_TABLES = """
SELECT oid::regclass::text AS name FROM pg_class
WHERE relkind = 'r'
    AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('schema_version'))
ORDER BY 1
"""
_BROKEN_INDEXES = """
SELECT indexrelid::regclass::text AS name FROM pg_index
WHERE NOT indisvalid AND indrelid IN (
    SELECT oid FROM pg_class
    WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('schema_version'))
)
ORDER BY 1
"""
_ORPHANS = """
SELECT DISTINCT job FROM job_events WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.number = job_events.job) ORDER BY 1
"""


class PostgresStore(Database[PostgresConnection]):
    """A database of a PostgreSQL server, with its schema in place.

    Several servers may open it at once; the one that leads writes.
    """

    def __init__(self, dsn: str) -> None:
        address = Address(dsn)
        writer = PostgresConnection(address)
        try:
            migrate(PostgresSchema(writer), steps=migrations("postgres"))
            super().__init__(address.shown, writer=writer, reader=lambda: PostgresConnection(address, read_only=True))
        except BaseException:
            writer.close()
            raise

    def send(self, grants: Sequence[Grant], endings: Sequence[Ending], *, now: datetime) -> Flight:
        """Begin to move jobs in a transaction of their own, those that are where they are expected, and commit it."""
        return PostgresFlight(self._writer, grants, endings, now=now, turns=self._turns, leadership=self._leadership)

    def damage(self) -> Sequence[str]:
        """Return what is found wrong, nothing for a sound database; it reads every row, so that a bad page shows."""
        with self._readers.take() as reader:
            tables = [str(row["name"]) for row in reader.rows(_TABLES)]
        found = []
        for table in tables:
            try:
                with self._readers.take() as reader:
                    reader.rows(f"SELECT count(*) AS rows FROM {table}")  # noqa: S608  the server's own quoted name
            except StorageFailed as error:
                found.append(f"{table}: {error.message}")
        with self._readers.take() as reader:
            found += [f"the index {row['name']} is not valid" for row in reader.rows(_BROKEN_INDEXES)]
            found += [f"job_events: row {row['job']} belongs to no jobs" for row in reader.rows(_ORPHANS)]
        return found
