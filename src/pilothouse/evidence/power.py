"""How many seeds an effect needs, before any is launched."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import nctdtr, stdtrit

from pilothouse.errors import BadValue
from pilothouse.evidence.looks import single_design
from pilothouse.evidence.replay import replay_single

SEEDS_MOST = 10_000
SIZE_MOST = 1e6
REPLAYS = 10_000
SEED = 20_260


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Seeds per arm: a fixed number for the asked power, and what the sequential design pays and finds instead."""

    effect: float
    sigma: float
    power: float
    alpha: float
    seeds_fixed: int
    power_fixed: float
    seeds_sequential_mean: float
    seeds_sequential_most: int
    power_sequential: float
    seeds_without_effect: float


def plan(*, effect: float, sigma: float, power: float, alpha: float) -> Plan:
    """Return the plan for a true gain of `effect` under run-to-run noise of `sigma`, in the metric's unit."""
    for name, value in (("effect", effect), ("sigma", sigma)):
        if not (value > 0 and math.isfinite(value)):
            raise BadValue(f"{name} is {value!r}", fix="give a number above 0, in the metric's unit")
    if not 0 < alpha < 0.5:
        raise BadValue(f"alpha is {alpha!r}", fix="set alpha between 0 and 0.5, such as 0.05")
    if not alpha < power < 1:
        raise BadValue(f"power is {power!r}", fix="give a number above alpha and below 1, such as 0.8")
    size = effect / sigma
    if size > SIZE_MOST:
        raise BadValue(f"the effect is {size:g} standard deviations", fix="give effect and sigma in the same unit")
    fixed = seeds_for(size, power=power, alpha=alpha)
    rng = np.random.default_rng(SEED)
    design = single_design(alpha)
    shape = (REPLAYS, design.looks[-1])
    baseline, candidate = rng.standard_normal(shape), rng.standard_normal(shape)
    found = replay_single(design, baseline, candidate - size)
    null = replay_single(design, baseline, candidate)
    return Plan(
        effect=effect,
        sigma=sigma,
        power=power,
        alpha=alpha,
        seeds_fixed=fixed,
        power_fixed=power_of(size, seeds=fixed, alpha=alpha),
        seeds_sequential_mean=float(found.seeds.mean()),
        seeds_sequential_most=design.looks[-1],
        power_sequential=float(found.promoted.mean()),
        seeds_without_effect=float(null.seeds.mean()),
    )


def power_of(size: float, *, seeds: int, alpha: float) -> float:
    """Return the one-sided power of equal arms for an effect of `size` standard deviations, by the noncentral t."""
    freedom = 2 * seeds - 2
    critical = -float(stdtrit(freedom, alpha))
    miss = float(nctdtr(freedom, size * math.sqrt(seeds / 2), critical))
    return 1 - miss if math.isfinite(miss) else 1.0  # So far out in the tail scipy gives no number.


def seeds_for(size: float, *, power: float, alpha: float) -> int:
    """Return the least number of seeds per arm that has the power."""
    low, high = 1, 2
    while power_of(size, seeds=high, alpha=alpha) < power:
        low, high = high, 2 * high
        if high > SEEDS_MOST:
            raise BadValue(
                f"an effect of {size:.3g} standard deviations needs more than {SEEDS_MOST} seeds",
                fix="ask for a larger effect, or measure with less noise",
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(size, seeds=middle, alpha=alpha) >= power else (middle, high)
    return high


def detectable(*, sigma: float, seeds: int, power: float, alpha: float) -> float:
    """Return the smallest effect, in the metric's unit, that so many seeds per arm find with this power."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if power_of(middle, seeds=seeds, alpha=alpha) < power else (low, middle)
    return high * sigma
