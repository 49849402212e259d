"""Stopping a run that has no chance: from its curve, against the curves of the baseline's finished runs.

At a validation step s the final value is predicted from the value there, by the line through the baseline arm's own
runs, with its prediction error (t with n - 2 degrees of freedom). A run is doomed when all of this holds:

- at least six tenths of the training are done;
- even the lucky end of the prediction, `LEVEL` of the tail, does not reach the baseline's mean;
- the gap to the baseline's mean curve is not closing: a change of the schedule often trails until the end and wins
  there, and the line of the baseline knows nothing of it.

A run whose value is NaN or infinite is doomed at once. How often it stops a run that would have won is measured by
`bench judge --curves`, on real runs of the same and of changed configurations.

One seed's bad luck is no verdict on a change that is judged by the mean of several. A loop that compares over seeds
therefore stops a doomed run only where the look that waits for it would give up even at its lucky end
(`campaigns.doom`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from pilothouse.errors import BadValue
from pilothouse.evidence.arms import Floats

LEVEL = 0.002
"""Chance that the prediction grants a run to end better than it allows."""
EARLIEST = 0.6
CURVES_LEAST = 6
"""Finished baseline curves below which nothing is predicted."""
CLOSING = 0.95
"""A gap that shrank below this share of the one before is closing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """What the baseline's finished runs say at each validation step: float64 [steps] each, lower is better."""

    fraction: Floats
    mean: Floats
    slope: Floats
    residual: Floats
    spread: Floats
    runs: int


def predictor(curves: Floats, steps: Floats) -> Predictor:
    """Learn from the baseline's curves, float64 [runs, steps], the last step being the final value."""
    runs = len(curves)
    if runs < CURVES_LEAST:
        raise BadValue(
            f"{runs} baseline curves", fix=f"finish {CURVES_LEAST - runs} more before runs are stopped early"
        )
    mean = curves.mean(axis=0)
    away = curves - mean
    squares = np.maximum((away**2).sum(axis=0), 1e-300)
    # A line that is steeper than one would promise that gaps grow; noise alone makes such lines at few runs.
    slope = np.clip((away * away[:, -1:]).sum(axis=0) / squares, 0.0, 1.0)
    left = away[:, -1:] - slope * away
    residual = np.sqrt((left**2).sum(axis=0) / (runs - 2))
    return Predictor(fraction=steps / steps[-1], mean=mean, slope=slope, residual=residual, spread=squares, runs=runs)


def doomed_at(known: Predictor, curve: Floats) -> int | None:
    """Return the index of the validation step at which the run is stopped; None if it runs to its end.

    `curve` may end early (a run in progress). The final value itself stops nothing.
    """
    wrong = np.flatnonzero(~np.isfinite(curve))
    seen = int(wrong[0]) if len(wrong) else len(curve)
    gap = curve[:seen] - known.mean[:seen]
    closing = np.append(False, gap[1:] < CLOSING * gap[:-1])
    hopeless = (lucky_ends(known, curve[:seen]) > known.mean[-1]) & ~closing & (known.fraction[:seen] >= EARLIEST)
    hopeless[len(known.mean) - 1 :] = False
    found = np.flatnonzero(hopeless)
    if len(found):
        return int(found[0])
    return seen if len(wrong) else None


def lucky_ends(known: Predictor, curve: Floats) -> Floats:
    """Return, for each step of a finite curve, the final value at the lucky end of what is predicted there."""
    seen = len(curve)
    gap = curve - known.mean[:seen]
    error = known.residual[:seen] * np.sqrt(1 + 1 / known.runs + gap**2 / known.spread[:seen])
    ends: Floats = known.mean[-1] + known.slope[:seen] * gap + float(stdtrit(known.runs - 2, LEVEL)) * error
    return ends
