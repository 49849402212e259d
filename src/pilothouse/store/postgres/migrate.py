"""The schema of a PostgreSQL database, as migrations move it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from pilothouse.store.migrations import Applied, Migration
from pilothouse.store.postgres.connection import PostgresConnection

_ALONE = "SELECT pg_advisory_xact_lock(7597694000) AS alone"
_VERSIONS = """
CREATE TABLE schema_version (
    version integer PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    applied_at bigint NOT NULL,
    digest text COLLATE "C" NOT NULL
)
"""
_COLUMNS = """
SELECT attname AS name FROM pg_attribute
WHERE attrelid = to_regclass('schema_version') AND attnum > 0 AND NOT attisdropped
"""
_TABLES = "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"
_APPLIED = """
INSERT INTO schema_version (version, name, applied_at, digest)
VALUES (:version, :name, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, :digest)
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
            yield

    def applied(self) -> Sequence[Applied] | None:
        """Return the steps that were applied, in their order; None where none was ever kept."""
        columns = {row["name"] for row in self._connection.rows(_COLUMNS)}
        if not columns >= {"version", "name"}:
            return None
        digest = "digest" if "digest" in columns else "NULL"
        found = self._connection.rows(f"SELECT version, name, {digest} AS digest FROM schema_version ORDER BY version")  # noqa: S608  one of two words
        return [Applied(version=row["version"], name=row["name"], digest=row["digest"]) for row in found]

    def in_the_way(self, ours: Collection[str]) -> Sequence[str]:
        """Return the tables that have our names; others may live beside ours."""
        return [row["name"] for row in self._connection.rows(_TABLES) if row["name"] in {*ours, "schema_version"}]

    def begin(self) -> None:
        """Make the table in which steps are kept."""
        self._connection.run(_VERSIONS)

    def apply(self, step: Migration) -> None:
        """Carry out a step and keep its number."""
        self._connection.script(step.script)
        self._connection.run(_APPLIED, {"version": step.version, "name": step.name, "digest": step.digest})
