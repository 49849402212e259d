"""A store in memory that can lose its process between any two statements, and into which a test can put a bug."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pilothouse.store.connection import Batch, Parameters
from pilothouse.store.database import Database
from pilothouse.store.migrations import migrate, migrations
from pilothouse.store.sqlite.connection import MEMORY, SqliteConnection
from pilothouse.store.sqlite.migrate import SqliteSchema

Rewrite = Callable[[str], str]
"""Changes a statement; a test plants a bug with it and sees whether the bug is found."""


ROLLBACK = "ROLLBACK"
"""What a database does by itself when its process is gone; no crash can come before it."""


class Crash(BaseException):
    """The process of the server is gone here; nothing in it can catch this and go on."""


class FaultyConnection(SqliteConnection):
    """A connection in memory that ends its process after a number of statements, when it was told to."""

    def __init__(self, *, rewrite: Rewrite | None = None) -> None:
        self.steps_left: int | None = None
        self._rewrite = rewrite
        self._rewritten: dict[str, Mapping[str, str]] = {}
        super().__init__(MEMORY)

    def queries(self, aggregate: str) -> Mapping[str, str]:
        """Return the queries of an aggregate, with the bug that was planted."""
        found = super().queries(aggregate)
        if self._rewrite is None:
            return found
        if aggregate not in self._rewritten:
            self._rewritten[aggregate] = {name: self._rewrite(query) for name, query in found.items()}
        return self._rewritten[aggregate]

    @property
    def changes(self) -> int:
        """How many rows were ever changed."""
        return self._raw.total_changes

    def run(self, statement: str, parameters: Parameters | None = None) -> int:
        """Execute a statement, a commit included, unless the process ends before it."""
        if statement != ROLLBACK:
            self._step()
        return super().run(statement, parameters)

    def run_many(self, statement: str, batch: Batch) -> int:
        """Execute a batch statement, unless the process ends before it."""
        self._step()
        return super().run_many(statement, batch)

    @contextmanager
    def transaction(self, *, read_only: bool = False) -> Iterator[None]:
        """Begin and commit; the process may also end after the commit and before anybody hears of it."""
        with super().transaction(read_only=read_only):
            yield
        self._step()

    def _step(self) -> None:
        if self.steps_left is None:
            return
        self.steps_left -= 1
        if self.steps_left <= 0:
            self.steps_left = None
            raise Crash


class SimulatedStore(Database[FaultyConnection]):
    """A database in memory, which outlives the server that works on it."""

    def __init__(self, *, rewrite: Rewrite | None = None) -> None:
        self.connection = FaultyConnection(rewrite=rewrite)
        migrate(SqliteSchema(self.connection), steps=migrations("sqlite"))
        super().__init__("memory", writer=self.connection, reader=lambda: self.connection, alone=True)

    def moves(self) -> Mapping[int, tuple[int, int, int]]:
        """Return where every job stands by its number: its stage, its epoch and how many events it has."""
        rows = self.connection.rows("SELECT number, stage, epoch, sequence FROM jobs")
        return {row[0]: (row[1], row[2], row[3]) for row in rows}

    def damage(self) -> Sequence[str]:
        """Return what SQLite's own check finds wrong."""
        return [text for text in (str(row[0]) for row in self.connection.rows("PRAGMA quick_check")) if text != "ok"]
