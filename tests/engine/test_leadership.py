"""Of several servers on one database one leads; the others stand by, and a deposed one changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilothouse.engine.leadership import leading
from pilothouse.errors import AlreadyOwned, LeaseLost
from pilothouse.fleet.factory import Factory
from pilothouse.ids import FactoryName, ProductId
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.clock import BEGIN

WAIT_SECONDS = 30.0


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[SqliteStore, SqliteStore]]:
    """Two servers' stores on one database."""
    one, other = SqliteStore(tmp_path / "x.db"), SqliteStore(tmp_path / "x.db")
    yield one, other
    one.close()
    other.close()


def write(store: SqliteStore) -> None:
    with store.write() as tx:
        tx.factories.put(Factory(product=ProductId("p"), name=FactoryName("f")), now=BEGIN)


def test_a_second_server_stands_by_until_the_first_resigns(stores: tuple[SqliteStore, SqliteStore]) -> None:
    first, second = stores
    told: list[str] = []
    stands_by, leads = threading.Event(), threading.Event()

    def wait_for_the_lead() -> None:
        def waiting(name: str) -> None:
            told.append(name)
            stands_by.set()

        with leading(second, holder="second", stop=threading.Event(), lost=lambda: None, waiting=waiting, seconds=1.0):
            leads.set()
            write(second)

    with leading(first, holder="first", stop=threading.Event(), lost=lambda: None, waiting=told.append):
        other = threading.Thread(target=wait_for_the_lead, daemon=True)
        other.start()
        assert stands_by.wait(WAIT_SECONDS)
        assert not leads.is_set()
        write(first)
    assert leads.wait(WAIT_SECONDS)
    other.join(WAIT_SECONDS)
    assert told == ["first"]


def test_a_server_that_is_stopped_while_it_stands_by_says_who_leads(stores: tuple[SqliteStore, SqliteStore]) -> None:
    first, second = stores
    stop = threading.Event()
    stop.set()
    assert first.lead("first", seconds=WAIT_SECONDS) is not None
    with (
        pytest.raises(AlreadyOwned, match="first leads"),
        leading(second, holder="second", stop=stop, lost=lambda: None, waiting=lambda _: None),
    ):
        pytest.fail("it must not lead")


def test_a_lead_that_cannot_be_kept_is_told_and_the_deposed_one_changes_nothing(
    stores: tuple[SqliteStore, SqliteStore],
) -> None:
    first, second = stores
    lost = threading.Event()
    with leading(first, holder="first", stop=threading.Event(), lost=lost.set, waiting=lambda _: None, seconds=0.3):
        # The same holder elsewhere takes the lead under a new epoch: what a copy of this server would do.
        assert second.lead("first", seconds=WAIT_SECONDS) is not None
        with pytest.raises(LeaseLost):
            write(first)
        assert lost.wait(WAIT_SECONDS)
    write(second)
