"""The PostgreSQL store does what every store must."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from pilothouse.ports.store import Store
from pilothouse.proposals.proposal import State
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.testing import values
from pilothouse.testing.fleet_conformance import FleetConformance
from pilothouse.testing.store_conformance import LedStore, StoreConformance
from pilothouse.testing.values import PRODUCT


class TestPostgres(StoreConformance):
    """On a server of its own, which is at most as patient with mistakes as a user's."""

    @pytest.fixture(name="store")
    def _store(self, emptied: str) -> Iterator[LedStore]:
        store = PostgresStore(emptied)
        yield store
        store.close()


def test_a_no_that_is_written_while_a_launch_looks_at_the_gate_holds(emptied: str) -> None:
    """Both have read an open proposal; the launch waits for the row, and then finds that it may not have it."""
    store, other = PostgresStore(emptied), PostgresStore(emptied)
    proposal = values.make_proposal(1)
    with closing(store), closing(other), ThreadPoolExecutor(1) as threads:
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            tx.proposals.add(proposal)
        with store.write() as launch:
            read = launch.proposals.get(PRODUCT, proposal.id)
            with other.write() as no:
                assert no.proposals.move(PRODUCT, proposal.id, state=State.REJECTED, refusal="no")
                moved = threads.submit(launch.proposals.move, PRODUCT, proposal.id, state=State.ADMITTED, refusal="")
            assert not moved.result(timeout=20)
        with store.read() as tx:
            stored = tx.proposals.get(PRODUCT, proposal.id)

    assert read == proposal
    assert stored == replace(proposal, state=State.REJECTED, refusal="no")


class TestFleetOnPostgres(FleetConformance):
    """Factories, budgets, tokens and settings."""

    @pytest.fixture(name="store")
    def _store(self, emptied: str) -> Iterator[Store]:
        store = PostgresStore(emptied)
        yield store
        store.close()
