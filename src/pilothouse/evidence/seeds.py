"""The comparison of two trials over their seeds, once, at a fixed number of runs: interval, p-value and outcome.

Welch's t decides. Where the arms are small enough to list every exchange of runs between them, and there are enough of
them for the exact permutation test to reach the error rate at all, it must agree: one outlier cannot carry a verdict.
Runs are paired by seed only where the measured correlation is beyond doubt and the paired interval is the narrower one.
A plain bootstrap of so few runs promotes noise at twice to four times its rate, and is not used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr, stdtrit

from pilothouse.errors import BadValue
from pilothouse.evidence.arms import ROUNDING, Floats
from pilothouse.evidence.interval import UNBOUNDED, Interval
from pilothouse.evidence.verdict import Direction, Outcome

RUNS_LEAST = 2
LARGEST = 1e70
"""A value beyond this cannot be compared: the fourth power of it, which a comparison takes, is no finite number."""
PAIRS_LEAST = 5
"""Runs with the same ids in both arms from which a correlation is looked at."""
PAIRING_LEVEL = 0.01
"""p-value of the correlation up to which runs are paired."""
EXCHANGES_MOST = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedComparison:
    """What the runs of two trials say, candidate minus baseline in the metric's unit.

    `p` is two-sided; `exact_p` that of the permutation test, None where it was not run. `shrunk` is the difference
    freed of the luck that selection adds: what a promoted change should be expected to give.
    """

    baseline: Floats
    candidate: Floats
    difference: float
    interval: Interval
    error: float
    freedom: float
    p: float
    exact_p: float | None
    paired: bool
    correlation: float | None
    shrunk: float
    alpha: float
    doubt: str


def compare_seeds(
    baseline: Mapping[str, float], candidate: Mapping[str, float], *, alpha: float, same_seeds: bool = False
) -> SeedComparison:
    """Compare finished runs by their id; `same_seeds` says that runs of one id share a seed, and so may be paired.

    Ids alone never pair: numbers counted along two sorted files would correlate without any seed in common.
    """
    left, right = np.array(list(baseline.values())), np.array(list(candidate.values()))
    _require(left, right, alpha=alpha)
    correlation = _correlation(baseline, candidate) if same_seeds else None
    noise = ROUNDING * float(max(np.abs(left).max(), np.abs(right).max()))
    paired = False
    difference, error, freedom = _welch(left, right)
    if correlation is not None and correlation[1] <= PAIRING_LEVEL:
        pairs = _paired(baseline, candidate)
        if pairs[1] > noise and _reach(pairs[1], pairs[2], alpha) < _reach(error, freedom, alpha):
            paired, (difference, error, freedom) = True, pairs
    interval, p, doubt = _interval(difference, error, freedom, noise=noise, alpha=alpha)
    return SeedComparison(
        baseline=left,
        candidate=right,
        difference=difference,
        interval=interval,
        error=error,
        freedom=freedom,
        p=p,
        exact_p=None if paired else exact_p(left, right),
        paired=paired,
        correlation=None if correlation is None else correlation[0],
        shrunk=shrunk(difference, error, freedom, alpha=alpha) if error > noise else difference,
        alpha=alpha,
        doubt=doubt,
    )


def outcome_of(
    found: SeedComparison, *, direction: Direction, smallest_effect: float = 0.0, no_worse_by: float | None = None
) -> tuple[Outcome, str]:
    """Return the outcome and its reason; swapping the arms mirrors improved and regressed.

    Equivalent means: no worse by more than the margin, by the same interval; a change that is also better is improved.
    """
    worst = -found.interval.high if direction is Direction.MIN else found.interval.low
    gain = -found.difference if direction is Direction.MIN else found.difference
    excluded = found.interval.excludes_zero() and not found.doubt
    if excluded and _vetoed(found):
        excluded = False
        reason = f"the exact permutation test disagrees: p {found.exact_p:.3g} is above {found.alpha:g}"
    else:
        reason = found.doubt or "the interval contains 0"
    if excluded and abs(gain) >= smallest_effect:
        side = "better" if gain > 0 else "worse"
        outcome = Outcome.IMPROVED if gain > 0 else Outcome.REGRESSED
        if not (outcome is Outcome.REGRESSED and no_worse_by is not None and worst > -no_worse_by):
            return outcome, f"the whole interval lies on the {side} side of 0"
    elif excluded:
        reason = f"the difference is real but smaller than the smallest effect of interest, {smallest_effect:g}"
    if no_worse_by is not None and worst > -no_worse_by:
        return Outcome.EQUIVALENT, f"the interval excludes being worse by {no_worse_by:g} or more"
    if no_worse_by is not None:
        reason += f"; being worse by {no_worse_by:g} is not excluded (the interval reaches {max(0.0, -worst):.4g})"
    return Outcome.INCONCLUSIVE, reason


def _vetoed(found: SeedComparison) -> bool:
    """Whether the exact test could have reached the error rate and did not."""
    if found.exact_p is None:
        return False
    least = 2 / math.comb(len(found.baseline) + len(found.candidate), len(found.candidate))
    return least <= found.alpha < found.exact_p


def _welch(left: Floats, right: Floats) -> tuple[float, float, float]:
    """Return difference, standard error and Welch-Satterthwaite degrees of freedom."""
    a, b = left.var(ddof=1) / len(left), right.var(ddof=1) / len(right)
    error = math.sqrt(a + b)
    freedom = (a + b) ** 2 / (a**2 / (len(left) - 1) + b**2 / (len(right) - 1)) if error > 0 else 1.0
    return float(right.mean() - left.mean()), error, float(freedom)


def _paired(baseline: Mapping[str, float], candidate: Mapping[str, float]) -> tuple[float, float, float]:
    gaps = np.array([candidate[run] - baseline[run] for run in baseline])
    return float(gaps.mean()), float(gaps.std(ddof=1)) / math.sqrt(len(gaps)), float(len(gaps) - 1)


def _correlation(baseline: Mapping[str, float], candidate: Mapping[str, float]) -> tuple[float, float] | None:
    """Return the correlation of runs with the same ids and its one-sided p-value, where both arms are the same ids."""
    if len(baseline) < PAIRS_LEAST or set(baseline) != set(candidate):
        return None
    left = np.array([baseline[run] for run in baseline])
    right = np.array([candidate[run] for run in baseline])
    scale = float(left.std() * right.std())
    if scale <= 0:
        return None
    found = float(np.clip(((left - left.mean()) * (right - right.mean())).mean() / scale, -1.0, 1.0))
    t = found * math.sqrt((len(left) - 2) / max(1 - found**2, 1e-15))
    return found, float(stdtr(len(left) - 2, -t))


def _reach(error: float, freedom: float, alpha: float) -> float:
    return -float(stdtrit(freedom, alpha / 2)) * error


def _interval(
    difference: float, error: float, freedom: float, *, noise: float, alpha: float
) -> tuple[Interval, float, str]:
    """Return interval, two-sided p-value, and why the interval is not the ordinary one."""
    if error <= noise:
        if abs(difference) <= noise:
            return Interval(low=min(difference, 0.0), high=max(difference, 0.0)), 1.0, "the metric is constant"
        return UNBOUNDED, 1.0, "neither arm varies, so there is no noise to judge the difference by"
    reach = _reach(error, freedom, alpha)
    p = 2 * float(stdtr(freedom, -abs(difference) / error))
    return Interval(low=difference - reach, high=difference + reach), p, ""


def exact_p(left: Floats, right: Floats) -> float | None:
    """Return the two-sided exact permutation p-value of the difference of means; None where there are too many ways."""
    total = len(left) + len(right)
    if math.comb(total, len(right)) > EXCHANGES_MOST:
        return None
    pooled = np.concatenate([left, right])
    away = pooled - pooled.mean()
    sums = away[_choices(total, len(right))].sum(axis=1)
    seen = abs(float(away[len(left) :].sum()))
    return float((np.abs(sums) >= seen * (1 - 1e-9)).mean())


@lru_cache(maxsize=16)
def _choices(total: int, taken: int) -> NDArray[np.intp]:
    return np.array(list(combinations(range(total), taken)), dtype=np.intp)


def shrunk(difference: float, error: float, freedom: float, *, alpha: float) -> float:
    """Return the median-unbiased difference given that it was large enough to be selected.

    It solves P(T >= t | |T| >= c) = 1/2 for the effect, with normal tails around the t critical value c (Zhong and
    Prentice, Biostatistics 9, 2008). A difference that was not selected is returned as it is.
    """
    t, critical = abs(difference) / error, -float(stdtrit(freedom, alpha / 2))
    if t <= critical:
        return difference
    low, high = -t, t
    for _ in range(60):
        middle = (low + high) / 2
        chance = ndtr(middle - t) / (ndtr(middle - critical) + ndtr(-critical - middle))
        low, high = (middle, high) if chance < 0.5 else (low, middle)
    return math.copysign(max(0.0, high) * error, difference)


def _require(left: Floats, right: Floats, *, alpha: float) -> None:
    if not 0 < alpha < 0.5:
        raise BadValue(f"alpha is {alpha!r}", fix="set alpha between 0 and 0.5, such as 0.05")
    for name, values in (("baseline", left), ("candidate", right)):
        missing = RUNS_LEAST - len(values)
        if missing > 0:
            raise BadValue(
                f"the {name} has {len(values)} finished runs; {missing} are missing",
                fix=f"run it {missing} times more, with other seeds",
            )
        if not np.isfinite(values).all():
            raise BadValue(f"a run of the {name} is no finite number", fix="leave failed runs out before comparing")
        if np.abs(values).max() > LARGEST:
            raise BadValue(
                f"the runs of the {name} are too large to be compared: up to {np.abs(values).max():g}",
                fix="write nan for runs that diverged, or rescale the metric",
            )
