"""The audit log on both stores: it only grows, and is read by product, actor and object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from pilothouse.access.audit import Actor, Deed
from pilothouse.errors import Conflict
from pilothouse.fleet.factory import FactoryState
from pilothouse.ids import BootId, ProductId
from pilothouse.ports.audit import Wanted
from pilothouse.ports.store import Store
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.store.sqlite.connection import SqliteConnection
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.fleet_conformance import make_factory
from pilothouse.testing.values import PRODUCT

OTHER = ProductId("other")
ADA = Actor(name="ada", token="a" * 16)
FIRST = Deed(
    at=BEGIN,
    product=PRODUCT,
    actor=ADA,
    act="budget.set",
    object="demo",
    detail="said so",
    before="0" * 64,
    after="1" * 64,
)
DEEDS = (
    FIRST,
    replace(FIRST, product=OTHER, act="factory.revoke", object="f1", before=None),
    replace(FIRST, product=None, actor=Actor(name="local"), after=None, at=BEGIN + timedelta(microseconds=1)),
)
REFUSED = [
    "UPDATE audit SET actor = 'bob'",
    "DELETE FROM audit",
    "INSERT INTO audit (at, actor, act, object, detail) VALUES (1, '', 'x', 'y', '')",
    "INSERT INTO audit (at, actor, act, object, detail, after) VALUES (1, 'a', 'x', 'y', '', 'short')",
    "INSERT INTO audit (at, actor, act, object, detail, product) VALUES (1, 'a', 'x', 'y', '', '')",
]


@pytest.fixture(name="store", params=["sqlite", "postgres"])
def _store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    dsn = request.getfixturevalue("emptied") if request.param == "postgres" else None
    store: Store = SqliteStore(tmp_path / "pilothouse.db") if dsn is None else PostgresStore(dsn)
    yield store
    store.close()


def test_what_was_appended_is_read_newest_first(store: Store) -> None:
    with store.write() as tx:
        for deed in DEEDS:
            tx.audit.append(deed)
    with store.read() as tx:
        lines = tx.audit.listed(Wanted())
        page = tx.audit.listed(Wanted(before=lines[0].position, limit=1))

    assert [line.deed for line in lines] == list(reversed(DEEDS))
    assert list(page) == [lines[1]]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(product=PRODUCT), [0]),
        (Wanted(product=OTHER), [1]),
        (Wanted(actor="ada"), [1, 0]),
        (Wanted(actor="local"), [2]),
        (Wanted(object="f1"), [1]),
        (Wanted(product=PRODUCT, object="f1"), []),
        (Wanted(product=OTHER, actor="local"), []),
    ],
)
def test_a_listing_has_what_is_wanted(store: Store, wanted: Wanted, found: list[int]) -> None:
    with store.write() as tx:
        for deed in DEEDS:
            tx.audit.append(deed)

        assert [line.deed for line in tx.audit.listed(wanted)] == [DEEDS[number] for number in found]


@pytest.mark.parametrize(
    "change", [*REFUSED, "INSERT INTO audit VALUES (-1, 1, NULL, 'a', NULL, 'x', 'y', '', NULL, NULL)"]
)
def test_sqlite_keeps_every_line_against_any_client(tmp_path: Path, change: str) -> None:
    store = SqliteStore(tmp_path / "pilothouse.db")
    with store.write() as tx:
        tx.audit.append(FIRST)
    store.close()
    raw = SqliteConnection(tmp_path / "pilothouse.db")
    try:
        with pytest.raises(Conflict), raw.transaction():
            raw.run(change)
    finally:
        raw.close()


@pytest.mark.parametrize("change", [*REFUSED, "TRUNCATE audit", "UPDATE audit SET position = DEFAULT"])
def test_postgres_keeps_every_line_against_any_client(emptied: str, change: str) -> None:
    store = PostgresStore(emptied)
    with store.write() as tx:
        tx.audit.append(FIRST)
    store.close()
    with psycopg.connect(emptied) as raw, pytest.raises(psycopg.IntegrityError):
        raw.execute(change.encode())


def test_a_factory_goes_once_it_is_revoked_and_has_no_session(store: Store) -> None:
    """Its sessions stay for the histories, and its name may be another's."""
    factory = make_factory()
    with store.write() as tx:
        tx.factories.put(factory, now=BEGIN)
        session = tx.factories.open_session(factory.product, factory.name, BootId("b"), now=BEGIN, expires=BEGIN)
        with pytest.raises(Conflict), tx.savepoint():
            tx.factories.remove(factory.product, factory.name)
        tx.factories.put(replace(factory, state=FactoryState.REVOKED), now=BEGIN)
        with pytest.raises(Conflict), tx.savepoint():
            tx.factories.remove(factory.product, factory.name)
        tx.factories.close_session(session, now=BEGIN, why="")
        tx.factories.remove(factory.product, factory.name)

        assert tx.factories.get(factory.product, factory.name) is None
        assert tx.factories.session(session) is not None
        tx.factories.put(replace(factory, product=OTHER), now=BEGIN)
        assert [each.product for each in tx.factories.listed(None)] == [OTHER]
