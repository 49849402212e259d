"""Replaying the rules on real runs: many comparisons and whole campaigns at once, with known truth.

The noise is that of recorded runs of identical configuration: a campaign lives in one group and draws its runs from it
with replacement, so two arms of one group are a true null, and a shift by d standard deviations is a true gain of size
d. Nothing here knows what a rule does with the numbers; a rule never sees the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pilothouse.evidence.arms import Arm, Floats, arm_of, chosen, joined, standing
from pilothouse.evidence.looks import honest_interval
from pilothouse.evidence.protocol import CALIBRATION_RUNS, CONFIRMATION_LEVEL, CONFIRMATION_RUNS
from pilothouse.evidence.sequential import Design

Bools = NDArray[np.bool_]

SMOOTHING = 0.2
"""Width of the smoothing kernel in standard deviations of the group."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Groups of real runs, float64 [groups, longest], with the number, mean and standard deviation of each."""

    residuals: Floats
    sizes: NDArray[np.int64]
    middle: Floats
    scale: Floats

    def draw(self, rng: np.random.Generator, group: NDArray[np.int64], runs: int) -> Floats:
        """Return so many runs of each group asked for: float64 [len(group), runs]."""
        place = (rng.random((len(group), runs)) * self.sizes[group, None]).astype(np.int64)
        drawn = self.residuals[group[:, None], place]
        # A smoothed bootstrap (Silverman and Young, Biometrika 74, 1987): a run drawn twice would be a tie that no
        # training gives. Mean and variance of the group stay what they are.
        shaken = (
            drawn - self.middle[group, None] + SMOOTHING * self.scale[group, None] * rng.standard_normal(drawn.shape)
        )
        moved: Floats = self.middle[group, None] + shaken / np.sqrt(1 + SMOOTHING**2)
        return moved

    def groups(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Return groups for so many campaigns, each as likely as it has runs."""
        return rng.choice(len(self.sizes), size=count, p=self.sizes / self.sizes.sum())


def noise_of(groups: Sequence[Floats]) -> Noise:
    """Return the noise of these groups' runs, each of at least two and not all equal, centred and of variance one."""
    # The population that draws come from is the group itself, so its own n in the variance makes d exact.
    return raw_noise([(group - group.mean()) / group.std() for group in groups])


def raw_noise(groups: Sequence[Floats]) -> Noise:
    """Return the noise of these groups' runs in their own units."""
    longest = max(len(group) for group in groups)
    values = np.zeros((len(groups), longest))
    for row, group in zip(values, groups, strict=True):
        row[: len(group)] = group
    return Noise(
        residuals=values,
        sizes=np.array([len(group) for group in groups], dtype=np.int64),
        middle=np.array([group.mean() for group in groups]),
        scale=np.array([group.std() for group in groups]),
    )


@dataclass(slots=True)
class Ended:
    """How many comparisons ended, in what way and at what cost; arrays of one value per comparison."""

    promoted: Bools
    seeds: Floats
    low: Floats
    high: Floats
    gain: Floats
    shrunk: Floats
    baseline_runs: Floats
    kept: Bools


def replay_single(design: Design, baseline: Floats, candidate: Floats) -> Ended:
    """Play the design on arms of equal size: float64 [n, last look] each, better when lower."""
    ended = blank(len(baseline))
    alive = np.ones(len(baseline), dtype=np.bool_)
    for look, seeds in enumerate(design.looks):
        alive = _look(
            design,
            look,
            alive=alive,
            rival=arm_of(baseline[:, :seeds]),
            tried=arm_of(candidate[:, :seeds]),
            ended=ended,
        )
    ended.baseline_runs = ended.seeds.copy()
    ended.kept = ended.promoted.copy()
    return ended


def blank(count: int) -> Ended:
    """Return the record of comparisons that have not begun."""
    return Ended(
        promoted=np.zeros(count, dtype=np.bool_),
        seeds=np.zeros(count),
        low=np.zeros(count),
        high=np.zeros(count),
        gain=np.zeros(count),
        shrunk=np.zeros(count),
        baseline_runs=np.zeros(count),
        kept=np.zeros(count, dtype=np.bool_),
    )


def _look(design: Design, look: int, *, alive: Bools, rival: Arm, tried: Arm, ended: Ended) -> Bools:
    """Apply one look to the comparisons that are open, write what ends into `ended`, and return those still open."""
    here = standing(rival, tried)
    last = look + 1 == len(design.looks)
    win = alive & (here.p <= design.efficacy[look])
    stop = alive & (win | (here.p > design.futility[look]) | last)
    ended.seeds[stop] = design.looks[look]
    ended.promoted |= win
    ends = honest_interval(design, here, np.full(len(alive), look, dtype=np.intp))
    for name, row in (("low", ends[0]), ("shrunk", ends[1]), ("high", ends[2]), ("gain", here.gain)):
        getattr(ended, name)[stop] = row[stop]
    return alive & ~stop


@dataclass(slots=True)
class Campaigns:
    """Many campaigns in lock step: the baseline arm of each, and the noise that each lives in."""

    noise: Noise
    group: NDArray[np.int64]
    rng: np.random.Generator
    arm: Arm = field(init=False)

    def __post_init__(self) -> None:
        self.arm = arm_of(self.fresh(CALIBRATION_RUNS))

    def fresh(self, runs: int) -> Floats:
        """Return new runs of the present baselines: float64 [campaigns, runs]."""
        return self.noise.draw(self.rng, self.group, runs)

    def propose(self, design: Design, gain: float, *, tried_group: NDArray[np.int64] | None = None) -> Ended:
        """Judge one proposal in every campaign and move the baselines.

        The candidate is the baseline bettered by `gain`, or draws from groups of its own.
        """
        source = self.group if tried_group is None else tried_group
        count = len(self.group)
        ended = blank(count)
        alive = np.ones(count, dtype=np.bool_)
        tried: Arm | None = None
        before = 0
        for look, seeds in enumerate(design.looks):
            more = arm_of(self.noise.draw(self.rng, source, seeds - before) - gain)
            tried = more if tried is None else joined(tried, more)
            self.arm = chosen(alive, joined(self.arm, arm_of(self.fresh(1))), self.arm)
            ended.baseline_runs += alive
            alive = _look(design, look, alive=alive, rival=self.arm, tried=tried, ended=ended)
            before = seeds
            if not alive.any():
                break
        self._confirm(ended, gain, source)
        return ended

    def _confirm(self, ended: Ended, gain: float, source: NDArray[np.int64]) -> None:
        """Re-measure what was promoted with fresh runs; roll back what they do not confirm."""
        again = arm_of(self.noise.draw(self.rng, source, CONFIRMATION_RUNS) - gain)
        ended.kept = ended.promoted & (standing(self.arm, again).p <= CONFIRMATION_LEVEL)
        ended.baseline_runs += CONFIRMATION_RUNS * ended.promoted
        # Runs are measured from the present baseline, so the new baseline's arm is shifted to it.
        moved = Arm(runs=again.runs, mean=again.mean + gain, squares=again.squares)
        self.arm = chosen(ended.kept, moved, self.arm)
