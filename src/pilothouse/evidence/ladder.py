"""Reusing a golden set without fooling oneself: count the looks, show the optimism, publish by steps.

A set that has chosen the best of many candidates flatters the winner. Two things are done about it. A new best is
published only when it beats the published one by more than the noise of the paired comparison: the parameter-free
ladder of Blum and Hardt ("The Ladder: a reliable leaderboard for machine learning competitions", ICML 2015), a
one-sided paired test at one standard error of the difference. And the optimism that the looks may buy is shown beside
it: the expected maximum of so many standard normal draws, in standard errors of the score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from pilothouse.evidence.interval import Comparison
from pilothouse.evidence.verdict import Direction

STEP_ERRORS = 1.0
"""Standard errors of the paired difference by which a new best must beat the published one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """What the ladder says of a candidate: whether it is published, and the value that may be shown."""

    published: bool
    shown: float
    step: float
    optimism: float
    looks: int


def climb(comparison: Comparison, *, direction: Direction, looks: int, published: float | None = None) -> Rung:
    """Return whether the candidate is published over the value shown so far (the baseline's, if none was).

    `looks` counts the candidates that this golden set has judged, this one included.
    """
    assert looks >= 1, f"a set that judged a candidate was looked at, got {looks} looks"
    best = comparison.baseline if published is None else published
    step = STEP_ERRORS * comparison.standard_error
    gain = best - comparison.candidate if direction is Direction.MIN else comparison.candidate - best
    climbs = math.isfinite(gain) and gain > step
    return Rung(
        published=climbs,
        shown=comparison.candidate if climbs else best,
        step=step,
        optimism=expected_maximum(looks) * comparison.standard_error,
        looks=looks,
    )


def expected_maximum(draws: int) -> float:
    """Return the expected maximum of independent standard normal draws: the integral of z n f(z) F(z)^(n-1)."""
    z = np.linspace(-10.0, 10.0, 4001)
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return float(np.trapezoid(z * draws * density * ndtr(z) ** (draws - 1), z))
