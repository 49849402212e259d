"""A counter that grows with every change, and a way to wait for it."""

from __future__ import annotations

import threading


class Changes:
    """Counts changes for any number of waiters; none is missed, since a waiter says what it has seen."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """How many changes there have been."""
        return self._count

    def bump(self) -> None:
        """Count one change and wake whoever waits."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, seen: int, *, timeout_seconds: float) -> int:
        """Return the count as soon as it differs from the one seen, or as it is when the time is over."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen, timeout=timeout_seconds)
            return self._count
