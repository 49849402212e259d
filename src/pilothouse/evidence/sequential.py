"""Group-sequential designs: where a look promotes, where it gives up, and the interval that stays honest.

A design looks at a comparison after fixed numbers of candidate seeds. At look k it promotes when the one-sided p-value
is at most `efficacy[k]`, and stops for futility when it is above `futility[k]`; otherwise the next seeds are launched.
The efficacy levels are solved so that, with no effect, the chance to promote at look k is exactly `alpha * shares[k]`,
given the futility stops (they bind: a design's promise holds for whoever follows it).

The distribution is the canonical one of Jennison and Turnbull ("Group Sequential Methods with Applications to Clinical
Trials", 2000, chapters 2, 7, 8 and 19): z-values with correlation sqrt(n_j / n_k), integrated look by look on a grid
after Armitage, McPherson and Rowe (Journal of the Royal Statistical Society A 132, 1969). t statistics enter through
their p-values. Where a baseline arm saturates, looks are more correlated than that, and fewer chances are taken.

The interval after a sequential stop is not the ordinary one: stopping early on good luck makes the plain estimate too
good. It is found by inverting the chance of an estimate at least as good, over all looks (the ordering of Emerson and
Fleming, Biometrika 77, 1990); its median is reported as the shrunk estimate. It is right over all comparisons, not over
the promoted ones alone: only fresh runs free those of the luck that chose them. With effects of two standard deviations
it covers more than it says, because t statistics stop later than the theory's z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from pilothouse.errors import BadValue

Floats = NDArray[np.float64]

GRID = 481
"""Points of the z grid."""
NODES = 96
"""Points of the quadrature over the comparisons that stay open."""
REACH = 12.0
"""Half width of the z grid: beyond it a normal density adds nothing that a float can hold."""
EFFECTS = 701
ESTIMATES = 301
"""Effects on which the ordering is tabulated."""
QUANTILES = (0.025, 0.5, 0.975)
"""Tail chances at which the ordering is inverted: the ends of a 95 % interval and its median."""
LEVEL = 0.95
"""Level of the interval after a stop, whatever the error rate of the promotion is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Candidate seeds at each look, and the p-values at which a look ends the comparison."""

    looks: tuple[int, ...]
    alpha: float
    shares: tuple[float, ...]
    futility: tuple[float, ...]
    efficacy: tuple[float, ...]

    def spent(self, look: int) -> float:
        """Return the error rate that is used up after this look (0 is the first)."""
        return self.alpha * sum(self.shares[: look + 1])


@lru_cache(maxsize=256)
def make_design(
    looks: tuple[int, ...], *, alpha: float, shares: tuple[float, ...], futility: tuple[float, ...]
) -> Design:
    """Return the design whose looks spend `alpha` in these shares.

    `futility` holds the p-value above which each look but the last gives up; 1 never does.
    """
    _require_design(looks, alpha=alpha, shares=shares, futility=futility)
    total = sum(shares)
    fractions = tuple(share / total for share in shares)
    densities = _Walk(looks)
    efficacy: list[float] = []
    for look, fraction in enumerate(fractions):
        upper = densities.upper_point(alpha * fraction)
        efficacy.append(float(ndtr(-upper)))
        if look + 1 < len(looks):
            densities.go_on(lower=float(-ndtri(futility[look])), upper=upper)
    return Design(looks=looks, alpha=alpha, shares=fractions, futility=futility, efficacy=tuple(efficacy))


class _Walk:
    """The sub-density of z at the current look under no effect, of the comparisons that are still open."""

    def __init__(self, looks: tuple[int, ...]) -> None:
        self.looks = looks
        self.look = 0
        self.z = np.linspace(-REACH, REACH, GRID)
        self.density = np.exp(-0.5 * self.z**2) / math.sqrt(2 * math.pi)

    def upper_point(self, chance: float) -> float:
        """Return u with P(open, Z >= u) = `chance`; infinity where nothing is to be spent."""
        if chance <= 0:
            return math.inf
        tail = _tails(self.density, self.z)
        if chance >= tail[0]:
            return -math.inf
        kept = tail > 0
        # Tails fall over many orders of magnitude: their logarithm is nearly straight between grid points.
        return float(np.interp(-math.log(chance), -np.log(tail[kept]), self.z[kept]))

    def go_on(self, *, lower: float, upper: float) -> None:
        """Carry the comparisons with lower < Z < upper to the next look."""
        now, then = self.looks[self.look], self.looks[self.look + 1]
        low, high = max(lower, float(self.z[0])), min(upper, float(self.z[-1]))
        high = max(high, low)
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        source = low + (high - low) * (nodes + 1) / 2
        mass = np.interp(source, self.z, self.density) * weights * (high - low) / 2
        share = math.sqrt(now / then)
        spread = math.sqrt(1 - now / then)
        self.look += 1
        step = (self.z[:, None] - share * source[None, :]) / spread
        self.density = (np.exp(-0.5 * step**2) / (spread * math.sqrt(2 * math.pi))) @ mass


def _tails(density: Floats, z: Floats) -> Floats:
    """Return the mass at and above each grid point, by the trapezoid rule."""
    width = z[1] - z[0]
    cells = (density[1:] + density[:-1]) * (width / 2)
    return np.append(np.cumsum(cells[::-1])[::-1], 0.0)


@dataclass(frozen=True, slots=True)
class Inversion:
    """For each look, the z offsets of the interval's low end, median and high end, over the z of the stop."""

    z: Floats
    offsets: Floats
    """Float64 [looks, 3, z]: what is added to z, so the ordinary 95 % interval is (-1.96, 0, +1.96) everywhere."""

    def at(self, look: NDArray[np.intp], z: Floats) -> Floats:
        """Return the three offsets for each stop: float64 [3, n]."""
        found = np.empty((3, len(z)))
        clipped = np.clip(z, self.z[0], self.z[-1])
        for each in np.unique(look):
            here = look == each
            for row in range(3):
                found[row, here] = np.interp(clipped[here], self.z, self.offsets[each, row])
        return found


