"""One connection to SQLite: its settings, and queries whose errors are ours."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from pilothouse.errors import PilothouseError, StorageFailed
from pilothouse.store.connection import Batch, Parameters, Value, not_finite, refuse_unstorable, spoiled, zero_byte
from pilothouse.store.named_sql import dialect_queries
from pilothouse.store.sqlite.faults import LOCK_SECONDS, translate
from pilothouse.store.sqlite.write_ahead import WriteAheadLog

MEMORY = ":memory:"
OLDEST_SQLITE = (3, 38, 0)
"""`unixepoch` came with it; STRICT tables are older."""
STATEMENTS_CACHED = 512
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""How many rows a batch statement has; SQLite takes 32,766 parameters."""
ROWS_AT_ONCE = SIZES[-1]
PAUSE_SECONDS = 0.02

_ZERO = (0,)
_DRIVER_ERRORS = (sqlite3.Error, UnicodeEncodeError, OverflowError)

_SETTINGS = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA recursive_triggers = ON",  # so that no REPLACE slips past a trigger that refuses deletion
    "PRAGMA synchronous = FULL",  # an answer given is on the disk, power cut or not
    "PRAGMA fullfsync = ON",  # macOS: its fsync alone leaves the data in the drive's cache
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA trusted_schema = OFF",
)


class RowBatch(NamedTuple):
    """Rows one after the other, to be written into the statement as parameters."""

    values: Sequence[Value]
    columns: int
    size: int


