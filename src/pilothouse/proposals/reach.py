"""How far one proposal may take a knob: its range, and its largest step from where the parent stands.

A knob's value has a position between 0 and 1 on the knob's own scale, so that moves of different knobs compare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from pilothouse.canonical import Json
from pilothouse.knobs.knob import STEP_TOLERANCE, Knob, KnobScale, KnobType, Scalar, is_seed

NUMERIC = frozenset({KnobType.FLOAT, KnobType.INT})

LOG_MAX = 709.0
"""Below the logarithm of the largest float, so that its exponential is one too."""

DIGITS = (2, 3, 4, 6, 9, 12)
"""How many digits a proposed float may have, the fewest first."""

ROUNDED_WITHIN = 1 / 100
"""How much of the reach a rounding to fewer digits may move a value: people read configs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The values of a number knob that one proposal may take: `low` to `high`, seen from `start`."""

    knob: Knob
    start: int | float
    low: int | float
    high: int | float

    def is_open(self) -> bool:
        """Whether there is anywhere to go."""
        return self.low < self.high

    def at(self, place: float) -> int | float:
        """Return the allowed value at a position, or nearest to it."""
        value = min(max(value_at(self.knob, place), self.low), self.high)
        if isinstance(value, int):
            return value
        width = self.high - self.low
        for digits in DIGITS:
            rounded = float(f"{value:.{digits}g}")
            if self.low <= rounded <= self.high and abs(rounded - value) <= ROUNDED_WITHIN * width:
                return rounded
        return value

    def places(self) -> tuple[float, float, float]:
        """Return the positions of low, start and high."""
        return position(self.knob, self.low), position(self.knob, self.start), position(self.knob, self.high)


def is_numeric(knob: Knob) -> bool:
    """Whether the knob's values are numbers, which have distances."""
    return knob.type in NUMERIC


def is_number(value: Json) -> TypeGuard[int | float]:
    """Whether a value is a number that can be compared."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, float) and not math.isnan(value))


def movable(knobs: Mapping[str, Knob]) -> list[Knob]:
    """Return the knobs that a search may move, by name: all but seeds, whose luck would be taken for a gain."""
    return [knobs[name] for name in sorted(knobs) if not is_seed(name)]


def start_of(knob: Knob, parent: Mapping[str, Json]) -> Json:
    """Return where the knob stands: a knob that the parent does not know yet enters with its default."""
    return parent.get(knob.name, knob.default)


def reach_of(knob: Knob, parent: Mapping[str, Json]) -> Reach | None:
    """Return what one proposal may reach from the parent, or None where the parent stands outside the range."""
    low, high = bounds(knob)
    start = start_of(knob, parent)
    if not is_number(start) or not low <= start <= high:
        return None
    below, above = _stepped(knob, start)
    if knob.type is KnobType.INT:
        return Reach(knob=knob, start=start, low=math.ceil(max(low, below)), high=math.floor(min(high, above)))
    return Reach(knob=knob, start=start, low=max(float(low), below), high=min(float(high), above))


def position(knob: Knob, value: float) -> float:
    """Return where a number stands between the knob's minimum, at 0, and its maximum, at 1, on the knob's scale."""
    low, high = bounds(knob)
    if low == high:
        return 0.0
    inside = min(max(value, low), high)
    if knob.scale is KnobScale.LOG:
        return (math.log(inside) - math.log(low)) / (math.log(high) - math.log(low))
    return (inside / 2 - low / 2) / (high / 2 - low / 2)  # halves: a whole range may be longer than any float


def value_at(knob: Knob, place: float) -> int | float:
    """Return the value at a position; a whole number for a knob of whole numbers."""
    low, high = bounds(knob)
    inside = min(max(place, 0.0), 1.0)
    if knob.scale is KnobScale.LOG:
        exact = math.exp(min(math.log(low) * (1 - inside) + math.log(high) * inside, LOG_MAX))
    else:
        exact = low * (1 - inside) + high * inside
    if knob.type is KnobType.INT:
        return min(max(round(exact), int(low)), int(high))
    return min(max(exact, float(low)), float(high)) + 0.0


def bounds(knob: Knob) -> tuple[int | float, int | float]:
    """Return the range of a number knob."""
    assert knob.minimum is not None, f"{knob.name} was made without a range"
    assert knob.maximum is not None, f"{knob.name} was made without a range"
    return knob.minimum, knob.maximum


def alternatives(knob: Knob, parent: Mapping[str, Json]) -> tuple[Scalar, ...]:
    """Return the other values of a knob whose values have no distance."""
    start = start_of(knob, parent)
    every: tuple[Scalar, ...] = (False, True) if knob.type is KnobType.BOOL else knob.choices
    return tuple(value for value in every if not (type(value) is type(start) and value == start))


def _stepped(knob: Knob, start: float) -> tuple[float, float]:
    """Return the ends of the largest step, which may lie outside the range."""
    if knob.max_step is None:
        return -math.inf, math.inf
    # A whole number has the slack that the step's own check has; a float keeps clear of it.
    step = knob.max_step * (1 + STEP_TOLERANCE) if knob.type is KnobType.INT else float(knob.max_step)
    if knob.scale is KnobScale.LINEAR:
        return start - step, start + step
    return start / step, start * step
