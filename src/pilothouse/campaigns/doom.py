"""Whether a candidate's runs have any chance left, by their curves so far and the curves of the baseline's runs.

A change is judged by the mean of several runs, and one of them may end badly by its seed alone: to drop the change for
that would lose up to two thirds of the true gains of one standard deviation. So a run is stopped only where nothing
that may still come of it can change the look that waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pilothouse.evidence.arms import arm_of, standing
from pilothouse.evidence.doomed import CURVES_LEAST, doomed_at, lucky_ends, predictor
from pilothouse.evidence.looks import Step, step_of
from pilothouse.evidence.sequential import Design
from pilothouse.evidence.verdict import Direction

Curve = Mapping[int, float]
"""A metric by step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished run of the baseline: its curve, and the value that it ended with."""

    curve: Curve
    final: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Doom:
    """A run that will not reach the baseline's mean: the best end that it may still have, and why, in words."""

    lucky: float
    why: str


def doom_of(baseline: Sequence[Finished], seen: Curve, *, total: int, direction: Direction) -> Doom | None:
    """Return the doom of a run, or None while it has a chance, or where too little is known.

    `total` is the run's last step. Only steps that every curve has are looked at, and of the baseline only runs whose
    curve holds all of them: a run that logs seldom is judged seldom.
    """
    steps = sorted(step for step in seen if step < total)
    rivals = [run for run in baseline if all(step in run.curve for step in steps)]
    if not steps or len(rivals) < CURVES_LEAST:
        return None
    sign = 1.0 if direction is Direction.MIN else -1.0
    curves = np.array([[sign * run.curve[step] for step in steps] + [sign * run.final] for run in rivals])
    known = predictor(curves, np.array([*steps, total], dtype=np.float64))
    curve = np.array([sign * seen[step] for step in steps])
    index = doomed_at(known, curve)
    if index is None:
        return None
    step = steps[index]
    return Doom(
        lucky=sign * float(lucky_ends(known, curve)[index]),
        why=f"at step {step} of {total} it stood at {seen[step]:.6g}, the baseline's {len(rivals)} runs at "
        f"{sign * known.mean[index]:.6g}, and the gap was not closing",
    )


def gives_up(design: Design, *, baseline: Sequence[float], candidate: Sequence[float], direction: Direction) -> bool:
    """Whether the look at so many candidate runs ends the comparison without a promotion.

    `candidate` holds the ends of finished runs and the lucky ends of doomed ones, in any order.
    """
    here = standing(arm_of(np.array(baseline)), arm_of(np.array(candidate)), lower_is_better=direction is Direction.MIN)
    return step_of(design, design.looks.index(len(candidate)), float(here.p)) is Step.GIVE_UP
