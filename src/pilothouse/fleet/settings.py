"""What a product may change about its fleet; where it says nothing, everything is as it always was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.fleet.score import DEFAULT, Weights, merge
from pilothouse.knobs.config import nearest

SECONDS_MAX = 86_400.0
"""A day: a job that may not be stopped for longer, or takes longer to stop, is not one that makes room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """How a product's jobs are placed and preempted.

    `weights` are changes to the default weights of the score. A job runs for `min_running_seconds` before it can be
    preempted, and has `stop_grace_seconds` to checkpoint when it is; a job that names its own minimum keeps the longer
    of the two.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    preemption: bool = False
    min_running_seconds: float = 60.0
    stop_grace_seconds: float = 30.0

    def __post_init__(self) -> None:
        merge(DEFAULT, self.weights, {})
        _check_switch("preemption", self.preemption)
        for name in ("min_running_seconds", "stop_grace_seconds"):
            _check_seconds(name, getattr(self, name))

    def weigh(self, request: Mapping[str, Json]) -> Weights:
        """Return the weights of a request: each one from the request, or else the product's, or else the default."""
        return merge(DEFAULT, self.weights, request)

    def as_json(self) -> dict[str, Json]:
        """Return the settings as JSON values."""
        return {
            "weights": dict(self.weights),
            "preemption": self.preemption,
            "min_running_seconds": self.min_running_seconds,
            "stop_grace_seconds": self.stop_grace_seconds,
        }


NAMES = tuple(each.name for each in fields(FleetSettings))


def settings_from_json(value: Json) -> FleetSettings:
    """Return the settings that a table describes; what it leaves out has its default, what is unknown is refused."""
    if not isinstance(value, Mapping):
        raise BadValue(f"fleet settings are {value!r:.80}", fix=f"give a table of {', '.join(NAMES)}")
    for name in value:
        if name not in NAMES:
            close = nearest(name, NAMES)
            hint = f"did you mean {close}? " if close else ""
            raise BadValue(f"fleet settings: there is no {name!r:.80}", fix=f"{hint}they are {', '.join(NAMES)}")
    given: dict[str, Any] = dict(value)
    weights = given.get("weights", {})
    if not isinstance(weights, Mapping):
        raise BadValue(f"fleet settings: weights is {weights!r:.80}", fix="give a table of weights by name")
    return FleetSettings(**given)


def _check_switch(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise BadValue(f"fleet settings: {name} is {value!r:.80}", fix="give true or false")


def _check_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= SECONDS_MAX:
        raise BadValue(
            f"fleet settings: {name} is {value!r:.80}", fix=f"give a number of seconds from 0 to {SECONDS_MAX:g}"
        )
