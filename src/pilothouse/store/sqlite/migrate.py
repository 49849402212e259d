"""The schema of a SQLite database, as migrations move it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from pilothouse.store.migrations import Migration
from pilothouse.store.sqlite.connection import SqliteConnection

_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT
"""
_APPLIED = """
INSERT INTO schema_version (version, name, applied_at) VALUES (:version, :name, unixepoch() * 1000000)
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
            self._connection.run(_VERSIONS)
            yield

    def version(self) -> int:
        """Return the number of the last step that was applied."""
        return int(self._connection.rows("SELECT coalesce(max(version), 0) FROM schema_version")[0][0])

    def apply(self, step: Migration) -> None:
        """Carry out a step and keep its number."""
        for statement in split(step.script):
            self._connection.run(statement)
        self._connection.run(_APPLIED, {"version": step.version, "name": step.name})


def split(script: str) -> Iterator[str]:
    """Yield the statements of a script; the driver's own way to run a script would commit half-way."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    assert not statement.strip(), f"the script ends inside a statement: {statement!r}"
