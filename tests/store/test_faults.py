"""What a failing disk, a damaged file and a busy SQLite look like to the caller."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pilothouse.errors import StorageFailed
from pilothouse.store.migrations import migrations
from pilothouse.store.sqlite.connection import SqliteConnection
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.jobs_conformance import insert as put
from pilothouse.testing.values import PRODUCT


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "pilothouse.db"


@pytest.fixture(name="store")
def _store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


def insert(store: SqliteStore, *numbers: int, size: int = 1) -> None:
    """Store jobs in one transaction."""
    with store.write() as tx:
        for number in numbers:
            put(tx, values.make_new_job(number, key=f"{number}-" + "k" * size))


def stored(store: SqliteStore) -> list[str]:
    """Return the ids of all queued jobs."""
    with store.read() as tx:
        return [job.id for job in reversed(tx.jobs.listed(PRODUCT, limit=100))]


def test_answers_are_flushed_to_the_disk(store: SqliteStore) -> None:
    """Every connection waits for the disk at a commit, enforces foreign keys and writes ahead."""
    expected = {"synchronous": 2, "foreign_keys": 1, "journal_mode": "wal", "recursive_triggers": 1}
    with store.read():
        pass
    for connection in (store._writer, *store._readers.idle):
        found = {name: connection.rows(f"PRAGMA {name}")[0][0] for name in expected}
        assert found == expected
    assert len(store._readers.idle) == 1


def test_a_full_disk_keeps_nothing_and_the_next_try_works(store: SqliteStore) -> None:
    """The error says what to do, the state before it stands, and with space again all goes on."""
    insert(store, 1)
    pages = store._writer.rows("PRAGMA page_count")[0][0]
    store._writer.rows(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StorageFailed, match="SQLITE_FULL") as caught:
        insert(store, 2, 3, size=100_000)

    assert "free some space" in caught.value.fix
    assert stored(store) == ["job-demo-1"]
    store._writer.rows("PRAGMA max_page_count = 1000000")
    insert(store, 2, 3, size=100_000)
    assert len(stored(store)) == 3
    assert store.damage() == []


def test_a_full_disk_inside_a_savepoint_ends_the_whole_transaction(store: SqliteStore) -> None:
    """The error that comes out is the disk's, not one about a lost savepoint."""
    pages = store._writer.rows("PRAGMA page_count")[0][0]
    store._writer.rows(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with store.write() as tx, tx.savepoint():
            put(tx, values.make_new_job(2, key="k" * 500_000))

    with pytest.raises(StorageFailed, match="SQLITE_FULL"):
        fill()

    assert stored(store) == []


def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    """It is not touched."""
    path.write_bytes(b"this is a letter, not a database, and it is long enough to be one" * 100)
    before = path.read_bytes()

    with pytest.raises(StorageFailed, match="SQLITE_NOTADB") as caught:
        SqliteStore(path)

    assert str(path) in caught.value.message
    assert path.read_bytes() == before


def test_damage_is_seen_by_the_check(path: Path) -> None:
    """A page that was overwritten shows, and so does a row without its parent."""
    store = SqliteStore(path)
    insert(store, *range(60), size=300)
    assert store.damage() == []
    store._writer.run("PRAGMA foreign_keys = OFF")
    store._writer.run("INSERT INTO job_edges (job, needs, kind) VALUES (1, 4711, 0)")
    assert store.damage() == ["job_edges: row None belongs to no jobs"]
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)

    assert found_wrong(path)


def found_wrong(path: Path) -> list[str]:
    """Return what the check says; whether it tells of damage or fails on it, somebody is told what to do."""
    try:
        damaged = SqliteStore(path)
        try:
            return list(damaged.damage())
        finally:
            damaged.close()
    except StorageFailed as error:
        assert "restore the newest backup" in error.fix  # noqa: PT017  a check may also fail on what it finds
        return [error.message]


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    """A file stands where the folder should."""
    (tmp_path / "file").write_text("x")

    with pytest.raises(StorageFailed, match="cannot be made"):
        SqliteStore(tmp_path / "file" / "home" / "pilothouse.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(StorageFailed, match="SQLITE_CANTOPEN"):
        SqliteStore(tmp_path / "folder.db")


def test_a_read_only_database_says_what_must_be_writable(store: SqliteStore, path: Path) -> None:
    """Readers cannot write, by mistake or otherwise."""
    insert(store, 1)
    reader = SqliteConnection(path, read_only=True)
    with pytest.raises(StorageFailed, match="SQLITE_READONLY") as caught:
        reader.run("UPDATE jobs SET failures = 9")
    assert "writable" in caught.value.fix
    reader.close()


def test_a_busy_database_names_the_wait(store: SqliteStore, path: Path) -> None:
    """Another process that holds the lock for too long is told of, and nothing hangs."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store._writer.rows("PRAGMA busy_timeout = 1")

    with pytest.raises(StorageFailed, match="SQLITE_BUSY") as caught:
        insert(store, 1)

    assert "another process" in caught.value.fix
    other.execute("ROLLBACK")
    other.close()
    insert(store, 1)


def test_a_reader_sees_one_snapshot_while_another_thread_writes(store: SqliteStore) -> None:
    """What is committed meanwhile shows in the next transaction, not in this one."""
    insert(store, 1)
    with store.read() as tx:
        before = tx.jobs.by_id(values.make_new_job(1).id)
        writer = threading.Thread(target=insert, args=(store, 2))
        writer.start()
        writer.join(30)
        during = [job.id for job in tx.jobs.listed(PRODUCT, limit=9)]

    assert before is not None
    assert during == ["job-demo-1"]
    assert stored(store) == ["job-demo-1", "job-demo-2"]


def test_a_transaction_inside_a_transaction_is_a_mistake_that_is_told(store: SqliteStore) -> None:
    """It would wait for itself."""
    with store.write(), pytest.raises(AssertionError, match="open already"), store.write():
        pass


def test_many_threads_write_and_read_without_loss(store: SqliteStore) -> None:
    """Every thread's jobs are there, and the readers' connections are reused."""

    def work(number: int) -> int:
        insert(store, number)
        return len(stored(store))

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(work, range(40)))

    assert len(stored(store)) == 40
    assert max(seen) == 40
    assert len(store._readers.idle) <= 8
    with store.read() as tx:
        assert len(tx.jobs.listed(PRODUCT, limit=100)) == 40


def test_many_openers_of_a_new_database_agree(path: Path) -> None:
    """Migrations are applied once, whoever comes first."""

    def open_and_close(_: int) -> None:
        SqliteStore(path).close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(open_and_close, range(6)))

    raw = SqliteConnection(path)
    assert [row[0] for row in raw.rows("SELECT version FROM schema_version ORDER BY version")] == [
        each.version for each in migrations("sqlite")
    ]
    raw.close()
