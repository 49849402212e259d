"""The PostgreSQL that the tests of one process share."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from pilothouse.store.postgres.store import PostgresStore
from pilothouse.testing.postgres_server import PostgresServer


@pytest.fixture(name="postgres", scope="session")
def _postgres() -> Iterator[PostgresServer]:
    """Start a server of our own; when none can start, the tests fail with the reason."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(name="migrated", scope="session")
def _migrated(postgres: PostgresServer) -> str:
    """Return the name of a database with its schema in place, of which a test may have a copy."""
    name = postgres.create_database()
    PostgresStore(postgres.dsn(name)).close()
    return name


@pytest.fixture(name="dsn")
def _dsn(postgres: PostgresServer, migrated: str) -> Iterator[str]:
    """Give the address of a database of the test's own, with its schema in place."""
    with postgres.database(like=migrated) as dsn:
        yield dsn


@pytest.fixture(name="shared", scope="session")
def _shared(postgres: PostgresServer, migrated: str) -> Iterator[tuple[str, psycopg.Connection]]:
    """Give the address of a database that one test after the other uses, and a connection by which it is emptied."""
    with postgres.database(like=migrated) as dsn, psycopg.connect(dsn, autocommit=True) as cleaner:
        # As a replica does, it deletes rows without asking the triggers.
        cleaner.execute("SET session_replication_role = replica")
        yield dsn, cleaner


@pytest.fixture(name="emptied")
def _emptied(shared: tuple[str, psycopg.Connection]) -> str:
    """Return the address of the shared database once nothing is in it: in a third of the time of a new one."""
    dsn, cleaner = shared
    empty(cleaner)
    return dsn


def empty(cleaner: psycopg.Connection) -> None:
    """Delete every row but those that the migrations have written."""
    found = cleaner.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    tables = [sql.Identifier(str(row[0])) for row in found if row[0] not in {"schema_version", "leader"}]
    deletions = [sql.SQL("DELETE FROM {}").format(table) for table in tables]
    again = sql.SQL("UPDATE leader SET holder = '', epoch = 0, expires_at = 0")
    cleaner.execute(sql.SQL("; ").join([*deletions, again]))
