"""The clock as the shell passes it to the pure rooms."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for records; durations are measured with `monotonic` only."""

    def now(self) -> datetime:
        """Return the present in UTC, aware."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never go back."""
        ...

    def entropy(self) -> bytes:
        """Return the random bytes that minting one id takes."""
        ...
