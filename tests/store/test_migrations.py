"""The numbered steps of both schemas, and the files of queries that speak to them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from pilothouse import store
from pilothouse.errors import StorageFailed
from pilothouse.store.migrations import Migration, migrate, migrations
from pilothouse.store.named_sql import dialect_queries, parse_queries
from pilothouse.store.postgres.address import Address
from pilothouse.store.postgres.connection import PostgresConnection
from pilothouse.store.postgres.migrate import PostgresSchema
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.store.sqlite.connection import MEMORY, SqliteConnection
from pilothouse.store.sqlite.migrate import SqliteSchema, split
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.postgres_server import PostgresServer

ROOM = Path(store.__path__[0])
MODULES = {"leader": "leadership", "flights": "postgres/flights"}
"""Aggregates whose module has another name."""
ONLY_POSTGRES = {"flights"}
"""Files of queries for which SQLite has no counterpart: it does the same by the queries of jobs."""
BROKEN = "CREATE TABLE half (x integer); CREATE NONSENSE;"


def sqlite_schema(connection: SqliteConnection) -> Sequence[tuple[str, str]]:
    """Return every table, index and trigger with its text."""
    found = connection.rows("SELECT name, coalesce(sql, '') AS sql FROM sqlite_master ORDER BY name")
    return [(row["name"], row["sql"]) for row in found]


def postgres_schema(connection: PostgresConnection) -> Sequence[str]:
    """Return every table, index and trigger by its name."""
    found = connection.rows(
        "SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
    )
    return [str(row["name"]) for row in found]


def test_migrating_sqlite_step_by_step_ends_at_the_same_schema() -> None:
    """A database of any earlier version becomes what a new one is, and migrating again changes nothing."""
    every = migrations("sqlite")
    grown, new = SqliteConnection(MEMORY), SqliteConnection(MEMORY)
    migrate(SqliteSchema(new), steps=every)
    for count in range(1, len(every) + 1):
        migrate(SqliteSchema(grown), steps=every[:count])
    migrate(SqliteSchema(grown), steps=every)

    assert sqlite_schema(grown) == sqlite_schema(new)
    versions = grown.rows("SELECT version, name FROM schema_version ORDER BY version")
    assert [(row["version"], row["name"]) for row in versions] == [(each.version, each.name) for each in every]
    grown.close()
    new.close()


def test_migrating_postgres_step_by_step_ends_at_the_same_schema(postgres: PostgresServer, dsn: str) -> None:
    """As above."""
    every = migrations("postgres")
    new = PostgresConnection(Address(dsn))
    with postgres.database() as empty:
        grown = PostgresConnection(Address(empty))
        for count in range(1, len(every) + 1):
            migrate(PostgresSchema(grown), steps=every[:count])
        migrate(PostgresSchema(grown), steps=every)

        assert postgres_schema(grown) == postgres_schema(new)
        assert len(postgres_schema(new)) > 60
        versions = grown.rows("SELECT version, name FROM schema_version ORDER BY version")
        grown.close()
    new.close()
    assert [(row["version"], row["name"]) for row in versions] == [(each.version, each.name) for each in every]


def test_a_failed_migration_leaves_the_old_version(dsn: str) -> None:
    """All of its statements, or none."""
    sqlite, postgres = SqliteConnection(MEMORY), PostgresConnection(Address(dsn))
    migrate(SqliteSchema(sqlite), steps=migrations("sqlite"))
    before = sqlite_schema(sqlite), postgres_schema(postgres)
    broken = Migration(version=len(migrations("sqlite")) + 1, name="broken", script=BROKEN)

    with pytest.raises(StorageFailed):
        migrate(SqliteSchema(sqlite), steps=[*migrations("sqlite"), broken])
    with pytest.raises(StorageFailed):
        migrate(PostgresSchema(postgres), steps=[*migrations("postgres"), broken])

    assert (sqlite_schema(sqlite), postgres_schema(postgres)) == before
    sqlite.close()
    postgres.close()


def test_a_newer_schema_is_refused(tmp_path: Path, dsn: str) -> None:
    """An older program never touches what it does not know."""
    path = tmp_path / "pilothouse.db"
    SqliteStore(path).close()
    raw = sqlite3.connect(path)
    with raw:
        raw.execute("INSERT INTO schema_version VALUES (99, 'future', 1, '')")
    raw.close()
    postgres = PostgresConnection(Address(dsn))
    postgres.run("INSERT INTO schema_version VALUES (99, 'future', 1, '')")
    postgres.close()

    for opener in (lambda: SqliteStore(path), lambda: PostgresStore(dsn)):
        with pytest.raises(StorageFailed, match="schema version 99, and this pilothouse knows") as caught:
            opener()
        assert "newer pilothouse" in caught.value.fix


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE schema_version SET digest = 'other' WHERE version = 2", "another pilothouse"),
        ("UPDATE schema_version SET name = 'other' WHERE version = 2", "another pilothouse"),
        ("DELETE FROM schema_version WHERE version = 2", "another pilothouse"),
        ("ALTER TABLE schema_version DROP COLUMN digest", "another pilothouse"),
        ("DROP TABLE schema_version", "no database of Pilothouse"),
        ("ALTER TABLE schema_version RENAME COLUMN version TO number", "no database of Pilothouse"),
    ],
)
def test_a_schema_of_other_files_is_refused_by_its_name(tmp_path: Path, dsn: str, change: str, said: str) -> None:
    """An older form, a branch, or somebody else's tables: what was found, what is wanted, and the mend."""
    path = tmp_path / "pilothouse.db"
    SqliteStore(path).close()
    raw = sqlite3.connect(path)
    with raw:
        raw.execute(change)
    raw.close()
    postgres = PostgresConnection(Address(dsn))
    postgres.run(change)
    postgres.close()

    for opener in (lambda: SqliteStore(path), lambda: PostgresStore(dsn)):
        with pytest.raises(StorageFailed, match=said) as caught:
            opener()
        assert "another home" in caught.value.fix
    with pytest.raises(StorageFailed, match=re.escape(str(path))):
        SqliteStore(path)


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "pilothouse.db"
    raw = sqlite3.connect(path)
    with raw:
        raw.execute("CREATE TABLE notes (x)")
    raw.close()
    before = path.read_bytes()

    with pytest.raises(StorageFailed, match="tables in it: notes"):
        SqliteStore(path)

    assert path.read_bytes()[:16] == before[:16]
    raw = sqlite3.connect(path)
    assert [row[0] for row in raw.execute("SELECT name FROM sqlite_master")] == ["notes"]
    raw.close()


