"""What the adapters ask of a connection, whichever database it leads to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

from pilothouse.errors import BadValue, StorageFailed
from pilothouse.store.rows import Row

Value: TypeAlias = str | int | float | None
Parameters: TypeAlias = Mapping[str, Value]


class Batch(Protocol):
    """Rows in the form that the batch statements of one dialect take, made once for several statements."""

    @property
    def size(self) -> int:
        """How many rows there are."""
        ...


class Connection(Protocol):
    """An open connection; its errors are ours. It may pass between threads, one at a time.

    A statement that fails inside a transaction spoils it: until the savepoint around it, or the transaction itself, is
    taken back, every other statement is refused. PostgreSQL works so, and SQLite is held to the same.
    """

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; the database ends one by itself when its disk or the connection fails."""
        ...

    def queries(self, aggregate: str) -> Mapping[str, str]:
        """Return the queries of an aggregate by name, in the dialect of the database."""
        ...

    def run(self, statement: str, parameters: Parameters | None = None) -> int:
        """Execute a statement and return how many rows it changed; it names its parameters as `:name`."""
        ...

    def batch(self, rows: Sequence[Sequence[Value]]) -> Batch:
        """Return rows, none of them missing a column, in the form that batch statements take."""
        ...

    def run_many(self, statement: str, batch: Batch) -> int:
        """Execute a batch statement for all rows and return how many rows were changed in total.

        Such a statement is the dialect's own: it takes the columns of a row by position. Two rows of one batch must
        not change the same row of a table, for then the dialects differ.
        """
        ...

    def rows_many(self, query: str, batch: Batch) -> Sequence[Row]:
        """Return all rows of a batch query, in any order."""
        ...

    def rows(self, query: str, parameters: Parameters | None = None) -> Sequence[Row]:
        """Return all rows of a query."""
        ...

    def row(self, query: str, parameters: Parameters | None = None) -> Row | None:
        """Return the only row, or None."""
        ...

    def transaction(self, *, read_only: bool = False) -> AbstractContextManager[None]:
        """Begin, then commit when the block ends and roll back when it or the commit fails."""
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo the inner writes when the block raises, and keep the outer ones."""
        ...

    def close(self) -> None:
        """Close the connection; what was not committed is gone."""
        ...


def spoiled(where: str) -> StorageFailed:
    """Return the refusal of a statement that follows a failed one in the same transaction."""
    return StorageFailed(
        f"{where}: a statement of this transaction has failed, so nothing more can be done in it",
        fix="put what may fail inside a savepoint, or leave the transaction; nothing of it was kept",
    )


def refuse_unstorable(parameters: Parameters) -> None:
    """Refuse what one of the databases would change or could not hold: text with a zero byte, and no real number."""
    for name, value in parameters.items():
        if type(value) is str:
            if "\0" in value:
                raise zero_byte(value)
        elif type(value) is float and not math.isfinite(value):
            raise not_finite(f"{name} = {value}")


def not_finite(what: str) -> BadValue:
    """Return the refusal of a number that the databases write in different ways, or not at all."""
    return BadValue(f"a number that is not finite cannot be stored: {what}", fix="give a finite number, or none")


def zero_byte(text: str) -> BadValue:
    """Return the refusal of text that PostgreSQL cannot hold, and that SQLite therefore does not either."""
    return BadValue(
        f"text with a zero byte cannot be stored: {text[:60]!r}", fix="leave the zero byte out, or write it as \\u0000"
    )


def broken_text(error: UnicodeEncodeError) -> BadValue:
    """Return the refusal of text with half a character in it."""
    return BadValue(
        f"text that is no Unicode cannot be stored: {error.object[max(0, error.start - 20) : error.end]!r}",
        fix="replace its lone surrogates",
    )


def too_large() -> BadValue:
    """Return the refusal of a whole number that no column holds."""
    return BadValue("a whole number does not fit into 64 bits", fix="give a smaller one")