@lru_cache(maxsize=64)
def invert(design: Design) -> Inversion:
    """Return the inversion of a design, tabulated over z in steps of 0.05 at each look."""
    walk = _Walk(design.looks)
    z = walk.z
    asked = np.linspace(-6.0, 9.0, 301)
    effects = np.linspace(-9.0, 12.0, EFFECTS) / math.sqrt(design.looks[0])
    estimates = np.linspace(-9.0, 12.0, ESTIMATES) / math.sqrt(design.looks[0])
    chance = np.zeros((EFFECTS, ESTIMATES))
    for look, seeds in enumerate(design.looks):
        last = look + 1 == len(design.looks)
        upper = float(-ndtri(design.efficacy[look])) if design.efficacy[look] > 0 else math.inf
        lower = math.inf if last else float(-ndtri(design.futility[look]))
        above = _tails_by_effect(walk.density, z, effects, seeds)
        asked_here = estimates * math.sqrt(seeds)
        given_up = _at(above, z, np.minimum(asked_here, lower)) - _at(above, z, np.array([lower]))
        promoted = 0.0 if last else _at(above, z, np.maximum(asked_here, upper))
        chance += given_up + promoted
        if not last:
            walk.go_on(lower=lower, upper=upper)
    ends = _solve(chance, effects)
    roots = np.sqrt(np.asarray(design.looks, dtype=np.float64))
    offsets = np.stack(
        [np.stack([np.interp(asked / root, estimates, row) * root - asked for row in ends]) for root in roots]
    )
    return Inversion(asked, offsets)


def _tails_by_effect(density: Floats, z: Floats, effects: Floats, seeds: int) -> Floats:
    """Return P(open, Z >= z) for each effect, float64 [effects, z], by the likelihood ratio of the final z."""
    drift = effects[:, None] * math.sqrt(seeds)
    tilted = density[None, :] * np.exp(drift * z[None, :] - 0.5 * drift**2)
    cells = (tilted[:, 1:] + tilted[:, :-1]) * ((z[1] - z[0]) / 2)
    tails = np.zeros_like(tilted)
    tails[:, :-1] = np.cumsum(cells[:, ::-1], axis=1)[:, ::-1]
    return tails


def _at(above: Floats, z: Floats, points: Floats) -> Floats:
    """Return each row of `above` at the points: float64 [effects, points]."""
    inside = np.clip(points, z[0], z[-1])
    place = np.clip(np.searchsorted(z, inside), 1, len(z) - 1)
    share = (inside - z[place - 1]) / (z[place] - z[place - 1])
    mixed: Floats = (1 - share) * above[:, place - 1] + share * above[:, place]
    return mixed


def _solve(chance: Floats, effects: Floats) -> Floats:
    """Return, for each estimate, the effect at which the chance of one at least as good is each quantile."""
    found = np.empty((3, chance.shape[1]))
    for column in range(chance.shape[1]):
        rising = np.maximum.accumulate(chance[:, column])
        deviate = ndtri(np.clip(rising, 1e-12, 1 - 1e-12)) + np.linspace(0, 1e-9, len(rising))
        found[:, column] = np.interp(ndtri(QUANTILES), deviate, effects)
    return found


def z_of_t(t: Floats, freedom: Floats) -> Floats:
    """Return the normal deviate with the tail chance of `t`; both tails are computed where they are small."""
    size = ndtri(np.maximum(stdtr(freedom, -np.abs(t)), 1e-300))
    found: Floats = np.where(t < 0, size, -size)
    return found


def t_of_z(z: Floats, freedom: Floats) -> Floats:
    """Return the t deviate with the tail chance of `z`."""
    size = stdtrit(freedom, np.maximum(ndtr(-np.abs(z)), 1e-300))
    found: Floats = np.where(z < 0, size, -size)
    return found


def _require_design(looks: Sequence[int], *, alpha: float, shares: Sequence[float], futility: Sequence[float]) -> None:
    if not looks or looks[0] < 2 or any(later <= earlier for earlier, later in pairwise(looks)):
        raise BadValue(f"looks are {list(looks)}", fix="give rising numbers of seeds, the first at least 2")
    if not 0 < alpha < 0.5:
        raise BadValue(f"alpha is {alpha!r}", fix="set alpha between 0 and 0.5, such as 0.05")
    if len(shares) != len(looks) or min(shares) < 0 or shares[-1] <= 0:
        raise BadValue(f"shares are {list(shares)}", fix="give one share per look, none negative, the last above 0")
    if len(futility) != len(looks) or not all(0 < level <= 1 for level in futility):
        raise BadValue(f"futility levels are {list(futility)}", fix="give one p-value per look, above 0 and at most 1")