def test_postgres_may_have_the_tables_of_others_beside_ours(postgres: PostgresServer) -> None:
    with postgres.database() as empty:
        connection = PostgresConnection(Address(empty))
        connection.run("CREATE TABLE notes (x integer)")
        migrate(PostgresSchema(connection), steps=migrations("postgres"))
        connection.close()


def test_a_script_is_split_at_its_statements() -> None:
    """A trigger's inner semicolons do not end it."""
    script = "CREATE TABLE a (x);\n-- a remark; with one\nCREATE TRIGGER t AFTER INSERT ON a\nBEGIN\n SELECT 1;\nEND;\n"

    assert [statement.split()[-1] for statement in split(script)] == ["(x);", "END;"]
    assert list(split("-- A step that is only\n-- a remark; it has none.\n")) == []
    with pytest.raises(AssertionError, match="ends inside"):
        list(split("-- A remark.\nCREATE TABLE a (x)\n"))


def aggregates() -> Sequence[str]:
    """Return every aggregate that has a file of queries in either dialect."""
    return sorted({path.stem for path in ROOM.rglob("sql/*.sql")})


@pytest.mark.parametrize("aggregate", aggregates())
def test_every_query_is_used_and_every_used_one_exists(aggregate: str) -> None:
    """The files of queries and the module beside them hold the same names, in both dialects."""
    source = (ROOM / f"{MODULES.get(aggregate, aggregate)}.py").read_text(encoding="utf-8")
    named = set(re.findall(r'"([a-z_]+)"', source))
    queries = {dialect: set(dialect_queries(dialect, aggregate)) for dialect in ("sqlite", "postgres")}
    used = set(re.findall(r'(?:_sql\[|_step\()"([a-z_]+)"', source))

    assert queries["sqlite"] == (set() if aggregate in ONLY_POSTGRES else queries["postgres"])
    assert queries["postgres"] - named == set()
    assert used - queries["postgres"] == set()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1;", "without a name"),
        ("-- name: a\nSELECT 1;", "sentence"),
        ("-- name: a\n-- Asks.\n", "one statement"),
        ("-- name: a\n-- Asks.\nSELECT 1; SELECT 2;", "one statement"),
        ("-- name: a\n-- Asks.\nSELECT 1;\n-- name: a\n-- Asks.\nSELECT 1;", "taken"),
    ],
)
def test_a_badly_named_query_is_told_with_its_line(text: str, complaint: str) -> None:
    """The file and line stand in the message."""
    with pytest.raises(ValueError, match=rf"^f\.sql:\d+: .*{complaint}"):
        parse_queries(text, source="f.sql")