class SqliteConnection:
    """`store.connection.Connection` on SQLite, where each transaction is begun and ended in plain sight."""

    def __init__(self, location: Path | str, *, read_only: bool = False) -> None:
        self.where = str(location)
        self._spoiled = False
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StorageFailed(
                f"this Python carries SQLite {sqlite3.sqlite_version}, which is too old",
                fix=f"use a Python built with SQLite {OLDEST_SQLITE[0]}.{OLDEST_SQLITE[1]} or newer",
            )
        try:
            self._raw = sqlite3.connect(
                self.where,
                timeout=LOCK_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=STATEMENTS_CACHED,
            )
        except sqlite3.Error as error:
            raise translate(error, where=self.where) from error
        self._raw.row_factory = sqlite3.Row
        self._log: WriteAheadLog | None = None
        try:
            for setting in _SETTINGS:
                self.run(setting)
            if self.where != MEMORY:
                self._write_ahead()
            if read_only:
                self.run("PRAGMA query_only = ON")
            elif self.where != MEMORY:
                self._log = WriteAheadLog(self.where, self.rows)
        except BaseException:
            self.close()
            raise

    def _write_ahead(self) -> None:
        """Turn on the write-ahead log; SQLite does not wait by itself when two processes do so at once."""
        patience = threading.Event()
        for _ in range(int(LOCK_SECONDS / PAUSE_SECONDS)):
            try:
                mode = str(self.rows("PRAGMA journal_mode = WAL")[0][0])
            except StorageFailed as error:
                if "SQLITE_BUSY" not in error.message:
                    raise
                patience.wait(PAUSE_SECONDS)
                continue
            if mode != "wal":
                raise StorageFailed(
                    f"{self.where}: the file system cannot carry a write-ahead log (mode {mode!r})",
                    fix="put the home on a local disk; network file systems cannot hold the database",
                )
            return
        raise StorageFailed(
            f"{self.where}: another process kept the database locked while it was opened",
            fix="find the process that holds it, or try again",
        )

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; SQLite ends one by itself when the disk fails it."""
        return self._raw.in_transaction

    def queries(self, aggregate: str) -> Mapping[str, str]:
        """Return the queries of an aggregate by name."""
        return _queries(aggregate)

    def run(self, statement: str, parameters: Parameters | None = None) -> int:
        """Execute a statement and return how many rows it changed."""
        return self._execute(statement, parameters).rowcount

    def batch(self, rows: Sequence[Sequence[Value]]) -> RowBatch:
        """Return rows for statements that have them written into `VALUES ?`.

        One statement for all of them lets go of the interpreter's lock once; a statement per row would wait for it
        after each of them, behind every other busy thread.
        """
        values = list(chain.from_iterable(rows))
        kinds = set(map(type, values))
        if str in kinds and "\0" in "".join([value for value in values if type(value) is str]):
            _refuse_zero_bytes(rows)
        if float in kinds:
            for value in values:
                if type(value) is float and not math.isfinite(value):
                    raise not_finite(str(value))
        return RowBatch(values, len(rows[0]) if rows else 0, len(rows))

    def run_many(self, statement: str, batch: Batch) -> int:
        """Execute a batch statement and return how many rows were changed."""
        return sum(self._many(statement, *part).rowcount for part in _parts(batch))

    def rows_many(self, query: str, batch: Batch) -> list[sqlite3.Row]:
        """Return all rows of a batch query."""
        try:
            return [row for part in _parts(batch) for row in self._many(query, *part).fetchall()]
        except _DRIVER_ERRORS as error:
            raise self._ours(error) from error

    def _many(self, statement: str, values: Sequence[Value], rows: int, columns: int) -> sqlite3.Cursor:
        if self._spoiled:
            raise spoiled(self.where)
        try:
            return self._raw.execute(_filled(statement, rows, columns), values)
        except _DRIVER_ERRORS as error:
            raise self._ours(error) from error

    def rows(self, query: str, parameters: Parameters | None = None) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        cursor = self._execute(query, parameters)
        try:
            return cursor.fetchall()
        except _DRIVER_ERRORS as error:
            raise self._ours(error) from error

    def row(self, query: str, parameters: Parameters | None = None) -> sqlite3.Row | None:
        """Return the only row, or None."""
        found = self.rows(query, parameters)
        assert len(found) <= 1, f"one row expected, got {len(found)}: {query}"
        return found[0] if found else None

    def _execute(self, statement: str, parameters: Parameters | None) -> sqlite3.Cursor:
        if self._spoiled:
            raise spoiled(self.where)
        given = parameters or {}
        refuse_unstorable(given)
        try:
            return self._raw.execute(statement, given)
        except _DRIVER_ERRORS as error:
            raise self._ours(error) from error

    def _ours(self, error: sqlite3.Error | UnicodeEncodeError | OverflowError) -> PilothouseError:
        self._spoiled = self.in_transaction
        return translate(error, where=self.where)

    @contextmanager
    def transaction(self, *, read_only: bool = False) -> Iterator[None]:
        """Begin, then commit when the block ends and roll back when it or the commit fails."""
        self.run("BEGIN" if read_only else "BEGIN IMMEDIATE")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            self._spoiled = False
            if self.in_transaction:
                self.run("ROLLBACK")
            raise
        if self._log is not None:
            self._log.committed()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo the inner writes when the block raises, and keep the outer ones."""
        self.run("SAVEPOINT command")
        try:
            yield
            self.run("RELEASE command")
        except BaseException:
            # A disk that fails ends the whole transaction, and then there is no savepoint to go back to.
            if self.in_transaction:
                self._spoiled = False
                self.run("ROLLBACK TO command")
                self.run("RELEASE command")
            raise

    def close(self) -> None:
        """Close the connection; what was not committed is gone."""
        self._raw.close()


@cache
def _queries(aggregate: str) -> Mapping[str, str]:
    return dialect_queries("sqlite", aggregate)


def _parts(batch: Batch) -> Iterator[tuple[Sequence[Value], int, int]]:
    """Yield the parameters of each statement with the rows and columns it has, filled up with rows of zeros.

    So there are few statements, which all stay prepared. A row that begins with zero is none: no job has that number.
    """
    assert isinstance(batch, RowBatch), f"a batch of another dialect: {batch!r}"
    for first in range(0, batch.size, ROWS_AT_ONCE):
        rows = min(ROWS_AT_ONCE, batch.size - first)
        size = next(each for each in SIZES if each >= rows)
        values = batch.values[first * batch.columns : (first + rows) * batch.columns]
        yield [*values, *_ZERO * ((size - rows) * batch.columns)], size, batch.columns


@lru_cache(maxsize=STATEMENTS_CACHED)
def _filled(statement: str, rows: int, columns: int) -> str:
    """Return the statement with so many rows of parameters in place of `VALUES ?`."""
    row = f"({','.join('?' * columns)})"
    return statement.replace("VALUES ?", f"VALUES {','.join([row] * rows)}")


def _refuse_zero_bytes(rows: Sequence[Sequence[Value]]) -> None:
    for row in rows:
        for value in row:
            if isinstance(value, str) and "\0" in value:
                raise zero_byte(value)
