"""A postman's engine without a thread: every act is a transaction of its own, and may be the last one before a kill."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TypeVar

from pilothouse.engine.postman import Books
from pilothouse.ports.store import Store, Transaction
from pilothouse.testing.clock import FrozenClock

T = TypeVar("T")


class Killed(BaseException):
    """The process is gone: nothing of it catches this."""


class StoreBooks(Books):
    """Books over a store and a clock that stands still. `dies` says of each commit whether it is the last one."""

    def __init__(self, store: Store, clock: FrozenClock, *, dies: Callable[[], bool] = lambda: False) -> None:
        self.store = store
        self._clock = clock
        self._dies = dies

    def apply(self, act: Callable[[Transaction], T]) -> T:
        """Return what the act returned, once it is committed."""
        if self._dies():
            raise Killed
        with self.store.write() as tx:
            done = act(tx)
        if self._dies():
            raise Killed
        return done

    def read(self) -> AbstractContextManager[Transaction]:
        """Begin a reading transaction."""
        return self.store.read()

    @property
    def clock(self) -> FrozenClock:
        """The clock that stands still."""
        return self._clock

    def now(self) -> datetime:
        """Return the present."""
        return self._clock.now()

    def wait(self, seconds: float) -> bool:
        """Let the time pass that somebody waits."""
        self._clock.advance(seconds)
        return False
