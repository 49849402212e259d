"""`ports.store.Store` on SQLite: the one writer connection and the pool of readers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pilothouse.errors import StorageFailed
from pilothouse.fleet.job import Job
from pilothouse.store.sqlite.campaigns import SqliteCampaigns
from pilothouse.store.sqlite.connection import MEMORY, Connection
from pilothouse.store.sqlite.entries import SqliteEntries
from pilothouse.store.sqlite.faults import LOCK_SECONDS
from pilothouse.store.sqlite.jobs import SqliteJobs
from pilothouse.store.sqlite.migrate import migrate, migrations
from pilothouse.store.sqlite.proposals import SqliteProposals


class SqliteTransaction:
    """The aggregates over one connection while a transaction is open on it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.jobs = SqliteJobs(connection)
        self.campaigns = SqliteCampaigns(connection)
        self.proposals = SqliteProposals(connection)
        self.entries = SqliteEntries(connection)

    @property
    def touched(self) -> Sequence[Job]:
        """The jobs that this transaction has changed so far, each as the change left it, in order."""
        return tuple(self.jobs.touched)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo the inner writes when the block raises, and keep the outer ones."""
        known = len(self.jobs.touched)
        self._connection.run("SAVEPOINT command")
        try:
            yield
        except BaseException:
            # A disk that fails ends the whole transaction, and then there is no savepoint to go back to.
            if self._connection.in_transaction:
                self._connection.run("ROLLBACK TO command")
                self._connection.run("RELEASE command")
            del self.jobs.touched[known:]
            raise
        self._connection.run("RELEASE command")


class SqliteStore:
    """A database file, or `:memory:`, with its schema in place.

    Writing transactions take turns; readers each have a connection of their own and see the last commit. In memory
    there is only one connection, so readers take turns with the writer. A transaction must not be opened inside
    another one of the same thread.
    """

    def __init__(self, location: Path | str) -> None:
        self._location = location
        self._in_memory = str(location) == MEMORY
        if not self._in_memory:
            _make_folder(Path(location).parent)
        self._turn = threading.Lock()
        self._turn_taker: int | None = None
        self._closed = False
        self._readers_lock = threading.Lock()
        self._readers: list[Connection] = []
        self._writer = Connection(location)
        try:
            migrate(self._writer, steps=migrations())
        except BaseException:
            self._writer.close()
            raise

    @contextmanager
    def write(self) -> Iterator[SqliteTransaction]:
        """Begin a writing transaction; commit at the end of the block, roll back when it raises."""
        with self._my_turn(), self._writer.transaction("BEGIN IMMEDIATE"):
            yield SqliteTransaction(self._writer)

    @contextmanager
    def read(self) -> Iterator[SqliteTransaction]:
        """Begin a reading transaction: one consistent snapshot."""
        if self._in_memory:
            with self._my_turn(), self._writer.transaction("BEGIN"):
                yield SqliteTransaction(self._writer)
            return
        reader = self._take_reader()
        try:
            with reader.transaction("BEGIN"):
                yield SqliteTransaction(reader)
        finally:
            self._give_back(reader)

    def damage(self) -> Sequence[str]:
        """Return what SQLite's own check finds wrong, nothing for a sound database; it reads the whole file."""
        with self._my_turn():
            found = [str(row[0]) for row in self._writer.rows("PRAGMA quick_check")]
            orphans = [
                f"{row[0]}: row {row[1]} belongs to no {row[2]}"
                for row in self._writer.rows("PRAGMA foreign_key_check")
            ]
        return [*(line for line in found if line != "ok"), *orphans]

    def close(self) -> None:
        """Close every connection; a reader that is in use closes when it is given back. Closing twice is harmless."""
        with self._my_turn(reopen=True):
            with self._readers_lock:
                self._closed = True
                idle, self._readers = self._readers, []
            for reader in idle:
                reader.close()
            self._writer.close()

    @contextmanager
    def _my_turn(self, *, reopen: bool = False) -> Iterator[None]:
        """Wait for the writer connection, but not for ever."""
        me = threading.get_ident()
        assert self._turn_taker != me, "this thread has a transaction open already"
        if not self._turn.acquire(timeout=LOCK_SECONDS):
            raise StorageFailed(
                f"{self._location}: another thread has held the writer for {LOCK_SECONDS:g} s",
                fix="keep transactions short: no file, process or network work belongs inside one",
            )
        self._turn_taker = me
        try:
            if self._closed and not reopen:
                raise self._is_closed()
            yield
        finally:
            self._turn_taker = None
            self._turn.release()

    def _take_reader(self) -> Connection:
        with self._readers_lock:
            if self._closed:
                raise self._is_closed()
            if self._readers:
                return self._readers.pop()
        return Connection(self._location, read_only=True)

    def _give_back(self, reader: Connection) -> None:
        with self._readers_lock:
            if not self._closed and not reader.in_transaction:
                self._readers.append(reader)
                return
        reader.close()

    def _is_closed(self) -> StorageFailed:
        return StorageFailed(f"{self._location}: the store is closed", fix="open it again")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(
            f"the folder {folder} for the database cannot be made: {error.strerror}",
            fix="make its parent writable for this user, or choose another home",
        ) from error
