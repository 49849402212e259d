"""Factories, budgets, tokens and fleet settings on SQLite, and the rules that their tables keep against any client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pilothouse.errors import Conflict
from pilothouse.fleet.budget import Budget
from pilothouse.fleet.settings import FleetSettings
from pilothouse.ids import BootId, Epoch, SessionNumber
from pilothouse.ports.store import Store
from pilothouse.store.rows import instant
from pilothouse.store.sqlite.connection import SqliteConnection
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.access_conformance import make_enrolment
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.fleet_conformance import COST, SOON, FleetConformance, make_attempts, make_factory, reservation
from pilothouse.testing.values import FACTORY, PRODUCT

SHORT = {
    "SETTLE": "UPDATE ledger SET settled_at = 1,",
    "THE OPEN LINE": "WHERE settled_at IS NULL",
    "RESERVE": "INSERT INTO ledger (job, epoch, product, engine, reserved_at,",
    "ADD TOKEN": "INSERT INTO tokens (id, kind, name, role, product, factory, digest, created_at) SELECT",
    "A DIGEST": "substr(max(digest), 2) || 'x', 1 FROM tokens",
}
"""Long beginnings and ends of the statements below."""


class TestSqliteInAFile(FleetConformance):
    """As it is used."""

    @pytest.fixture(name="store")
    def _store(self, tmp_path: Path) -> Iterator[Store]:
        store = SqliteStore(tmp_path / "pilothouse.db")
        yield store
        store.close()


class TestSqliteInMemory(FleetConformance):
    """As other tests use it."""

    @pytest.fixture(name="store")
    def _store(self) -> Iterator[Store]:
        store = SqliteStore(":memory:")
        yield store
        store.close()


def everything(raw: SqliteConnection) -> list[list[tuple[object, ...]]]:
    """Return every row of the tables that keep the fleet."""
    tables = ("ledger", "sessions", "tokens", "factories", "budgets")
    return [[tuple(row) for row in raw.rows("SELECT * FROM " + table)] for table in tables]  # noqa: S608  named above


@pytest.fixture(name="raw")
def _raw(tmp_path: Path) -> Iterator[SqliteConnection]:
    """Yield a database with one row of each kind, a settled and an unsettled attempt, and nothing of ours before it."""
    path = tmp_path / "pilothouse.db"
    store = SqliteStore(path)
    with store.write() as tx:
        settled, unsettled, _ = make_attempts(tx, 3)
        tx.factories.put(make_factory(), now=BEGIN)
        tx.factories.close_session(SessionNumber(1), now=SOON, why="stale")
        tx.factories.open_session(PRODUCT, FACTORY, BootId("boot-2"), now=BEGIN, expires=SOON)
        tx.budgets.put(Budget(product=PRODUCT))
        tx.budgets.reserve_many([reservation(settled), reservation(unsettled)])
        tx.budgets.settle(settled, epoch=Epoch(1), cost=COST, now=SOON)
        tx.access.add(make_enrolment(1))
        tx.access.add(make_enrolment(2))
        tx.access.add(make_enrolment(3))
        tx.access.consume(make_enrolment(1).id, now=BEGIN)
        tx.access.revoke(make_enrolment(2).id, now=SOON)
        tx.fleet_settings.put(PRODUCT, FleetSettings(), who="ada", now=BEGIN)
    store.close()
    connection = SqliteConnection(path)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("UPDATE ledger SET spent_usd = 0 WHERE settled_at IS NOT NULL", "settled attempt never changes"),
        ("UPDATE ledger SET settled_at = NULL WHERE settled_at IS NOT NULL", "settled attempt never changes"),
        ("UPDATE ledger SET usd = 0 WHERE settled_at IS NULL", "has reserved never changes"),
        ("UPDATE ledger SET product = 'other' WHERE settled_at IS NULL", "has reserved never changes"),
        ("UPDATE ledger SET spent_usd = 0 WHERE settled_at IS NULL", "CHECK"),
        ("SETTLE spent_usd = 1, spent_tokens = 1 WHERE settled_at IS NULL", "CHECK"),
        (
            "UPDATE ledger SET settled_at = 1, spent_usd = -1, spent_gpu_hours = 1, spent_tokens = 1 WHERE job = 2",
            "CHECK",
        ),
        ("DELETE FROM ledger WHERE settled_at IS NULL", "never deleted"),
        ("REPLACE INTO ledger SELECT * FROM ledger WHERE settled_at IS NULL", "never deleted"),
        (
            "INSERT INTO ledger (job, epoch, product, engine, reserved_at, settled_at) VALUES (3, 1, 'p', '', 1, 2)",
            "before",
        ),
        ("INSERT INTO ledger (job, epoch, product, engine, reserved_at, usd) VALUES (3, 1, 'p', '', 1, -1)", "CHECK"),
        ("UPDATE sessions SET expires_at = expires_at + 1", "closed never changes"),
        ("UPDATE sessions SET closed_at = NULL", "closed never changes"),
        ("UPDATE sessions SET boot = 'b' WHERE closed_at IS NULL", "boot of a session never change"),
        ("DELETE FROM sessions WHERE number = 2", "never deleted"),
        ("UPDATE tokens SET used_at = NULL WHERE used_at IS NOT NULL", "used once"),
        ("UPDATE tokens SET used_at = used_at + 1 WHERE used_at IS NOT NULL", "used once"),
        ("UPDATE tokens SET used_at = revoked_at WHERE revoked_at IS NOT NULL", "while it is good"),
        ("UPDATE tokens SET used_at = expires_at WHERE position = 3", "while it is good"),
        ("UPDATE tokens SET revoked_at = NULL WHERE revoked_at IS NOT NULL", "never put off or taken back"),
        ("UPDATE tokens SET revoked_at = revoked_at + 1 WHERE revoked_at IS NOT NULL", "never put off or taken back"),
        ("UPDATE tokens SET expires_at = NULL", "what a token is never changes"),
        ("UPDATE tokens SET role = 'admin'", "what a token is never changes"),
        ("UPDATE tokens SET product = NULL", "what a token is never changes"),
        ("DELETE FROM tokens", "never deleted"),
        ("REPLACE INTO tokens SELECT * FROM tokens", "never deleted"),
        ("UPDATE factories SET state = 'gone'", "CHECK"),
        ("UPDATE factories SET seats = -1", "CHECK"),
        ("UPDATE factories SET usd_per_hour = -0.5", "CHECK"),
        ("DELETE FROM factories", "never deleted"),
        ("UPDATE budgets SET usd = -1", "CHECK"),
        ("UPDATE budgets SET enforced = 2", "CHECK"),
        ("UPDATE factories SET gpus = -1", "CHECK"),
        ("UPDATE factories SET product = ''", "CHECK"),
        ("UPDATE factories SET name = ''", "CHECK"),
        ("UPDATE budgets SET paused_by = 'ada'", "CHECK"),
        ("UPDATE budgets SET paused_by = 'ada', paused_at = 1", "CHECK"),
        ("UPDATE budgets SET paused_by = 'ada', paused_why = ''", "CHECK"),
        ("UPDATE budgets SET product = ''", "CHECK"),
        ("UPDATE budgets SET gpu_hours = -1", "CHECK"),
        ("UPDATE budgets SET tokens = -1", "CHECK"),
        ("UPDATE budgets SET window_seconds = 0", "CHECK"),
        ("UPDATE fleet_settings SET product = ''", "CHECK"),
        ("SETTLE spent_gpu_hours = 1, spent_tokens = 1 THE OPEN LINE", "CHECK"),
        ("SETTLE spent_usd = 1, spent_gpu_hours = 1 THE OPEN LINE", "CHECK"),
        ("SETTLE spent_usd = 1, spent_gpu_hours = -1, spent_tokens = 1 THE OPEN LINE", "CHECK"),
        ("SETTLE spent_usd = 1, spent_gpu_hours = 1, spent_tokens = -1 THE OPEN LINE", "CHECK"),
        ("RESERVE gpu_hours) VALUES (3, 1, 'p', '', 1, -1)", "CHECK"),
        ("RESERVE tokens) VALUES (3, 1, 'p', '', 1, -1)", "CHECK"),
        ("RESERVE tokens) VALUES (3, 1, '', '', 1, 1)", "CHECK"),
        ("ADD TOKEN '', 'user', 'ada', 'admin', 'p', NULL, A DIGEST", "CHECK"),
        ("ADD TOKEN 'a', 'robot', 'ada', 'admin', 'p', NULL, A DIGEST", "CHECK"),
        ("ADD TOKEN 'a', 'user', '', 'admin', 'p', NULL, A DIGEST", "CHECK"),
        ("ADD TOKEN 'a', 'user', 'ada', 'king', 'p', NULL, A DIGEST", "CHECK"),
        ("ADD TOKEN 'a', 'user', 'ada', 'admin', '', NULL, A DIGEST", "CHECK"),
        ("ADD TOKEN 'a', 'worker', 'ada', 'worker', 'p', '', A DIGEST", "CHECK"),
    ],
)
def test_the_tables_refuse(raw: SqliteConnection, change: str, rule: str) -> None:
    """Whoever asks: a cheaper past, a revived session, a token that is good again."""
    statement = change
    for short, text in SHORT.items():
        statement = statement.replace(short, text)
    before = everything(raw)

    with pytest.raises(Conflict, match=rule), raw.transaction():
        raw.run(statement)

    assert everything(raw) == before
    assert all(before)


def test_who_changed_the_settings_is_kept(tmp_path: Path) -> None:
    """The last one and when, for whoever asks the tables."""
    path = tmp_path / "pilothouse.db"
    store = SqliteStore(path)
    for who, when in (("ada", BEGIN), ("grace", SOON)):
        with store.write() as tx:
            tx.fleet_settings.put(PRODUCT, FleetSettings(), who=who, now=when)
    store.close()
    connection = SqliteConnection(path)
    found = [tuple(row) for row in connection.rows("SELECT changed_by, changed_at FROM fleet_settings")]
    connection.close()

    assert found == [("grace", instant(SOON))]


@pytest.mark.parametrize("state", ["active", "draining", "revoked"])
def test_the_tables_know_every_state_of_a_factory(raw: SqliteConnection, state: str) -> None:
    """And no other, as the list above says."""
    assert raw.run("UPDATE factories SET state = :state", {"state": state}) == 1


@pytest.mark.parametrize(
    ("aggregate", "query", "index"),
    [
        ("factories", "beat", "PRIMARY KEY"),
        ("factories", "session_of_boot", "sqlite_autoindex_sessions_1"),
        ("factories", "open_sessions", "sessions_open"),
        ("factories", "last_session_of_factory", "sqlite_autoindex_sessions_1"),
        ("budgets", "settle", "PRIMARY KEY"),
        ("budgets", "unsettled", "ledger_unsettled"),
        ("budgets", "balances", "ledger_by_time"),
        ("access", "token_by_id", "sqlite_autoindex_tokens_1"),
        ("access", "consume_token", "sqlite_autoindex_tokens_1"),
        ("access", "tokens_of_product", "tokens_of_product"),
    ],
)
def test_a_query_goes_by_its_index(raw: SqliteConnection, aggregate: str, query: str, index: str) -> None:
    """However long the history grows, a beat, a settlement and a start of the engine read what they need."""
    sql = raw.queries(aggregate)[query]
    names = {word.strip(":,() \n") for word in sql.replace("(", " ").split() if word.startswith(":")}
    plan = [str(row["detail"]) for row in raw.rows(f"EXPLAIN QUERY PLAN {sql}", dict.fromkeys(names, 1))]

    assert any(index in step for step in plan), plan
