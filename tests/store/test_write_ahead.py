"""While somebody holds an old snapshot, the log is folded back seldom; once nobody does, it is folded and cut."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pilothouse.errors import StorageFailed
from pilothouse.store.sqlite.connection import SqliteConnection
from pilothouse.store.sqlite.write_ahead import LONG_BYTES, PAGES, REST, WriteAheadLog

ROW = b"x" * 1_000_000
TRIES = "PRAGMA wal_checkpoint(PASSIVE)"


class Log:
    """A database in a file whose log is looked after; a try at folding it takes a second."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "some.db"
        self.raw = sqlite3.connect(self.path, isolation_level=None)
        self.raw.execute("PRAGMA journal_mode = WAL")
        self.raw.execute("CREATE TABLE rows (value blob)")
        self.raw.execute(TRIES)
        self.seconds = 0.0
        self.tries: list[float] = []
        self.log = WriteAheadLog(str(self.path), self._ask, monotonic=lambda: self.seconds)

    def _ask(self, statement: str) -> list[Any]:
        if statement == TRIES:
            self.tries.append(self.seconds)
            self.seconds += 1.0
        return self.raw.execute(statement).fetchall()

    def write(self, seconds: float = 1.0) -> None:
        """Commit a megabyte, so much later."""
        self.seconds += seconds
        self.raw.execute("INSERT INTO rows VALUES (?)", (ROW,))
        self.log.committed()

    @property
    def size(self) -> int:
        """How long the log is."""
        return Path(f"{self.path}-wal").stat().st_size

    @property
    def pages(self) -> int:
        """From how many pages on SQLite itself folds the log."""
        return int(self.raw.execute("PRAGMA wal_autocheckpoint").fetchone()[0])


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path)
    with closing(log.raw):
        yield log


def old_snapshot(path: Path) -> sqlite3.Connection:
    """Return a reader that holds the database as it is now."""
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM rows").fetchone()
    return reader


def test_a_log_that_nobody_holds_is_left_to_sqlite(log: Log) -> None:
    for _ in range(2 * LONG_BYTES // len(ROW)):
        log.write()
    assert log.size <= LONG_BYTES
    assert not log.tries
    assert log.pages == PAGES


def test_a_log_that_is_held_is_tried_once_in_a_hundred_times_what_a_try_takes(log: Log) -> None:
    with closing(old_snapshot(log.path)):
        while not log.tries:
            log.write()
        assert log.size > LONG_BYTES
        assert log.pages == 0
        for _ in range(REST // 10):
            log.write(seconds=9.0)
        assert len(log.tries) == 1
        log.write(seconds=REST)
        assert len(log.tries) == 2


def test_a_log_that_is_held_no_more_is_folded_cut_and_left_to_sqlite_again(log: Log) -> None:
    with closing(old_snapshot(log.path)):
        while not log.tries:
            log.write()
    log.write(seconds=2.0 * REST)
    assert len(log.tries) == 2
    assert log.pages == PAGES
    log.write()
    assert log.size <= LONG_BYTES


def test_the_connection_of_a_writer_looks_after_its_log(tmp_path: Path) -> None:
    with closing(SqliteConnection(tmp_path / "some.db")) as writer:
        writer.run("CREATE TABLE rows (value text)")
        with closing(old_snapshot(tmp_path / "some.db")):
            for _ in range(2 * LONG_BYTES // len(ROW)):
                with writer.transaction():
                    writer.run("INSERT INTO rows VALUES (:value)", {"value": ROW.decode()})
            assert writer.rows("PRAGMA wal_autocheckpoint")[0][0] == 0


def test_a_failure_to_fold_leaves_the_commit_as_it_was(tmp_path: Path) -> None:
    asked: list[str] = []

    def fail(statement: str) -> list[Any]:
        asked.append(statement)
        if statement == TRIES:
            raise StorageFailed("the disk fails", fix="look at the disk")
        return []

    log = WriteAheadLog(str(tmp_path / "some.db"), fail)
    log.committed()
    assert TRIES not in asked
    with (tmp_path / "some.db-wal").open("wb") as file:
        file.truncate(LONG_BYTES + 1)
    log.committed()
    assert TRIES in asked


def test_a_log_that_another_process_folds_just_now_is_not_folded(tmp_path: Path) -> None:
    """SQLite then tells of -1 pages, none of which is folded; the next commit tries again, and none sorts the log."""
    asked: list[str] = []
    answers = [(1, -1, -1), (0, 5000, 5000)]

    def ask(statement: str) -> list[Any]:
        asked.append(statement)
        return [answers.pop(0)] if statement == TRIES else []

    log = WriteAheadLog(str(tmp_path / "some.db"), ask, monotonic=lambda: 0.0)
    with (tmp_path / "some.db-wal").open("wb") as file:
        file.truncate(LONG_BYTES + 1)
    asked.clear()

    log.committed()
    log.committed()

    assert asked == ["PRAGMA wal_autocheckpoint = 0", TRIES, TRIES, f"PRAGMA wal_autocheckpoint = {PAGES}"]
