"""The PostgreSQL that the tests of one process share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pilothouse.store.postgres.store import PostgresStore
from pilothouse.testing.postgres_server import PostgresServer


@pytest.fixture(name="postgres", scope="session")
def _postgres() -> Iterator[PostgresServer]:
    """Start a server of our own; when none can start, the tests fail with the reason."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(name="migrated", scope="session")
def _migrated(postgres: PostgresServer) -> str:
    """Return the name of a database with its schema in place, of which each test gets a copy."""
    name = postgres.create_database()
    PostgresStore(postgres.dsn(name)).close()
    return name


@pytest.fixture(name="dsn")
def _dsn(postgres: PostgresServer, migrated: str) -> Iterator[str]:
    """Give the address of an empty database with its schema in place."""
    with postgres.database(like=migrated) as dsn:
        yield dsn
