"""Draws that depend on their seed and nothing else: the same on every machine, release and day."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

FRACTION_BITS = 53
"""The bits of a float's fraction."""


class Draws:
    """A stream of draws, named by a seed and by what it is for, so that two purposes never share their luck."""

    def __init__(self, seed: int, purpose: str) -> None:
        self._name = f"{purpose}/{seed}"
        self._count = 0

    def fraction(self) -> float:
        """Return a number from 0 up to 1, without 1."""
        self._count += 1
        drawn = hashlib.sha256(f"{self._name}/{self._count}".encode()).digest()
        return (int.from_bytes(drawn[:8], "big") >> (64 - FRACTION_BITS)) / (1 << FRACTION_BITS)

    def below(self, count: int) -> int:
        """Return a whole number from 0 up to the count, without the count."""
        return int(self.fraction() * count)

    def between(self, low: float, high: float) -> float:
        """Return a number from low to high."""
        return low + (high - low) * self.fraction()

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        """Return so many of the items, each at most once, in the order in which they were drawn."""
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(min(count, len(left)))]
