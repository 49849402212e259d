"""Two arms of runs, and how surely one is better: the one statistic that the state machine and the benchmark share.

Everything works on scalars and on arrays of many comparisons alike. Arms of equal size use the pooled variance, which
for equal sizes is Welch's standard error and nearly keeps its level when the spreads differ. Arms of different sizes (a
baseline that has accumulated runs against a few seeds) need care: a change that makes training wilder must not pass
because the baseline is calm. Where the smaller arm looks wilder than chance would have it, each arm takes the larger
of the pooled and its own variance, and Welch's own error and degrees of freedom count where they are less certain
still.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, gammaln, stdtr

Floats = NDArray[np.float64]

ROUNDING = 1e-12
"""Standard error, relative to the largest mean, that is rounding and no variation."""
WILD = 0.35
"""Chance of a variance ratio at least as large, below which the smaller arm counts as wilder for a promotion."""
PLAINLY_WILD = 0.17
"""The same chance for the interval, at which it covers 95 % of null proposals in a stream."""
TINY = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Runs of one configuration: their number, mean and sum of squared deviations, each float64 of any one shape."""

    runs: Floats
    mean: Floats
    squares: Floats


def arm_of(values: Floats) -> Arm:
    """Return the arm whose runs stand along the last axis."""
    mean = values.mean(axis=-1)
    squares = ((values - mean[..., None]) ** 2).sum(axis=-1)
    return Arm(runs=np.full(mean.shape, float(values.shape[-1])), mean=mean, squares=squares)


def joined(first: Arm, second: Arm) -> Arm:
    """Return the arm of both, by Chan, Golub and LeVeque's update."""
    runs = first.runs + second.runs
    gap = second.mean - first.mean
    share = second.runs / runs
    return Arm(
        runs=runs,
        mean=first.mean + gap * share,
        squares=first.squares + second.squares + gap**2 * first.runs * share,
    )


def chosen(which: NDArray[np.bool_], first: Arm, second: Arm) -> Arm:
    """Return, place by place, the first arm where `which` holds and the second elsewhere."""
    return Arm(
        runs=np.where(which, first.runs, second.runs),
        mean=np.where(which, first.mean, second.mean),
        squares=np.where(which, first.squares, second.squares),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a comparison stands: `gain` is positive when the candidate is better, `p` one-sided for that.

    `p` is the cautious answer on which a promotion rests. `error`, `freedom` and `t` describe the gain for its interval
    and give way to a wilder arm only where that is plain: an interval that is always too wide misleads as well.
    """

    gain: Floats
    error: Floats
    freedom: Floats
    t: Floats
    p: Floats


def standing(baseline: Arm, candidate: Arm, *, lower_is_better: bool = True) -> Standing:
    """Compare arms of at least two runs in all and one each.

    Runs without any spread cannot be judged by t, which would be certain after two of them: there the p-value is that
    of the exact permutation test, 1 / C(n + m, n) when all of one arm lie on the better side.
    """
    gain = baseline.mean - candidate.mean if lower_is_better else candidate.mean - baseline.mean
    error, freedom = _error(baseline, candidate, wild=PLAINLY_WILD)
    noise = ROUNDING * np.maximum(np.abs(baseline.mean), np.abs(candidate.mean))
    flat = error <= noise
    t = gain / np.where(flat, 1.0, error)
    t = np.where(flat, np.where(np.abs(gain) <= noise, 0.0, np.copysign(np.inf, gain)), t)
    floor = 1 / combinations(baseline.runs + candidate.runs, candidate.runs)
    sided = np.where(t == 0, 0.5, np.where(t > 0, floor, 1 - floor))
    careful_error, careful_freedom = _error(baseline, candidate, wild=WILD)
    p = stdtr(careful_freedom, -gain / np.where(flat, 1.0, careful_error))
    return Standing(gain=gain, error=error, freedom=freedom, t=t, p=np.where(flat, sided, p))


def _error(first: Arm, second: Arm, *, wild: float) -> tuple[Floats, Floats]:
    """Return the standard error of the difference and its degrees of freedom; the order of the arms does not matter.

    A smaller arm whose variance ratio has a chance below `wild` is taken for wilder than the larger one.
    """
    freedom = first.runs + second.runs - 2
    pooled = (first.squares + second.squares) / freedom
    own = (_own_variance(first), _own_variance(second))
    plain = np.sqrt(pooled / first.runs + pooled / second.runs)
    swapped = first.runs < second.runs
    small_runs, large_runs = np.where(swapped, first.runs, second.runs), np.where(swapped, second.runs, first.runs)
    small, large = np.where(swapped, own[0], own[1]), np.where(swapped, own[1], own[0])
    comparable = (first.runs != second.runs) & (small_runs > 1) & (large > 0)
    ratio = small / np.where(large > 0, large, 1.0)
    tail = fdtrc(np.maximum(small_runs - 1, 1), np.maximum(large_runs - 1, 1), ratio)
    suspect = comparable & (tail < wild)
    guarded = np.sqrt(np.maximum(pooled, own[0]) / first.runs + np.maximum(pooled, own[1]) / second.runs)
    error = np.where(suspect, guarded, plain)
    a, b = own[0] / first.runs, own[1] / second.runs
    least = np.maximum(a**2 / np.maximum(first.runs - 1, 1) + b**2 / np.maximum(second.runs - 1, 1), TINY)
    welch_error, welch_freedom = np.sqrt(a + b), np.maximum((a + b) ** 2 / least, 1.0)
    size = np.abs(first.mean - second.mean)
    surer = stdtr(welch_freedom, -size / np.maximum(welch_error, TINY)) < stdtr(
        freedom, -size / np.maximum(error, TINY)
    )
    taken = suspect & ~surer
    return np.where(taken, welch_error, error), np.where(taken, welch_freedom, freedom)


def _own_variance(arm: Arm) -> Floats:
    variance: Floats = arm.squares / np.maximum(arm.runs - 1, 1)
    return variance


def combinations(total: Floats, taken: Floats) -> Floats:
    """Return how many ways there are to take so many of the total, as floats."""
    ways: Floats = np.exp(gammaln(total + 1) - gammaln(taken + 1) - gammaln(total - taken + 1))
    return ways


def finite(values: Sequence[float]) -> tuple[Floats, int]:
    """Return the finite values and how many were not: such a run has failed, and is never better than anything."""
    kept = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    return kept, len(values) - len(kept)
