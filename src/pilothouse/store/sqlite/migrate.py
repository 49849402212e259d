"""The schema of a SQLite database, as migrations move it."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from pilothouse.store.migrations import Applied, Migration
from pilothouse.store.sqlite.connection import SqliteConnection

_VERSIONS = """
CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL,
    digest TEXT NOT NULL
) STRICT
"""
_APPLIED = """
INSERT INTO schema_version (version, name, applied_at, digest) VALUES (:version, :name, unixepoch() * 1000000, :digest)
"""


class SqliteSchema:
    """`store.migrations.Schema` on SQLite."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self.where = connection.where

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Begin a writing transaction, of which SQLite lets in one."""
        with self._connection.transaction():
            yield

    def applied(self) -> Sequence[Applied] | None:
        """Return the steps that were applied, in their order; None where none was ever kept."""
        columns = {row["name"] for row in self._connection.rows("SELECT name FROM pragma_table_info('schema_version')")}
        if not columns >= {"version", "name"}:
            return None
        digest = "digest" if "digest" in columns else "NULL"
        found = self._connection.rows(f"SELECT version, name, {digest} AS digest FROM schema_version ORDER BY version")  # noqa: S608  one of two words
        return [Applied(version=row["version"], name=row["name"], digest=row["digest"]) for row in found]

    def in_the_way(self, ours: Collection[str]) -> Sequence[str]:
        """Return every table: the file is ours alone."""
        del ours
        found = self._connection.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        return [row["name"] for row in found]

    def begin(self) -> None:
        """Make the table in which steps are kept."""
        self._connection.run(_VERSIONS)

    def apply(self, step: Migration) -> None:
        """Carry out a step and keep its number."""
        for statement in split(step.script):
            self._connection.run(statement)
        self._connection.run(_APPLIED, {"version": step.version, "name": step.name, "digest": step.digest})


def split(script: str) -> Iterator[str]:
    """Yield the statements of a script; the driver's own way to run a script would commit half-way."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    rest = [line for line in statement.splitlines() if line.strip() and not line.startswith("--")]
    assert not rest, f"the script ends inside a statement: {statement!r}"
