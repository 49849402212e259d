"""What two evaluations of the same examples differ by, with the interval around it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided interval in the metric's unit; an unbounded one says that the data exclude nothing."""

    low: float
    high: float

    def __post_init__(self) -> None:
        assert self.low <= self.high, f"an interval runs upwards, got [{self.low}, {self.high}]"

    def excludes_zero(self) -> bool:
        """Whether zero lies outside; an end that is zero does not exclude it."""
        return self.low > 0 or self.high < 0


UNBOUNDED = Interval(low=-math.inf, high=math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Means of the two arms and the interval of their difference, candidate minus baseline.

    `p` is two-sided. `doubt` says why the interval is not the ordinary one, and is empty when it is.
    """

    baseline: float
    candidate: float
    difference: float
    standard_error: float
    degrees_of_freedom: float
    interval: Interval
    p: float
    alpha: float
    examples: int
    clusters: int
    method: str
    doubt: str = ""
