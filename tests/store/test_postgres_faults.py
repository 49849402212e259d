"""What a PostgreSQL that dies, forgets its clients or refuses them looks like to the caller."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import psycopg
import pytest

from pilothouse.errors import PilothouseError, StorageFailed, UsageError
from pilothouse.fleet.claim import Ending, Grant
from pilothouse.fleet.job import Placed
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch
from pilothouse.store.postgres.address import Address
from pilothouse.store.postgres.connection import PostgresConnection
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.jobs_conformance import insert
from pilothouse.testing.postgres_server import PostgresServer
from pilothouse.testing.values import BOOT, FACTORY, PRODUCT

SECRET = "hunter2"  # noqa: S105  what must not be shown


@pytest.fixture(name="store")
def _store(dsn: str) -> Iterator[PostgresStore]:
    store = PostgresStore(dsn)
    yield store
    store.close()


def put(store: PostgresStore, number: int) -> None:
    """Store one job in a transaction of its own."""
    with store.write() as tx:
        insert(tx, values.make_new_job(number))


def stored(store: PostgresStore) -> list[str]:
    """Return the keys of all jobs, newest first."""
    with store.read() as tx:
        return [job.key for job in tx.jobs.listed(PRODUCT, limit=100)]


def database_of(dsn: str) -> str:
    """Return the name of the database in an address."""
    return str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])


def test_answers_are_flushed_to_the_disk_and_nothing_waits_for_ever(dsn: str) -> None:
    """Writers and readers have their settings, whatever the server's own are."""
    names = ("synchronous_commit", "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    found = {}
    for read_only in (False, True):
        connection = PostgresConnection(Address(dsn), read_only=read_only)
        found[read_only] = [connection.rows(f"SHOW {name}")[0][0] for name in names]
        connection.close()

    assert found == {False: ["on", "30s", "2min", "15s"], True: ["on", "30s", "2min", "2min"]}


def test_connections_that_died_in_idle_times_are_replaced_without_a_word(
    postgres: PostgresServer, store: PostgresStore, dsn: str
) -> None:
    """Nothing was begun on them, so nobody needs to know."""
    put(store, 1)
    assert stored(store) == ["step/1"]
    assert postgres.terminate_backends(database_of(dsn)) == 2

    put(store, 2)
    assert stored(store) == ["step/2", "step/1"]


def test_a_transaction_whose_connection_dies_fails_and_keeps_nothing(
    postgres: PostgresServer, store: PostgresStore, dsn: str
) -> None:
    """Every call says so until the transaction is left; the next one works."""

    def die() -> None:
        with store.write() as tx:
            insert(tx, values.make_new_job(1))
            postgres.terminate_backends(database_of(dsn))
            for number in (2, 3):
                with pytest.raises(StorageFailed):
                    insert(tx, values.make_new_job(number))
            insert(tx, values.make_new_job(4))

    with pytest.raises(StorageFailed) as caught:
        die()

    assert "run the same command again" in caught.value.fix
    put(store, 5)
    assert stored(store) == ["step/5"]


def test_a_reader_whose_connection_dies_fails_alone(postgres: PostgresServer, store: PostgresStore, dsn: str) -> None:
    """Its next transaction has a new connection."""
    put(store, 1)

    def read_and_die() -> None:
        with store.read() as tx:
            tx.jobs.listed(PRODUCT, limit=1)
            postgres.terminate_backends(database_of(dsn))
            tx.jobs.listed(PRODUCT, limit=1)

    with pytest.raises(StorageFailed):
        read_and_die()
    assert stored(store) == ["step/1"]


def test_an_answer_that_is_lost_with_the_commit_is_not_given(
    postgres: PostgresServer, store: PostgresStore, dsn: str
) -> None:
    """Nobody knows then whether the change was kept, and the error does not claim to."""

    def commit_and_die() -> None:
        with store.write() as tx:
            insert(tx, values.make_new_job(1))
            postgres.terminate_backends(database_of(dsn))

    with pytest.raises(StorageFailed, match="not known whether") as caught:
        commit_and_die()

    assert "read the present state" in caught.value.fix
    put(store, 2)


def test_a_flight_over_a_connection_that_died_in_idle_times_lands(
    postgres: PostgresServer, store: PostgresStore, dsn: str
) -> None:
    """Nothing was asked of it, so nobody needs to know."""
    grant = waiting(store)
    assert postgres.terminate_backends(database_of(dsn)) >= 1

    assert list(store.send([grant], [], now=BEGIN).land().handed) == [grant.number]


def test_a_flight_that_is_shot_down_is_told_and_the_next_one_lands(
    postgres: PostgresServer, store: PostgresStore, dsn: str
) -> None:
    """Whether its commit was carried out nobody knows, and the error does not claim to."""
    grant = waiting(store)
    with psycopg.connect(dsn) as other:
        other.execute("LOCK TABLE jobs IN EXCLUSIVE MODE")
        flight = store.send([grant], [], now=BEGIN)
        # The lock's holder is spared: without the lock the flight could land before it is shot down.
        postgres.terminate_backends(database_of(dsn), spared=other.info.backend_pid)
        with pytest.raises(StorageFailed, match="not known whether") as caught:
            flight.land()
        other.rollback()

    assert "read the present state" in caught.value.fix
    assert list(store.send([grant], [], now=BEGIN).land().handed) == [grant.number]


def test_a_flight_that_waits_too_long_keeps_nothing(store: PostgresStore, dsn: str) -> None:
    """The connection survives it, and its statements stay prepared or are prepared anew."""
    grant = waiting(store)
    store._writer.run("SET lock_timeout = '10ms'")
    with psycopg.connect(dsn) as other:
        other.execute("LOCK TABLE jobs IN EXCLUSIVE MODE")
        with pytest.raises(StorageFailed, match="55P03"):
            store.send([grant], [], now=BEGIN).land()

    assert list(store.send([grant], [], now=BEGIN).land().handed) == [grant.number]
    assert not store.send([grant], [], now=BEGIN).land().handed


def test_a_large_flight_does_not_wait_for_itself(store: PostgresStore) -> None:
    """What is sent and what comes back are both more than a socket holds."""
    spec = replace(values.make_spec(), config={"text": "x" * 20_000})
    with store.write() as tx:
        news = [replace(values.make_new_job(number), spec=spec) for number in range(300)]
        jobs = tx.jobs.insert([Placed(new=new, stage=Stage.QUEUED) for new in news], now=BEGIN)
        session = tx.factories.open_session(PRODUCT, FACTORY, BOOT, now=BEGIN, expires=BEGIN)
    report = replace(values.make_report(), detail="y" * 20_000)

    moved = store.send([Grant(job.number, job.epoch, session) for job in jobs], [], now=BEGIN).land()
    ended = [Ending(job.number, Epoch(1), Stage.ASSIGNED, report) for job in jobs]
    shipped = store.send([], ended, now=BEGIN).land().shipped

    assert set(moved.handed) == set(shipped) == {job.number for job in jobs}


def waiting(store: PostgresStore) -> Grant:
    """Return the grant of a new job that waits."""
    with store.write() as tx:
        job = insert(tx, values.make_new_job(1))
        return Grant(job.number, job.epoch, tx.factories.open_session(PRODUCT, FACTORY, BOOT, now=BEGIN, expires=BEGIN))


def test_a_server_that_is_killed_comes_back_with_every_answer() -> None:
    """Kill -9 of the whole server: what was answered is there, and the same store goes on."""
    with PostgresServer() as server, server.database() as dsn:
        store = PostgresStore(dsn)
        for number in range(2):
            put(store, number)
            server.kill()
            with pytest.raises(StorageFailed) as caught:
                put(store, 90 + number)
            with pytest.raises(StorageFailed):
                stored(store)
            assert "whether the server runs" in caught.value.fix
            server.start()
        put(store, 2)

        assert stored(store) == ["step/2", "step/1", "step/0"]
        assert store.damage() == []
        store.close()


def test_a_full_server_is_told_and_recovers(store: PostgresStore, dsn: str) -> None:
    """The connections of others are the trouble; once they are gone all goes on."""
    put(store, 1)
    others: list[psycopg.Connection] = []
    with suppress(psycopg.OperationalError):
        others.extend(psycopg.connect(dsn) for _ in range(100))
    with pytest.raises(StorageFailed) as caught:
        stored(store)
    for other in others:
        other.close()

    assert "max_connections" in caught.value.fix
    assert 20 < len(others) < 100
    assert stored_at_last(store) == ["step/1"]


def stored_at_last(store: PostgresStore) -> list[str]:
    """Return the keys once the server has noticed that the others are gone."""
    patience = threading.Event()
    for _ in range(200):
        try:
            return stored(store)
        except StorageFailed:
            patience.wait(0.02)
    return stored(store)


def test_a_lock_that_is_held_too_long_is_named(store: PostgresStore, dsn: str) -> None:
    """Nothing hangs, and the next try works."""
    put(store, 1)
    other = psycopg.connect(dsn)
    other.execute("LOCK TABLE jobs IN EXCLUSIVE MODE")
    store._writer.run("SET lock_timeout = '10ms'")

    with pytest.raises(StorageFailed, match="55P03") as caught:
        put(store, 2)

    assert "find it, or try again" in caught.value.fix
    other.close()
    put(store, 2)


def test_a_statement_that_runs_too_long_is_ended(store: PostgresStore) -> None:
    """The connection survives it."""
    store._writer.run("SET statement_timeout = '10ms'")

    with pytest.raises(StorageFailed, match="57014") as caught, store._writer.transaction():
        store._writer.rows("SELECT pg_sleep(10)")

    assert "ran for more than" in caught.value.fix
    put(store, 1)


def test_a_writer_that_falls_asleep_loses_its_transaction(store: PostgresStore) -> None:
    """So it holds no lock that another server waits for."""
    put(store, 1)
    store._writer.run("SET idle_in_transaction_session_timeout = '20ms'")

    def fall_asleep() -> None:
        with store.write() as tx:
            insert(tx, values.make_new_job(2))
            threading.Event().wait(0.3)
            insert(tx, values.make_new_job(3))

    with pytest.raises(StorageFailed):
        fall_asleep()
    assert stored(store) == ["step/1"]


def test_a_reader_cannot_write(store: PostgresStore) -> None:
    """By mistake or otherwise."""
    with pytest.raises(StorageFailed, match="25006"), store.read() as tx:
        insert(tx, values.make_new_job(1))


def test_what_the_schema_lost_is_found(store: PostgresStore, dsn: str) -> None:
    """A line of history without its job, and an index that was left half made."""
    put(store, 1)
    assert store.damage() == []
    with psycopg.connect(dsn, autocommit=True) as raw:
        raw.execute("INSERT INTO job_events (job, sequence, at, epoch, stage) VALUES (4711, 1, 1, 0, 1)")
        raw.execute("INSERT INTO job_events (job, sequence, at, epoch, stage) VALUES (4711, 2, 1, 0, 1)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            raw.execute("CREATE UNIQUE INDEX CONCURRENTLY half ON job_events (job)")

    assert store.damage() == ["the index half is not valid", "job_events: row 4711 belongs to no jobs"]


def test_many_threads_write_and_read_without_loss(store: PostgresStore) -> None:
    """Every thread's jobs are there, and the readers' connections are reused."""

    def work(number: int) -> int:
        put(store, number)
        return len(stored(store))

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(work, range(24)))

    assert len(stored(store)) == max(seen) == 24
    assert 1 <= len(store._readers.idle) <= 8


def test_many_openers_of_a_new_database_agree(postgres: PostgresServer) -> None:
    """Migrations are applied once, whoever comes first."""
    with postgres.database() as dsn:
        with ThreadPoolExecutor(4) as pool:
            for store in pool.map(PostgresStore, [dsn] * 4):
                store.close()
        store = PostgresStore(dsn)
        put(store, 1)
        store.close()


def test_a_database_that_is_not_there_is_named(postgres: PostgresServer) -> None:
    """And so is a server that is not."""
    for dsn, what in ((postgres.dsn("nowhere"), "nowhere"), ("postgresql://ada@/db?host=/nowhere", "/nowhere")):
        with pytest.raises(StorageFailed, match=what):
            PostgresStore(dsn)


def test_a_database_in_another_encoding_is_refused(postgres: PostgresServer) -> None:
    """It could not hold what the others can."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as raw:
        raw.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StorageFailed, match="LATIN1") as caught:
        PostgresStore(postgres.dsn("latin"))
    postgres.drop_database("latin")

    assert "UTF8" in caught.value.fix


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        (f"postgresql://ada:{SECRET}@nowhere.invalid:1/fleet", "postgresql://ada@nowhere.invalid:1/fleet"),
        (f"postgresql://ada:{SECRET}@/fleet?host=/nowhere&port=7", "postgresql://ada@/fleet?host=/nowhere&port=7"),
        (f"host=/nowhere dbname=fleet password={SECRET} user=ada", "postgresql://ada@/fleet?host=/nowhere"),
    ],
)
def test_a_password_is_never_shown(dsn: str, shown: str) -> None:
    """Neither in the message nor in the fix nor in what lies behind them."""
    with pytest.raises(PilothouseError) as caught:
        PostgresStore(dsn)

    assert caught.value.message.startswith(shown)
    assert SECRET not in told(caught.value)
    assert repr(Address(dsn)) == f"Address({shown!r})"


@pytest.mark.parametrize("dsn", [f"postgresql://ada:{SECRET}@x:{SECRET}/y", f"host {SECRET}", f"nonsense={SECRET}"])
def test_an_address_that_cannot_be_read_is_not_repeated(dsn: str) -> None:
    """A password may stand anywhere in it."""
    with pytest.raises(UsageError, match="cannot be read") as caught:
        Address(dsn)

    assert "postgresql://USER" in caught.value.fix
    assert SECRET not in told(caught.value)


def told(error: BaseException | None) -> str:
    """Return everything that an error and its causes say."""
    texts = []
    while error is not None:
        texts.append(f"{error} {getattr(error, 'fix', '')}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return " ".join(texts)
