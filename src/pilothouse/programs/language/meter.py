"""How fast steps are, by the step: percentiles over the latest ones, with pauses left out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

_TERA: Final = 1e12
_PERCENTILES: Final = (10, 50, 90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a step costs, and what all devices together can do."""

    tokens: int
    true_flops: float
    nominal_flops: float
    peak_tflops: float | None
    """None where it is not known; no share of it is told then."""

    def shares(self, **reached: float) -> dict[str, float]:
        """Return shares of the peak by name for FLOPs a second; nothing where the peak is not known."""
        peak = self.peak_tflops
        return {} if peak is None else {name: speed / (peak * _TERA) for name, speed in reached.items()}


class Meter:
    """Seconds of the trailing steps; a step is timed from the end of the one before it to its own.

    One step says little: it may have met a pause of the machine. What is judged is the median of many.
    """

    def __init__(self, cost: Cost, *, trailing: int) -> None:
        self.cost = cost
        self.steps = 0
        """Steps done since the start, timed or not."""
        self._seconds: deque[float] = deque(maxlen=trailing)
        self._fresh: list[float] = []
        self._last: float | None = None

    def step_done(self, now: float) -> None:
        """Hear that a step has ended at `now`, in seconds of a steady clock."""
        if self._last is not None:
            self._seconds.append(now - self._last)
            self._fresh.append(now - self._last)
        self.steps += 1
        self._last = now

    def resumed(self, now: float) -> None:
        """Hear that something else than steps took time until `now`: the next step is timed from here."""
        self._last = now

    def take(self) -> dict[str, float]:
        """Return speed and MFU of the steps since the last call; nothing where none was timed."""
        if not self._fresh:
            return {}
        seconds = float(np.median(self._fresh))
        self._fresh.clear()
        return {
            "tokens_per_s": self.cost.tokens / seconds,
            **self.cost.shares(mfu=self.cost.true_flops / seconds),
        }

    def summary(self) -> dict[str, float]:
        """Return speed and percentiles of MFU of the trailing steps; nothing where none was timed."""
        if not self._seconds:
            return {}
        # The tenth percentile of MFU belongs to the ninetieth of seconds.
        slow_to_fast = np.percentile(self._seconds, [100 - part for part in _PERCENTILES])
        median = float(slow_to_fast[1])
        reached = {
            f"mfu_p{part}": self.cost.true_flops / float(seconds)
            for part, seconds in zip(_PERCENTILES, slow_to_fast, strict=True)
        }
        shares = self.cost.shares(**reached, nominal_mfu_p50=self.cost.nominal_flops / median)
        return {"tokens_per_s": self.cost.tokens / median, **shares}
