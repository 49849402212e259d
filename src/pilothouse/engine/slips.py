"""How far the wall clock was moved by a hand, a time server or a machine that slept.

Nothing has run for longer, or shorter, by that: times of the wall clock that are kept in memory have to move with it.
"""

from __future__ import annotations

from pilothouse.ports.clock import Clock

SLIP_US = 5_000_000
"""Less than this is the ordinary drift of a clock that is kept right."""


class Slips:
    """The distance of the wall clock from the monotonic one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apart_us: int | None = None

    def since(self, now_us: int) -> int:
        """Return by how many microseconds the wall clock was moved since the last time that this said so."""
        apart_us = now_us - round(self._clock.monotonic() * 1e6)
        if self._apart_us is None:
            self._apart_us = apart_us
        moved_us = apart_us - self._apart_us
        if abs(moved_us) < SLIP_US:
            return 0
        self._apart_us = apart_us
        return moved_us
