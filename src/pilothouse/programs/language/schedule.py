"""The learning rate of every step, a pure function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

SCHEDULES: Final = ("cosine", "linear", "wsd", "constant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A rise over `warmup` of the steps, then a fall of the given kind to `final` times the peak."""

    kind: str
    peak: float
    total: int
    warmup: float
    decay: float
    final: float

    @property
    def warmup_steps(self) -> int:
        """How many steps the rate rises."""
        return round(self.warmup * self.total)

    def rate(self, step: int) -> float:
        """Return the rate of a step, counted from 0; the first is above 0 and the last is the final rate."""
        rising = self.warmup_steps
        if step < rising:
            return self.peak * (step + 1) / rising
        return self.peak * (self.final + (1 - self.final) * self._left(step, rising))

    def _left(self, step: int, rising: int) -> float:
        """Return how much of the fall is still to come, from 1 to 0."""
        last = self.total - 1
        match self.kind:
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * _share(step, rising, last)))
            case "linear":
                return 1 - _share(step, rising, last)
            case "wsd":
                falling = max(rising, self.total - max(1, round(self.decay * self.total)))
                return 1 - _share(step, falling, last)
            case _:
                return 1.0


def _share(step: int, first: int, last: int) -> float:
    """Return how far `step` has come between two steps, from 0 to 1."""
    return min(1.0, max(0.0, (step - first) / max(1, last - first)))
