"""The outbox on both databases, and the rules that its tables keep against any client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pilothouse.errors import Conflict
from pilothouse.ports.store import Store
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.store.sqlite.connection import SqliteConnection
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.outbox_conformance import OutboxConformance, make_issue


class TestOutboxOnSqlite(OutboxConformance):
    """In a file."""

    @pytest.fixture(name="store")
    def _store(self, tmp_path: Path) -> Iterator[Store]:
        store = SqliteStore(tmp_path / "pilothouse.db")
        yield store
        store.close()


class TestOutboxOnPostgres(OutboxConformance):
    """On a server."""

    @pytest.fixture(name="store")
    def _store(self, emptied: str) -> Iterator[Store]:
        store = PostgresStore(emptied)
        yield store
        store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE letters SET key = 'other'",
        "UPDATE letters SET about = 'other'",
        "UPDATE letters SET body = '{}'",
        "UPDATE letters SET state = 'sent', ended_at = 1",
        "UPDATE letters SET state = 'sent', remote = '7'",
        "UPDATE letters SET ended_at = 1",
        "UPDATE letters SET tries = -1",
        "UPDATE letters SET state = 'lost'",
        "DELETE FROM letters",
    ],
)
def test_the_table_keeps_its_rules_against_any_client(tmp_path: Path, statement: str) -> None:
    """Whoever opens the file with other hands cannot lose a letter, or let it say something else under its name."""
    file = tmp_path / "pilothouse.db"
    store = SqliteStore(file)
    with store.write() as tx:
        tx.outbox.post(make_issue(), now=BEGIN)
    store.close()
    raw = SqliteConnection(file)
    try:
        with pytest.raises(Conflict), raw.transaction():
            raw.run(statement)
        assert len(raw.rows("SELECT * FROM letters WHERE state = 'waiting'")) == 1
    finally:
        raw.close()
