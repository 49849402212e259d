"""A postman outlives what goes wrong around it, and ends when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from pilothouse.engine.postman import delivering
from pilothouse.errors import OperationFailed, StorageFailed
from pilothouse.logbook.letter import GITHUB, Posted
from pilothouse.logbook.pace import Pace
from pilothouse.ports.channel import Delivered, Gate, Outcome
from pilothouse.ports.store import Transaction
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.outbox_conformance import make_issue
from pilothouse.wiring.publishing import StoreBooks
from pilothouse.wiring.workspace import SystemClock

T = TypeVar("T")
PATIENCE_SECONDS = 30.0


class Arrives:
    """A channel that says when a letter has come."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self.is_closed = False

    @property
    def name(self) -> str:
        """Any."""
        return GITHUB

    @property
    def pace(self) -> Pace:
        """None."""
        return Pace()

    def deliver(self, posted: Posted, *, about: Posted | None, gate: Gate) -> Outcome:
        """Take the letter."""
        del about, gate
        self.came.set()
        return Delivered(remote=posted.letter.key)

    def close(self) -> None:
        """Keep that it was closed."""
        self.is_closed = True


class Failing(StoreBooks):
    """Books of which the first acts fail."""

    def __init__(self, store: SqliteStore, *failures: Exception) -> None:
        super().__init__(store, SystemClock())
        self.failures = list(failures)

    def apply(self, act: Callable[[Transaction], T]) -> T:
        """Return what the act returned, once the failures are over."""
        if self.failures:
            raise self.failures.pop(0)
        return super().apply(act)


@pytest.mark.parametrize(
    "failure",
    [
        StorageFailed("the disk is full", fix="make room"),
        OperationFailed("the writer did not answer", fix="wait"),
        KeyError("nobody foresaw this"),
    ],
)
def test_a_postman_that_could_not_begin_begins_again(failure: Exception) -> None:
    """A database that is busy when the process starts keeps no channel shut until the next start."""
    store = SqliteStore(":memory:")
    with store.write() as tx:
        tx.outbox.post(make_issue(), now=SystemClock().now())
    channel = Arrives()

    with delivering(Failing(store, failure), [channel]):
        assert channel.came.wait(PATIENCE_SECONDS)

    assert channel.is_closed
    store.close()
