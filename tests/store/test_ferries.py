"""Ferries and monitors on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pilothouse.ports.store import Store
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.ferries_conformance import FerriesConformance


class TestFerriesOnSqlite(FerriesConformance):
    """In a file."""

    @pytest.fixture(name="store")
    def _store(self, tmp_path: Path) -> Iterator[Store]:
        store = SqliteStore(tmp_path / "pilothouse.db")
        yield store
        store.close()


class TestFerriesOnPostgres(FerriesConformance):
    """On a server."""

    @pytest.fixture(name="store")
    def _store(self, emptied: str) -> Iterator[Store]:
        store = PostgresStore(emptied)
        yield store
        store.close()
