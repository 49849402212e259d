"""Read a metric's curve out of the metrics file that a run has left."""

from __future__ import annotations

import json
import math
from pathlib import Path

from pilothouse.fleet.wire import number_from_json
from pilothouse.trainer.folder import METRICS_FILE

CURVE = "metrics"
"""The artifact under which a run's metrics file is kept."""


def read_curve(folder: Path, *, metric: str) -> dict[int, float]:
    """Return the metric by step, of the lines that have both; a line that is torn or foreign is passed over."""
    curve: dict[int, float] = {}
    with (folder / METRICS_FILE).open("rb") as lines:
        for line in lines:
            try:
                values = json.loads(line)
            except ValueError:
                continue
            step = values.get("step") if isinstance(values, dict) else None
            value = number_from_json(values.get(metric)) if isinstance(values, dict) else None
            if isinstance(step, int) and not isinstance(step, bool) and value is not None and math.isfinite(value):
                curve[step] = value
    return curve
