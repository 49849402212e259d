"""The schema of a PostgreSQL database, as migrations move it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pilothouse.store.migrations import Migration
from pilothouse.store.postgres.connection import PostgresConnection

_ALONE = "SELECT pg_advisory_xact_lock(7597694000) AS alone"
_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
    version integer PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    applied_at bigint NOT NULL
)
"""
_APPLIED = """
INSERT INTO schema_version (version, name, applied_at)
VALUES (:version, :name, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
"""


class PostgresSchema:
    """`store.migrations.Schema` on PostgreSQL."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection
        self.where = connection.where

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Begin a transaction that no other migration of this database can enter at the same time."""
        with self._connection.transaction():
            self._connection.rows(_ALONE)
            found = self._connection.row("SELECT to_regclass('schema_version') IS NOT NULL AS there")
            if found is None or not found["there"]:
                self._connection.run(_VERSIONS)
            yield

    def version(self) -> int:
        """Return the number of the last step that was applied."""
        row = self._connection.row("SELECT coalesce(max(version), 0) AS version FROM schema_version")
        assert row is not None, "a maximum has one row"
        return int(row["version"])

    def apply(self, step: Migration) -> None:
        """Carry out a step and keep its number."""
        self._connection.script(step.script)
        self._connection.run(_APPLIED, {"version": step.version, "name": step.name})
