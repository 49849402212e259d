"""The PostgreSQL store does what every store must."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pilothouse.ports.store import Store
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.testing.fleet_conformance import FleetConformance
from pilothouse.testing.store_conformance import LedStore, StoreConformance


class TestPostgres(StoreConformance):
    """On a server of its own, which is at most as patient with mistakes as a user's."""

    @pytest.fixture(name="store")
    def _store(self, emptied: str) -> Iterator[LedStore]:
        store = PostgresStore(emptied)
        yield store
        store.close()


class TestFleetOnPostgres(FleetConformance):
    """Factories, budgets, tokens and settings."""

    @pytest.fixture(name="store")
    def _store(self, emptied: str) -> Iterator[Store]:
        store = PostgresStore(emptied)
        yield store
        store.close()
