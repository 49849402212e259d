"""The same trace many times with its submissions moved a little: how much of a figure is the accident of one replay.

A single replay is noisy: whether a wide job comes a minute before or after a long one decides days (Tsafrir, Ouaknine
and Feitelson 2007, "input shaking").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from pilothouse.evidence.mean_interval import mean_interval
from pilothouse.fleet.replay import Result
from pilothouse.fleet.trace import Trace

LEVEL = 0.95
NAMES = tuple(each.name for each in fields(Result))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The mean of a figure over replays, and the interval for it at `LEVEL`."""

    mean: float
    low: float
    high: float


def shaken(trace: Trace, *, count: int, seconds: float, seed: int) -> Iterator[Trace]:
    """Yield the trace so many times, each shaken by its own seed."""
    for number in range(count):
        yield trace.shaken(seconds, seed=seed + number)


def spread(values: Sequence[float]) -> Spread:
    """Return the mean and its interval by Student's t, of at least two values."""
    interval = mean_interval(values, alpha=1 - LEVEL)
    return Spread(mean=math.fsum(values) / len(values), low=interval.low, high=interval.high)


def spreads(results: Sequence[Result]) -> Mapping[str, Spread]:
    """Return the spread of every figure."""
    return {name: spread([getattr(result, name) for result in results]) for name in NAMES}


def ratios(results: Sequence[Result], rivals: Sequence[Result], figure: str) -> Spread:
    """Return the spread of a figure over a rival's, paired by replay."""
    pairs = zip(results, rivals, strict=True)
    return spread([getattr(ours, figure) / max(getattr(rival, figure), 1e-9) for ours, rival in pairs])
