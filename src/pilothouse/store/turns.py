"""One at a time, but nobody waits for ever, and nobody gets a turn once the house is closed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pilothouse.errors import StorageFailed

TURN_SECONDS = 30.0
"""How long one thread waits for another's transaction before it says so."""


class Turns:
    """The turns of the threads that share one connection."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lock = threading.Lock()
        self._taker: int | None = None
        self.closed = False

    @contextmanager
    def take(self, *, even_closed: bool = False) -> Iterator[None]:
        """Wait for the turn and hold it during the block; within a turn of the same thread it would wait for itself."""
        me = threading.get_ident()
        assert self._taker != me, "this thread has a transaction open already"
        if not self._lock.acquire(timeout=TURN_SECONDS):
            raise StorageFailed(
                f"{self._where}: another thread has held the writer for {TURN_SECONDS:g} s",
                fix="keep transactions short: no file, process or network work belongs inside one",
            )
        self._taker = me
        try:
            if self.closed and not even_closed:
                raise self.is_closed()
            yield
        finally:
            self._taker = None
            self._lock.release()

    def is_closed(self) -> StorageFailed:
        """Return what a closed store answers."""
        return StorageFailed(f"{self._where}: the store is closed", fix="open it again")
