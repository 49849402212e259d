"""`ports.store.Store` over any database: one writer connection, a pool of readers, and the lead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Generic

from pilothouse.fleet.claim import Ending, Grant
from pilothouse.fleet.job import Shape
from pilothouse.ids import ShapeNumber
from pilothouse.ports.leadership import Leader, LeaderEpoch
from pilothouse.ports.store import Flight
from pilothouse.store.flights import fly
from pilothouse.store.leadership import StoredLeadership
from pilothouse.store.readers import Opened, Readers
from pilothouse.store.transaction import StoredTransaction
from pilothouse.store.turns import Turns


class Database(Generic[Opened]):
    """A database with its schema in place.

    Writing transactions take turns; readers each have a connection of their own and see the last commit, unless
    `alone` says that there is only one connection, which they share with the writer. A transaction must not be opened
    inside another one of the same thread.
    """

    def __init__(self, where: str, *, writer: Opened, reader: Callable[[], Opened], alone: bool = False) -> None:
        self._writer = writer
        self._alone = alone
        self._turns = Turns(where)
        self._readers = Readers(reader, self._turns)
        self._leadership = StoredLeadership(writer, self._turns)
        self._shapes: dict[Shape, ShapeNumber] = {}

    @contextmanager
    def write(self) -> Iterator[StoredTransaction]:
        """Begin a writing transaction; commit at the end of the block, roll back when it raises."""
        with self._turns.take():
            tx = StoredTransaction(self._writer, shapes=self._shapes)
            with self._writer.transaction():
                self._leadership.check()
                yield tx
            self._shapes.update(tx.jobs.new_shapes)

    def send(self, grants: Sequence[Grant], endings: Sequence[Ending], *, now: datetime) -> Flight:
        """Move jobs in a transaction of their own, those that are where they are expected."""
        return fly(self.write(), grants, endings, now=now)

    @contextmanager
    def read(self) -> Iterator[StoredTransaction]:
        """Begin a reading transaction: one consistent snapshot."""
        if self._alone:
            with self._turns.take(), self._writer.transaction(read_only=True):
                yield StoredTransaction(self._writer, shapes=self._shapes)
            return
        with self._readers.take() as reader:
            yield StoredTransaction(reader, shapes=self._shapes)

    def lead(self, holder: str, *, seconds: float) -> LeaderEpoch | None:
        """Take the lead for some seconds under a new epoch; None while another holder has it."""
        return self._leadership.lead(holder, seconds=seconds)

    def renew_lead(self, *, seconds: float) -> bool:
        """Keep the lead for some seconds from now; False when it is lost."""
        return self._leadership.renew_lead(seconds=seconds)

    def resign(self) -> None:
        """Give the lead up, if it is still ours."""
        self._leadership.resign()

    def leader(self) -> Leader | None:
        """Return who leads, also when the time is over and nobody has taken the lead yet."""
        return self._leadership.leader()

    def close(self) -> None:
        """Close every connection; a reader that is in use closes when it is given back. Closing twice is harmless."""
        with self._turns.take(even_closed=True):
            self._turns.closed = True
            self._readers.close()
            self._writer.close()
