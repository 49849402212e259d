"""The space that a sampler sees, and the way back from a point of it to a change that may be proposed.

A sampler sees every knob over its whole range, at positions from 0 to 1, so that each past run stands where it ran.
What it answers lies anywhere. To become a proposal it is brought near: each knob goes toward the point as far as one
proposal may take it, and only as many knobs move as the budget allows. Which ones is drawn, and the longer a knob's way
is as a share of its reach, the likelier it is drawn. Taking always the longest would starve the knobs whose way is
short; drawing evenly would waste the budget on knobs that are where they should be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from pilothouse.canonical import Json
from pilothouse.knobs.knob import Knob, Scalar
from pilothouse.proposals.draws import Draws
from pilothouse.proposals.reach import Reach, alternatives, is_number, is_numeric, movable, position, reach_of, start_of
from pilothouse.proposals.search import Search

Point: TypeAlias = dict[str, float | int]
"""By knob: the position of a number, or the place of a choice among the knob's values."""

CHOICE_WEIGHT = 0.5
"""The way of a knob that is switched, where the way of a number is from 0 to 1: a switch has no length."""

LEAST_WEIGHT = 1e-6


@dataclass(frozen=True)
class Space:
    """The knobs that can move from the search's parent."""

    search: Search

    @cached_property
    def reaches(self) -> dict[str, Reach]:
        """Return how far each number can go."""
        found = {name: reach_of(knob, self.search.parent) for name, knob in self._knobs(numeric=True).items()}
        return {name: reach for name, reach in found.items() if reach is not None and reach.is_open()}

    @cached_property
    def choices(self) -> dict[str, tuple[Scalar, ...]]:
        """Return all values of each knob without distances."""
        found = {name: values_of(knob) for name, knob in self._knobs(numeric=False).items()}
        return {name: values for name, values in found.items() if len(values) > 1}

    def point_of(self, config: Mapping[str, Json]) -> Point | None:
        """Return where a config lies, or None where one of its values has no place here."""
        point: Point = {}
        for name in self.reaches:
            value = start_of(self.search.knobs[name], config)
            if not is_number(value):
                return None
            point[name] = position(self.search.knobs[name], value)
        for name, values in self.choices.items():
            chosen = start_of(self.search.knobs[name], config)
            places = [place for place, value in enumerate(values) if type(value) is type(chosen) and value == chosen]
            if not places:
                return None
            point[name] = places[0]
        return point

    def change_toward(self, point: Mapping[str, float | int], draws: Draws) -> dict[str, Json]:
        """Return overrides that take the parent toward the point, with as many knobs as the budget allows."""
        values: dict[str, Json] = {}
        keys: dict[str, float] = {}
        for name, reach in self.reaches.items():
            low, start, high = reach.places()
            near = min(max(float(point[name]), low), high)
            values[name] = reach.at(near)
            keys[name] = _key(draws, abs(near - start) / max(high - low, LEAST_WEIGHT))
        for name, options in self.choices.items():
            values[name] = options[int(point[name])]
            moves = values[name] in alternatives(self.search.knobs[name], self.search.parent)
            keys[name] = _key(draws, CHOICE_WEIGHT if moves else 0.0)
        chosen = sorted(keys, key=lambda name: -keys[name])[: self.search.budget.maximum]
        return {name: values[name] for name in chosen}

    def _knobs(self, *, numeric: bool) -> dict[str, Knob]:
        return {knob.name: knob for knob in movable(self.search.knobs) if is_numeric(knob) is numeric}


def values_of(knob: Knob) -> tuple[Scalar, ...]:
    """Return every value of a knob without distances, in an order that never changes."""
    return knob.choices or (False, True)


def _key(draws: Draws, weight: float) -> float:
    """Return a draw whose order over several items draws without replacement by weight (Efraimidis and Spirakis)."""
    return math.log(max(draws.fraction(), LEAST_WEIGHT)) / max(weight, LEAST_WEIGHT)
