"""A Gaussian process over past runs: what a config is expected to be worth, and how far that may be off.

The kernel is Matérn 5/2 with a length for every knob. Lengths, height and noise are the most probable ones under weak
priors, found by their exact gradient; with a few hundred runs that takes a fraction of a second, and no more than numpy
and scipy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import Bounds, minimize
from scipy.special import erfcx, ndtr

Floats: TypeAlias = NDArray[np.float64]

ROOT_5 = math.sqrt(5.0)

LENGTH = 0.35
"""The prior's middle length of one knob alone, as a share of its range; it grows with the root of their number."""

SPREADS = (0.8, 0.7, 1.2)
"""The prior's standard deviations of the logarithms of length, height and noise."""

NOISE = 0.05
"""The prior's middle share of the variance that is noise."""

JITTER = 1e-8
ROUNDS = 40
SWITCH = 0.5
"""The distance of two different choices, where the range of a number is 1."""

TAIL = -1.0
"""Below so many standard deviations the expected improvement's two terms cancel, and it is taken in another form."""

SCORE_MIN = -1e5
"""Where that form cancels too: nothing is to be hoped for there."""


@dataclass(frozen=True)
class Process:
    """What was learnt: `places` are the runs, a row each; `switched` tells the columns that hold choices."""

    places: Floats
    switched: NDArray[np.bool_]
    lengths: Floats
    height: float
    factor: Floats
    weights: Floats

    def expect(self, places: Floats) -> tuple[Floats, Floats]:
        """Return the expected worth of each place and its standard deviation, without the noise of a run."""
        squares = squared_ways(places, self.places, self.switched) @ (1 / self.lengths**2)
        across = matern(squares, self.height)
        reached = solve_triangular(self.factor, across.T, lower=True)
        variance = np.maximum(self.height - np.sum(reached * reached, axis=0), JITTER)
        return across @ self.weights, np.sqrt(variance)


def learn(places: Floats, worth: Floats, shares: Floats, switched: NDArray[np.bool_]) -> Process:
    """Return the process of these runs; `shares` says by how much each run's noise differs from the common one."""
    ways = squared_ways(places, places, switched)
    count, knobs = places.shape
    middle = np.concatenate([np.full(knobs, math.log(LENGTH * math.sqrt(max(knobs, 1)))), [0.0, math.log(NOISE)]])
    spread = np.concatenate([np.full(knobs, SPREADS[0]), SPREADS[1:]])

    def doubt(logs: Floats) -> tuple[float, Floats]:
        """Return the negative logarithm of the posterior, and its gradient."""
        lengths, height, noise = np.exp(logs[:knobs]), math.exp(logs[knobs]), math.exp(logs[knobs + 1])
        scaled = ways / lengths**2
        squares = scaled.sum(axis=2)
        alike = matern(squares, height)
        factor = np.linalg.cholesky(alike + np.diag(noise * shares + JITTER))
        weights = cho_solve((factor, True), worth)
        pull = np.outer(weights, weights) - cho_solve((factor, True), np.eye(count))
        root = np.sqrt(squares)
        bend = pull * (height * 5 / 3 * (1 + ROOT_5 * root) * np.exp(-ROOT_5 * root))
        slope = np.concatenate(
            [np.einsum("ij,ijk->k", bend, scaled), [np.sum(pull * alike), np.sum(np.diag(pull) * noise * shares)]]
        )
        off = (logs - middle) / spread
        value = 0.5 * worth @ weights + np.sum(np.log(np.diag(factor))) + 0.5 * off @ off
        return float(value), off / spread - 0.5 * slope

    edges = Bounds(middle - 3 * spread, middle + 3 * spread)
    found = minimize(doubt, middle, jac=True, method="L-BFGS-B", bounds=edges, options={"maxiter": ROUNDS})
    logs = np.asarray(found.x, dtype=np.float64)
    lengths, height, noise = np.exp(logs[:knobs]), math.exp(logs[knobs]), math.exp(logs[knobs + 1])
    alike = matern(ways @ (1 / lengths**2), height) + np.diag(noise * shares + JITTER)
    factor = np.asarray(np.linalg.cholesky(alike), dtype=np.float64)
    weights = np.asarray(cho_solve((factor, True), worth), dtype=np.float64)
    return Process(places=places, switched=switched, lengths=lengths, height=height, factor=factor, weights=weights)


def log_improvement(expected: Floats, deviation: Floats, best: float) -> Floats:
    """Return the logarithm of how much lower than the best each place is expected to be; what is higher counts as 0."""
    score = np.maximum((best - expected) / deviation, SCORE_MIN)
    found = np.empty_like(score)
    near = score > TAIL
    density = np.exp(-0.5 * score[near] ** 2) / math.sqrt(2 * math.pi)
    found[near] = np.log(density + score[near] * ndtr(score[near]))
    far = -score[~near]
    left = 1 - math.sqrt(math.pi / 2) * far * erfcx(far / math.sqrt(2))
    found[~near] = np.log(left) - 0.5 * far**2 - 0.5 * math.log(2 * math.pi)
    return np.asarray(found + np.log(deviation), dtype=np.float64)


def squared_ways(left: Floats, right: Floats, switched: NDArray[np.bool_]) -> Floats:
    """Return the squared way between every two places, by knob."""
    apart = left[:, None, :] - right[None, :, :]
    return np.where(switched, (apart != 0) * SWITCH**2, apart * apart)


def matern(squares: Floats, height: float) -> Floats:
    """Return how alike places are whose scaled squared distance is given."""
    root = np.sqrt(squares)
    return np.asarray(height * (1 + ROOT_5 * root + 5 / 3 * squares) * np.exp(-ROOT_5 * root), dtype=np.float64)
