"""How surely the mean of some runs is known: Student's interval, for runs that nothing has chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import stdtrit

from pilothouse.evidence.interval import UNBOUNDED, Interval


def mean_interval(values: Sequence[float], *, alpha: float) -> Interval:
    """Return the two-sided interval of the mean at level `alpha`; fewer than two runs bound nothing."""
    if len(values) < 2:
        return UNBOUNDED
    largest = max(abs(value) for value in values) or 1.0
    # Shares of the largest, so that the squares of huge values stay numbers.
    shares = [value / largest for value in values]
    mean = math.fsum(shares) / len(shares)
    squares = math.fsum((share - mean) ** 2 for share in shares)
    error = math.sqrt(squares / (len(shares) - 1) / len(shares))
    reach = -float(stdtrit(len(shares) - 1, alpha / 2)) * error
    return Interval(low=largest * (mean - reach), high=largest * (mean + reach))
