"""Brings a database to the newest schema: numbered files, applied once, forward only."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from pilothouse.errors import StorageFailed
from pilothouse.store.sqlite.connection import Connection

_FILE = re.compile(r"^(\d{4})_([a-z_]+)\.sql$")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered step of the schema."""

    version: int
    name: str
    statements: tuple[str, ...]


def migrations() -> Sequence[Migration]:
    """Return every migration by number, without a gap."""
    found = []
    for file in resources.files(__package__).joinpath("migrations").iterdir():
        if match := _FILE.match(file.name):
            statements = tuple(split(file.read_text(encoding="utf-8")))
            found.append(Migration(version=int(match[1]), name=match[2], statements=statements))
    found.sort(key=lambda migration: migration.version)
    assert [migration.version for migration in found] == list(range(1, len(found) + 1)), "migrations have a gap"
    return found


def split(script: str) -> Iterator[str]:
    """Yield the statements of a script; the driver's own way to run a script would commit half-way."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    assert not statement.strip(), f"the script ends inside a statement: {statement!r}"


def migrate(connection: Connection, *, steps: Sequence[Migration]) -> None:
    """Apply the steps that the database has not seen, all in one transaction; refuse a database that knows more."""
    with connection.transaction("BEGIN IMMEDIATE"):
        connection.run(_VERSIONS)
        applied = int(connection.rows("SELECT coalesce(max(version), 0) FROM schema_version")[0][0])
        if applied > len(steps):
            raise StorageFailed(
                f"{connection.where} has schema version {applied}, and this pilothouse knows {len(steps)}",
                fix="use the newer pilothouse that wrote it; a schema is never taken back",
            )
        for step in steps[applied:]:
            for statement in step.statements:
                connection.run(statement)
            connection.run(_APPLIED, {"version": step.version, "name": step.name})
