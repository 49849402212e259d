"""The rules that loops use today, as their own documents state them, so that ours is measured beside them.

Each takes arms of runs in which lower is better and says which candidates it would promote. In a stream, rules that
compare single values carry the best value so far along, as the loops that use them do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from pilothouse.evidence.arms import Floats

Bools = NDArray[np.bool_]

BOOTSTRAPS = 200
BADGE = 2.0
"""How many median absolute deviations the badge asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a rule says of many comparisons; `low` and `high` bound the gain, if it states an interval."""

    promoted: Bools
    low: Floats | None = None
    high: Floats | None = None


class Rule(Protocol):
    """A rule that asks for a fixed number of runs of each arm."""

    @property
    def seeds(self) -> int:
        """Runs of the candidate."""
        ...

    @property
    def baseline_runs(self) -> int:
        """Runs of the baseline."""
        ...

    def compare(self, baseline: Floats, candidate: Floats, rng: np.random.Generator) -> Answer:
        """Judge candidates float64 [n, seeds] against baselines float64 [n, baseline_runs]."""
        ...


class Session(Rule, Protocol):
    """A rule of single runs that carries the best value of the night along."""

    def night(self, runs: Floats) -> Floats:
        """Return the promotions in each night: `runs` is float64 [nights, baseline_runs + proposals] in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Greedy:
    """Keep whatever is lower than the best so far: one run each."""

    seeds: int = 1
    baseline_runs: int = 1

    def compare(self, baseline: Floats, candidate: Floats, rng: np.random.Generator) -> Answer:
        """Promote a candidate whose run is lower."""
        del rng
        return Answer(promoted=candidate[:, 0] < baseline[:, 0])

    def night(self, runs: Floats) -> Floats:
        """Count the new bests."""
        best = np.minimum.accumulate(runs, axis=1)
        promotions: Floats = (best[:, 1:] < best[:, :-1]).sum(axis=1).astype(np.float64)
        return promotions


@dataclass(frozen=True, slots=True)
class MadBadge:
    """Call a new best real when its gain over the first run is twice the median absolute deviation of all runs so far.

    A single question gives it a session of `seeds` runs of the candidate, the badge's own advice being to repeat.
    """

    seeds: int = 5
    baseline_runs: int = 1

    def compare(self, baseline: Floats, candidate: Floats, rng: np.random.Generator) -> Answer:
        """Promote when the badge lights after the session's runs."""
        del rng
        runs = np.concatenate([baseline[:, :1], candidate], axis=1)
        return Answer(promoted=_badge(runs))

    def night(self, runs: Floats) -> Floats:
        """Count the new bests under which the badge is lit."""
        promotions = np.zeros(len(runs))
        for last in range(2, runs.shape[1]):
            seen = runs[:, : last + 1]
            newest = runs[:, last] < runs[:, :last].min(axis=1)
            promotions += newest & _badge(seen)
        return promotions


def _badge(runs: Floats) -> Bools:
    middle = np.median(runs, axis=1, keepdims=True)
    spread = np.median(np.abs(runs - middle), axis=1)
    lit: Bools = (runs[:, 0] - runs.min(axis=1)) >= BADGE * np.where(spread > 0, spread, np.inf)
    return lit


@dataclass(frozen=True, slots=True)
class TwoBaselines:
    """Take the difference of two baseline runs for the noise and keep what is lower by more than twice that."""

    seeds: int = 1
    baseline_runs: int = 1

    def compare(self, baseline: Floats, candidate: Floats, rng: np.random.Generator) -> Answer:
        """Promote against the better of two baseline runs; `baseline` holds one, the other is drawn from its rows."""
        other = baseline[rng.permutation(len(baseline)), 0] if baseline.shape[1] == 1 else baseline[:, 1]
        floor = 2 * np.abs(baseline[:, 0] - other)
        return Answer(promoted=candidate[:, 0] < np.minimum(baseline[:, 0], other) - floor)

    def night(self, runs: Floats) -> Floats:
        """Count what is lower than the best so far by more than twice the difference of the first two runs."""
        floor = 2 * np.abs(runs[:, 0] - runs[:, 1])
        best = np.minimum(runs[:, 0], runs[:, 1])
        promotions = np.zeros(len(runs))
        for column in range(2, runs.shape[1]):
            win = runs[:, column] < best - floor
            best = np.where(win, runs[:, column], best)
            promotions += win
        return promotions


@dataclass(frozen=True, slots=True)
class PercentileBootstrap:
    """Promote when a 95 % percentile bootstrap interval of the difference of means excludes zero."""

    seeds: int = 3

    @property
    def baseline_runs(self) -> int:
        """As many as the candidate's."""
        return self.seeds

    def compare(self, baseline: Floats, candidate: Floats, rng: np.random.Generator) -> Answer:
        """Resample each arm with replacement and take the percentiles of the difference."""
        draws = np.empty((BOOTSTRAPS, len(baseline)))
        for row in draws:
            left = rng.integers(0, self.seeds, baseline.shape)
            right = rng.integers(0, self.seeds, candidate.shape)
            row[:] = np.take_along_axis(baseline, left, 1).mean(1) - np.take_along_axis(candidate, right, 1).mean(1)
        low, high = np.percentile(draws, [2.5, 97.5], axis=0)
        return Answer(promoted=low > 0, low=low, high=high)


@dataclass(frozen=True, slots=True)
class Welch:
    """Welch's t test after a fixed number of seeds per arm, one-sided at `alpha`, with the two-sided 95 % interval."""

    seeds: int = 5
    alpha: float = 0.05

    @property
    def baseline_runs(self) -> int:
        """As many as the candidate's."""
        return self.seeds

    def compare(self, baseline: Floats, candidate: Floats, rng: np.random.Generator) -> Answer:
        """Promote when the one-sided p-value is at most `alpha`."""
        del rng
        left, right = baseline.var(1, ddof=1) / self.seeds, candidate.var(1, ddof=1) / self.seeds
        gain = baseline.mean(1) - candidate.mean(1)
        total = np.maximum(left + right, 1e-300)
        freedom = total**2 * (self.seeds - 1) / np.maximum(left**2 + right**2, 1e-300)
        freedom = np.clip(freedom, 1.0, None)
        error = np.sqrt(total)
        reach = -stdtrit(freedom, 0.025) * error
        p = stdtr(freedom, -gain / error)
        return Answer(promoted=(p <= self.alpha) & (left + right > 0), low=gain - reach, high=gain + reach)
