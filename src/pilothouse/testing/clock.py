"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from pilothouse.ids import ENTROPY_BYTES

BEGIN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class FrozenClock:
    """A `ports.clock.Clock` under a test's control; its random bytes count up, so ids differ and repeat by run."""

    def __init__(self, now: datetime = BEGIN) -> None:
        assert now.tzinfo is not None, f"a naive time is no time of record: {now!r}"
        self._lock = threading.Lock()
        self._now = now
        self._monotonic = 0.0
        self._minted = 0

    def now(self) -> datetime:
        """Return the present in UTC, aware."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds by which the clock was advanced."""
        return self._monotonic

    def entropy(self) -> bytes:
        """Return bytes that no earlier call has returned."""
        with self._lock:
            self._minted += 1
            return self._minted.to_bytes(ENTROPY_BYTES, "big")

    def advance(self, seconds: float) -> None:
        """Let time pass: both the wall and the monotonic clock."""
        assert seconds >= 0, f"time does not go back, got {seconds} s; use `set_wall` for a clock that was changed"
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._monotonic += seconds

    def set_wall(self, now: datetime) -> None:
        """Change the wall clock, as an operator or a time server may; the monotonic clock does not notice."""
        assert now.tzinfo is not None, f"a naive time is no time of record: {now!r}"
        with self._lock:
            self._now = now
