"""One connection to PostgreSQL: its settings, and queries whose errors are ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeAlias

import psycopg
from psycopg import pq
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq.abc import PGresult
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from pilothouse.errors import PilothouseError, StorageFailed
from pilothouse.store.connection import Batch, Parameters, Value, refuse_unstorable, spoiled
from pilothouse.store.named_sql import dialect_queries
from pilothouse.store.postgres.address import Address
from pilothouse.store.postgres.arrays import TextArray, TextArrayDumper, column
from pilothouse.store.postgres.faults import IDLE_SECONDS, LOCK_SECONDS, STATEMENT_SECONDS, commit_unknown, translate
from pilothouse.store.postgres.volley import Step, Volley

STATEMENTS_CACHED = 256
OLDEST_SERVER = 140000

_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_NAMED = re.compile(r"(?<![:\w]):([a-z_]+)")

_SETTINGS = """
SELECT
    set_config('lock_timeout', %(lock)s, false),
    set_config('statement_timeout', %(statement)s, false),
    set_config('idle_in_transaction_session_timeout', %(idle)s, false),
    set_config('TimeZone', 'UTC', false),
    set_config(
        -- An answer given is on the disk; a server that promises more than that keeps its promise.
        'synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END,
        false
    ),
    current_setting('server_version_num')::integer AS version,
    current_setting('server_encoding') AS encoding
"""

_DRIVER_ERRORS = (psycopg.Error, UnicodeEncodeError)


class _Row(tuple[Any, ...]):
    """A row that is read by the names of its columns, or in their order."""

    __slots__ = ()
    places: Mapping[str, int] = {}

    def __getitem__(self, column: Any, /) -> Any:
        return tuple.__getitem__(self, self.places[column] if type(column) is str else column)


_Raw: TypeAlias = psycopg.Connection[_Row]


class _NumberLoader(Loader):
    """Sums of whole numbers, which PostgreSQL makes into decimals, come back as what they are in SQLite."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data)
        return int(text) if text.isdigit() or text[1:].isdigit() else float(text)


class ColumnBatch(NamedTuple):
    """Rows as one array per column."""

    columns: list[str | TextArray]
    size: int


