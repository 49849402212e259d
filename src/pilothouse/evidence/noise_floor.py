"""How much a metric moves when nothing changes, what that lets one see, and when the measurement no longer holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

from pilothouse.errors import BadValue
from pilothouse.evidence.power import detectable, seeds_for

REPLICATES_LEAST = 3
PLANNED_SEEDS = 8
PLANNED_POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a noise floor was measured under; any change of it makes the floor expire."""

    code: str
    hardware: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """The run-to-run noise of one metric under one set of conditions.

    `sigma` is the standard deviation, `sigma_low` and `sigma_high` its 95 % interval for normal noise. `detectable` is
    the smallest effect that eight seeds per arm find in four of five cases.
    """

    metric: str
    mean: float
    sigma: float
    sigma_low: float
    sigma_high: float
    replicates: int
    failed: int
    detectable: float
    alpha: float
    conditions: Conditions

    def expired(self, now: Conditions) -> str:
        """Return what changed since it was measured, in words; empty while it holds."""
        changed = [
            name
            for name, then, today in (
                ("the code", self.conditions.code, now.code),
                ("the hardware class", self.conditions.hardware, now.hardware),
                ("the data", self.conditions.data, now.data),
            )
            if then != today
        ]
        return f"{' and '.join(changed)} changed since the noise floor was measured" if changed else ""

    def seeds_for(self, effect: float) -> int:
        """Return the seeds per arm that find an effect, in the metric's unit, in four of five cases."""
        if not (effect > 0 and math.isfinite(effect)):
            raise BadValue(f"the effect of interest is {effect!r}", fix="give a number above 0, in the metric's unit")
        if self.sigma == 0:
            return REPLICATES_LEAST
        return seeds_for(effect / self.sigma, power=PLANNED_POWER, alpha=self.alpha)


def measure_floor(metric: str, values: Sequence[float], *, alpha: float, conditions: Conditions) -> NoiseFloor:
    """Return the noise floor from runs of one unchanged configuration with different seeds; failed runs are counted."""
    finite = np.array([value for value in values if math.isfinite(value)])
    missing = REPLICATES_LEAST - len(finite)
    if missing > 0:
        raise BadValue(
            f"{len(finite)} finished replicates of {metric}; {missing} are missing",
            fix=f"calibrate with at least {REPLICATES_LEAST} replicates; 8 or more give a usable floor",
        )
    sigma = float(finite.std(ddof=1))
    freedom = len(finite) - 1
    return NoiseFloor(
        metric=metric,
        mean=float(finite.mean()),
        sigma=sigma,
        sigma_low=sigma * math.sqrt(freedom / float(chdtri(freedom, 0.025))),
        sigma_high=sigma * math.sqrt(freedom / float(chdtri(freedom, 0.975))),
        replicates=len(finite),
        failed=len(values) - len(finite),
        detectable=detectable(sigma=sigma, seeds=PLANNED_SEEDS, power=PLANNED_POWER, alpha=alpha),
        alpha=alpha,
        conditions=conditions,
    )
