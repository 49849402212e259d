"""Guards that only a rare order of events needs, each on both stores: what is left of them is what stands between."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from pilothouse.fleet.claim import Ending, Grant
from pilothouse.fleet.job import Cost, Job, Outcome, Placed
from pilothouse.fleet.ledger import Reservation
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch, ProductId
from pilothouse.ports.store import Store, Transaction
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import BOOT, FACTORY, PRODUCT

LATER = BEGIN + timedelta(seconds=1)
COST = Cost(usd=1.0)
STRAY_ATTEMPT = """
INSERT INTO job_attempts (job, epoch, session, claimed_at) SELECT job, 9, session, claimed_at FROM job_attempts
"""


@pytest.fixture(name="store", params=["sqlite", "postgres"])
def _store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    dsn = request.getfixturevalue("dsn") if request.param == "postgres" else None
    store: Store = SqliteStore(tmp_path / "pilothouse.db") if dsn is None else PostgresStore(dsn)
    yield store
    store.close()


@pytest.fixture(name="stores", params=["sqlite", "postgres"])
def _stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[SqliteStore | PostgresStore, ...]]:
    """Give two servers on one database."""
    dsn = request.getfixturevalue("dsn") if request.param == "postgres" else None
    file = tmp_path / "pilothouse.db"
    stores = tuple(SqliteStore(file) if dsn is None else PostgresStore(dsn) for _ in range(2))
    yield stores
    for store in stores:
        store.close()


def queued(tx: Transaction) -> Job:
    """Store one job that waits."""
    [job] = tx.jobs.insert([Placed(new=values.make_new_job(1), stage=Stage.QUEUED)], now=BEGIN)
    return job


def claimed(tx: Transaction, job: Job) -> Job:
    """Give a job to the factory."""
    session = tx.factories.open_session(PRODUCT, FACTORY, BOOT, now=BEGIN, expires=LATER)
    assert not tx.jobs.assign([Grant(job.number, job.epoch, session)], now=BEGIN)
    found = tx.jobs.by_id(job.id)
    assert found is not None
    return found


def test_a_waiting_job_is_not_moved_on_old_knowledge(store: Store) -> None:
    """A job that was claimed and given back waits under another epoch; whoever knew it before moves nothing."""
    with store.write() as tx:
        before = queued(tx)
        held = claimed(tx, before)
        again = tx.jobs.finish(held, stage=Stage.QUEUED, report=values.make_report(Outcome.LOST), now=LATER)
        assert again is not None
        assert again.stage is before.stage is Stage.QUEUED

        assert tx.jobs.move(before, stage=Stage.FAILED, now=LATER, why="") is None
        assert tx.jobs.by_id(before.id) == again


def test_each_attempt_of_a_job_is_settled_by_itself(store: Store) -> None:
    """The second attempt's settlement says what the second one spent, and leaves the first as it is."""
    with store.write() as tx:
        job = queued(tx)
        for number in (1, 2):
            held = claimed(tx, job)
            assert held.epoch == number * 2 - 1
            tx.budgets.reserve(
                Reservation(job=job.number, epoch=held.epoch, product=PRODUCT, engine="", cost=COST, at=BEGIN)
            )
            assert tx.budgets.settle(job.number, epoch=held.epoch, cost=Cost(usd=float(number)), now=LATER)
            found = tx.jobs.finish(held, stage=Stage.QUEUED, report=values.make_report(Outcome.LOST), now=LATER)
            assert found is not None
            job = found

        (balance,) = tx.budgets.balances(PRODUCT, since=BEGIN).values()
        assert balance.spent.usd == 3_000_000
        assert not tx.budgets.settle(job.number, epoch=Epoch(1), cost=COST, now=LATER)


@pytest.mark.parametrize("by", ["a batch", "a flight", "the rules"])
def test_an_attempt_of_another_epoch_is_not_ended_with_the_jobs(
    request: pytest.FixtureRequest, store: Store, tmp_path: Path, by: str
) -> None:
    """Two open attempts of one job are not known to arise; if they did, a report would end the one it speaks of."""
    with store.write() as tx:
        held = claimed(tx, queued(tx))
    if isinstance(store, SqliteStore):
        with closing(sqlite3.connect(tmp_path / "pilothouse.db")) as connection, connection:
            connection.execute(STRAY_ATTEMPT)
    else:
        with psycopg.connect(request.getfixturevalue("dsn")) as postgres:
            postgres.execute(STRAY_ATTEMPT.encode())
    ending = Ending(held.number, held.epoch, Stage.ASSIGNED, values.make_report())

    if by == "a flight":
        assert set(store.send([], [ending], now=LATER).land().shipped) == {held.number}
    else:
        with store.write() as tx:
            if by == "a batch":
                assert not tx.jobs.ship([ending], now=LATER)
            else:
                assert tx.jobs.finish(held, stage=Stage.SHIPPED, report=values.make_report(), now=LATER)

    with store.read() as tx:
        ended = {attempt.epoch: attempt.ended_at for attempt in tx.jobs.attempts(held.id)}
    assert ended == {1: LATER, 9: None}


def test_keys_that_are_looked_up_together_are_those_of_one_product(store: Store) -> None:
    """Another product may use the same keys."""
    with store.write() as tx:
        theirs = values.make_new_job(1, product=ProductId("other"), key="same")
        mine = values.make_new_job(2, key="same")
        for new in (theirs, mine):
            tx.jobs.insert([Placed(new=new, stage=Stage.QUEUED)], now=BEGIN)

        assert [job.id for job in tx.jobs.by_keys(PRODUCT, ["same", "none"])] == [mine.id]


def test_a_lead_is_neither_renewed_nor_given_up_under_an_older_epoch(
    stores: tuple[SqliteStore | PostgresStore, ...],
) -> None:
    """A server that was started anew under its old name leads; what is left of the one before has no say."""
    old, new = stores
    assert old.lead("server-1", seconds=60) == 1
    assert new.lead("server-1", seconds=60) == 2

    assert not old.renew_lead(seconds=6000)
    old.resign()

    leader = new.leader()
    assert leader is not None
    assert leader.epoch == 2
    assert leader.seconds <= 60
    assert new.renew_lead(seconds=60)