class PostgresConnection:
    """`store.connection.Connection` on PostgreSQL.

    A connection that broke stays broken until the next transaction, which opens a new one: what was begun is over, and
    its owner has to know. A connection that broke while nothing was going on is replaced without a word.
    """

    def __init__(self, address: Address, *, read_only: bool = False) -> None:
        self.where = address.shown
        self._address = address
        self._read_only = read_only
        self._spoiled = False
        self._sent: Sequence[Step] = ()
        self._open()

    def _open(self) -> None:
        self._raw = self._connect()
        self._cursor = self._raw.cursor()
        self._volley = Volley(self._raw)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open on a connection that works."""
        status = self._raw.pgconn.transaction_status
        return status not in {pq.TransactionStatus.IDLE, pq.TransactionStatus.UNKNOWN}

    @property
    def is_open(self) -> bool:
        """Whether nothing is known against the connection."""
        return not self._raw.closed

    def queries(self, aggregate: str) -> Mapping[str, str]:
        """Return the queries of an aggregate by name."""
        return _queries(aggregate)

    def run(self, statement: str, parameters: Parameters | None = None) -> int:
        """Execute a statement and return how many rows it changed."""
        if parameters:
            refuse_unstorable(parameters)
        self._execute(statement, parameters)
        return self._cursor.rowcount

    def batch(self, rows: Sequence[Sequence[Value]]) -> ColumnBatch:
        """Return rows as one array per column."""
        return ColumnBatch([column(values) for values in zip(*rows, strict=True)], len(rows))

    def run_many(self, statement: str, batch: Batch) -> int:
        """Execute a batch statement, which takes each column as an array, and return how many rows were changed."""
        if not batch.size:
            return 0
        self._many(statement, batch)
        return self._cursor.rowcount

    def rows_many(self, query: str, batch: Batch) -> list[_Row]:
        """Return all rows of a batch query, which takes each column as an array."""
        if not batch.size:
            return []
        self._many(query, batch)
        try:
            return self._cursor.fetchall()
        except _DRIVER_ERRORS as error:
            raise self._ours(error) from error

    def _many(self, statement: str, batch: Batch) -> None:
        assert isinstance(batch, ColumnBatch), f"a batch of another dialect: {batch!r}"
        self._execute(statement, batch.columns)

    def rows(self, query: str, parameters: Parameters | None = None) -> list[_Row]:
        """Return all rows of a query."""
        if parameters:
            refuse_unstorable(parameters)
        self._execute(query, parameters)
        try:
            return self._cursor.fetchall()
        except _DRIVER_ERRORS as error:
            raise self._ours(error) from error

    def row(self, query: str, parameters: Parameters | None = None) -> _Row | None:
        """Return the only row, or None."""
        found = self.rows(query, parameters)
        assert len(found) <= 1, f"one row expected, got {len(found)}: {query}"
        return found[0] if found else None

    def script(self, script: str) -> None:
        """Execute several statements at once; they belong into a transaction."""
        try:
            self._raw.execute(script.encode(), prepare=False)
        except _DRIVER_ERRORS as error:
            raise self._ours(error) from error

    def _execute(
        self, statement: str, parameters: Parameters | list[str | TextArray] | None, *, prepare: bool = True
    ) -> None:
        if self._spoiled:
            raise spoiled(self.where)
        try:
            self._cursor.execute(driver_text(statement), parameters, prepare=prepare)
        except _DRIVER_ERRORS as error:
            raise self._ours(error) from error

    def _ours(self, error: psycopg.Error | UnicodeEncodeError) -> PilothouseError:
        self._spoiled = self.in_transaction
        return translate(error, where=self.where)

    @contextmanager
    def transaction(self, *, read_only: bool = False) -> Iterator[None]:
        """Begin, then commit when the block ends and roll back when it or the commit fails."""
        self._begin(_READ if read_only else _WRITE)
        try:
            yield
            self._commit()
        except BaseException:
            self._roll_back()
            raise

    def _begin(self, statement: str) -> None:
        """Begin on a connection that works; nothing was asked of it yet, so a broken one may be replaced."""
        self._spoiled = False
        if not self._raw.closed:
            with suppress(StorageFailed):
                self._execute(statement, None, prepare=False)
                return
        self._raw.close()
        self._open()
        self._execute(statement, None, prepare=False)

    def _commit(self) -> None:
        try:
            self._execute("COMMIT", None, prepare=False)
        except StorageFailed as error:
            raise (commit_unknown(self.where, error) if self._raw.closed else error) from error
        # PostgreSQL answers the commit of a failed transaction with a quiet ROLLBACK; such a one never gets here.
        assert self._cursor.statusmessage == "COMMIT", f"a commit was answered with {self._cursor.statusmessage}"

    def _roll_back(self) -> None:
        """Take back what was begun; on a connection that broke, the server does so by itself."""
        self._spoiled = False
        if self._raw.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            # The block was left in the middle of a statement, by Ctrl-C for one.
            self._raw.close()
        if self.in_transaction:
            with suppress(StorageFailed):
                self._execute("ROLLBACK", None, prepare=False)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo the inner writes when the block raises, and keep the outer ones."""
        self._execute("SAVEPOINT command", None, prepare=False)
        try:
            yield
            self._execute("RELEASE command", None, prepare=False)
        except BaseException:
            if self.in_transaction:
                self._spoiled = False
                self._execute("ROLLBACK TO command", None, prepare=False)
                self._execute("RELEASE command", None, prepare=False)
            raise

    # --- a whole transaction at once

    def send(self, steps: Sequence[Step]) -> None:
        """Send a transaction of these steps, its beginning and its commit, and wait for nothing.

        `receive` comes next; nothing else may be asked of the connection before.
        """
        self._spoiled = False
        self._sent = [Step(_WRITE.encode()), *steps, Step(b"COMMIT")]
        if not self._volley.is_alive():
            self._raw.close()
            self._open()
        self._send()

    def _send(self) -> None:
        try:
            self._volley.send(self._sent)
        except psycopg.Error as error:
            self._raw.close()
            raise commit_unknown(self.where, translate(error, where=self.where)) from error
        except BaseException:
            self._raw.close()
            raise

    def receive(self) -> Sequence[PGresult]:
        """Wait for the commit and return the answer to each step; after an error nothing of them was kept."""
        try:
            answers = self._answers()
        except psycopg.Error as error:
            ours = translate(error, where=self.where)
            if self._raw.closed:
                raise commit_unknown(self.where, ours) from error
            self._roll_back()
            raise ours from error
        except BaseException:
            self._raw.close()
            raise
        assert answers[-1].command_status == b"COMMIT", f"a commit was answered with {answers[-1].command_status!r}"
        return answers[1:-1]

    def _answers(self) -> Sequence[PGresult]:
        try:
            return self._volley.answers()
        except psycopg.Error:
            if not self._volley.unheard:
                raise
        self._raw.close()
        self._open()
        self._send()
        return self._volley.answers()

    def close(self) -> None:
        """Close the connection; what was not committed is gone."""
        self._raw.close()

    def _connect(self) -> _Raw:
        try:
            raw = psycopg.Connection.connect(self._address.conninfo, autocommit=True, row_factory=_row_factory)
        except psycopg.Error as error:
            raise translate(error, where=self.where) from error
        try:
            self._prepare(raw)
        except psycopg.Error as error:
            raw.close()
            raise translate(error, where=self.where) from error
        except BaseException:
            raw.close()
            raise
        return raw

    def _prepare(self, raw: _Raw) -> None:
        raw.prepared_max = STATEMENTS_CACHED
        raw.adapters.register_dumper(int, Int8Dumper)
        raw.adapters.register_dumper(str, StrDumper)
        raw.adapters.register_dumper(TextArray, TextArrayDumper)
        raw.adapters.register_loader("numeric", _NumberLoader)
        idle = STATEMENT_SECONDS if self._read_only else IDLE_SECONDS
        seconds = {"lock": LOCK_SECONDS, "statement": STATEMENT_SECONDS, "idle": idle}
        found = raw.execute(_SETTINGS, {name: f"{value:g}s" for name, value in seconds.items()}).fetchone()
        assert found is not None, "a SELECT without FROM has one row"
        if found["version"] < OLDEST_SERVER:
            raise StorageFailed(
                f"{self.where}: the server is PostgreSQL {found['version'] // 10000}, which is too old",
                fix=f"use PostgreSQL {OLDEST_SERVER // 10000} or newer",
            )
        if found["encoding"] != "UTF8":
            raise StorageFailed(
                f"{self.where}: the database keeps text as {found['encoding']}",
                fix="create the database with ENCODING 'UTF8' TEMPLATE template0",
            )


def _row_factory(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], _Row]:
    """Return what makes rows of a result; each result has a kind of row with its own columns."""
    columns = cursor.description
    if columns is None:
        return _Row
    return _row_kind(tuple(column.name for column in columns))


@cache
def _row_kind(columns: tuple[str, ...]) -> type[_Row]:
    places = {name: place for place, name in enumerate(columns)}
    return type("_Row", (_Row,), {"__slots__": (), "places": places})


@cache
def _queries(aggregate: str) -> Mapping[str, str]:
    return dialect_queries("postgres", aggregate)


@lru_cache(maxsize=2 * STATEMENTS_CACHED)
def driver_text(statement: str) -> bytes:
    """Return a statement as the driver takes it: its parameters `:name` become `%(name)s`."""
    return _NAMED.sub(r"%(\1)s", statement).encode()
