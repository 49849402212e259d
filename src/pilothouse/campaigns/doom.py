"""Whether a candidate's run has any chance left, by its curve so far and the curves of the baseline's runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pilothouse.evidence.doomed import CURVES_LEAST, doomed_at, predictor
from pilothouse.evidence.verdict import Direction

Curve = Mapping[int, float]
"""A metric by step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished run of the baseline: its curve, and the value that it ended with."""

    curve: Curve
    final: float


def doom_of(baseline: Sequence[Finished], seen: Curve, *, total: int, direction: Direction) -> str:
    """Return why the run is doomed, in words; empty while it has a chance, or where too little is known.

    `total` is the run's last step. Only steps that every curve has are looked at, and of the baseline only runs whose
    curve holds all of them: a run that logs seldom is judged seldom.
    """
    steps = sorted(step for step in seen if step < total)
    rivals = [run for run in baseline if all(step in run.curve for step in steps)]
    if not steps or len(rivals) < CURVES_LEAST:
        return ""
    sign = 1.0 if direction is Direction.MIN else -1.0
    curves = np.array([[sign * run.curve[step] for step in steps] + [sign * run.final] for run in rivals])
    known = predictor(curves, np.array([*steps, total], dtype=np.float64))
    index = doomed_at(known, np.array([sign * seen[step] for step in steps]))
    if index is None:
        return ""
    step = steps[index]
    return (
        f"at step {step} of {total} it stood at {seen[step]:.6g}, the baseline's {len(rivals)} runs at "
        f"{sign * known.mean[index]:.6g}, and the gap was not closing"
    )
