"""The SQLite store, in a file and in memory, does what every store must."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.store_conformance import LedStore, StoreConformance


class TestSqliteInAFile(StoreConformance):
    """As it is used."""

    @pytest.fixture(name="store")
    def _store(self, tmp_path: Path) -> Iterator[LedStore]:
        store = SqliteStore(tmp_path / "home" / "pilothouse.db")
        yield store
        store.close()


class TestSqliteInMemory(StoreConformance):
    """As other tests use it: the fake store is the real one."""

    @pytest.fixture(name="store")
    def _store(self) -> Iterator[LedStore]:
        store = SqliteStore(":memory:")
        yield store
        store.close()
