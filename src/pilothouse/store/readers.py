"""The connections of those who read, each used by one at a time and kept for the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from pilothouse.errors import StorageFailed
from pilothouse.store.connection import Connection
from pilothouse.store.turns import TURN_SECONDS, Turns

READERS_MAX = 16
"""A database has no endless number of connections, and two cores serve no more readers at once."""

Opened = TypeVar("Opened", bound=Connection)


class Readers(Generic[Opened]):
    """A pool that grows with those who read at the same time, up to a limit; beyond it they wait for each other."""

    def __init__(self, connect: Callable[[], Opened], turns: Turns) -> None:
        self._connect = connect
        self._turns = turns
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(READERS_MAX)
        self.idle: list[Opened] = []

    @contextmanager
    def take(self) -> Iterator[Opened]:
        """Give a connection with a reading transaction open on it: one consistent snapshot."""
        if not self._room.acquire(timeout=TURN_SECONDS):
            raise StorageFailed(
                f"{READERS_MAX} readers have been busy for {TURN_SECONDS:g} s", fix="keep reading transactions short"
            )
        try:
            reader = self._take()
            try:
                with reader.transaction(read_only=True):
                    yield reader
            finally:
                self._give_back(reader)
        finally:
            self._room.release()

    def close(self) -> None:
        """Close those that are idle; one in use is closed when it is given back."""
        with self._lock:
            idle, self.idle = self.idle, []
        for reader in idle:
            reader.close()

    def _take(self) -> Opened:
        with self._lock:
            if self._turns.closed:
                raise self._turns.is_closed()
            if self.idle:
                return self.idle.pop()
        return self._connect()

    def _give_back(self, reader: Opened) -> None:
        with self._lock:
            if not self._turns.closed and not reader.in_transaction:
                self.idle.append(reader)
                return
        reader.close()
