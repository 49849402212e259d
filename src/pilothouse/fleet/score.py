"""How well a job and a factory suit each other now: seven named terms that sum to one number.

    capability   how closely the machine fits                            weight * fit
    affinity     it ran this before, and has the engine that is liked    weight * mean of the two
    load         it is free                                              weight * (1 - load)
    cost         the job's budget affords its price                      weight * usd / (usd + usd per hour)
    health       its attempts end well                                   weight * health
    age          relief for waiting, without bound                       weight * minutes
    priority     how urgent the job is                                   weight * steps above low

Age is linear and has no ceiling, so whatever waits overtakes every stream of more urgent work in the end: with the
default weights, ten minutes of waiting are one step of priority. And because every waiting job gains by the same rate,
the order of two jobs that differ in priority and age alone never changes with time: `static_order` is that order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.fleet.job import Priority
from pilothouse.knobs.config import nearest

WEIGHT_MAX = 1e6
"""Above it, one term would swallow the others' digits."""

_RANKS = {priority: priority.rank for priority in Priority}
_STEPS = {priority: Priority.LOW.rank - rank for priority, rank in _RANKS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each term counts: `age` per minute of waiting, `priority` per step, the others for a value of 1."""

    capability: float = 5.0
    affinity: float = 3.0
    load: float = 4.0
    cost: float = 2.0
    health: float = 4.0
    age: float = 1.0
    priority: float = 10.0

    def as_json(self) -> dict[str, Json]:
        """Return the weights by name."""
        return {name: getattr(self, name) for name in WEIGHTS}

    def as_numbers(self) -> tuple[float, ...]:
        """Return the weights in the order of their names in `WEIGHTS`."""
        return tuple(getattr(self, name) for name in WEIGHTS)


WEIGHTS = tuple(field.name for field in fields(Weights))
DEFAULT = Weights()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """What of a job the score looks at; `usd` is what it may spend, None is unknown, which is never zero."""

    priority: Priority
    age_seconds: float
    fit: float = 1.0
    engine_match: bool = False
    usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoryFacts:
    """What of a factory the score looks at. `load` and `health` go from 0 to 1; an unknown price is None.

    `familiar` tells that it has run work of this product, or of this campaign, before.
    """

    load: float = 0.0
    health: float = 1.0
    usd_per_hour: float | None = None
    familiar: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """The terms by name, and their sum."""

    terms: Mapping[str, float]

    @property
    def total(self) -> float:
        """The correctly rounded sum of the terms, in whatever order they stand."""
        return math.fsum(self.terms.values())

    def as_json(self) -> dict[str, Json]:
        """Return the total and its breakdown."""
        return {"total": self.total, "terms": dict(self.terms)}


def score(job: JobFacts, factory: FactoryFacts, weights: Weights = DEFAULT) -> Score:
    """Return how well the two suit each other."""
    assert 0.0 <= job.fit <= 1.0, f"a fit goes from 0 to 1, got {job.fit}"
    assert job.age_seconds >= 0.0, f"nothing is younger than now, got {job.age_seconds} s"
    assert 0.0 <= factory.load <= 1.0, f"load goes from 0 to 1, got {factory.load}"
    assert 0.0 <= factory.health <= 1.0, f"health goes from 0 to 1, got {factory.health}"
    return Score(
        {
            "capability": weights.capability * job.fit,
            "affinity": weights.affinity * (factory.familiar + job.engine_match) / 2,
            "load": weights.load * (1.0 - factory.load),
            "cost": weights.cost * cost_fit(usd=job.usd, usd_per_hour=factory.usd_per_hour),
            "health": weights.health * factory.health,
            "age": weights.age * job.age_seconds / 60.0,
            "priority": weights.priority * _STEPS[job.priority],
        }
    )


def cost_fit(*, usd: float | None, usd_per_hour: float | None) -> float:
    """Return how well a budget affords a price: 1 for a machine that costs nothing, 0 for an unknown price.

    A large budget goes easily to a dear machine, a small one only to a cheap one. A job without a budget counts as one
    with a single dollar.
    """
    if usd_per_hour is None:
        return 0.0
    if usd_per_hour <= 0.0:
        return 1.0
    budget = 1.0 if usd is None else usd
    return 0.0 if budget <= 0.0 else 1.0 / (1.0 + usd_per_hour / budget)


def precedence(job: JobFacts, total: float) -> tuple[float, int, float, float]:
    """Return the key by which candidates for one factory are sorted, the best first.

    Ties go to the more urgent, then to the older, then to the cheaper; unknown cost is the dearest.
    """
    return (-total, _RANKS[job.priority], -job.age_seconds, math.inf if job.usd is None else job.usd)


def static_order(priority: Priority, created_us: int, weights: Weights = DEFAULT) -> tuple[float, int, int]:
    """Return the key by which jobs of one shape are sorted for ever, the first to be served first.

    All other terms are the same for jobs of one shape, so `score` has them in this order whenever it is asked.
    `created_us` is in microseconds since 1970.
    """
    return (weights.age * (created_us / 60e6) - weights.priority * _STEPS[priority], _RANKS[priority], created_us)


def overtaken_after_seconds(waiting: Priority, stream: Priority, weights: Weights = DEFAULT) -> float:
    """Return how long a job of one priority waits at most until every new one of the other comes after it.

    Infinite where nothing is gained by waiting.
    """
    steps = _STEPS[stream] - _STEPS[waiting]
    if steps <= 0 or weights.priority == 0.0:
        return 0.0
    return math.inf if weights.age == 0.0 else 60.0 * steps * weights.priority / weights.age


def merge(default: Weights, product: Mapping[str, Json], request: Mapping[str, Json]) -> Weights:
    """Return the weights of a request: each one from the request, or else the product's, or else the default."""
    return replace(default, **{**_checked("product", product), **_checked("request", request)})


def _checked(layer: str, changes: Mapping[str, Json]) -> dict[str, float]:
    return {name: _weight(f"{layer} weights", name, value) for name, value in changes.items()}


def _weight(layer: str, name: str, value: Json) -> float:
    if name not in WEIGHTS:
        close = nearest(name, WEIGHTS)
        hint = f"did you mean {close}? " if close else ""
        raise BadValue(f"{layer}: there is no weight {name!r}.", fix=f"{hint}The weights are {', '.join(WEIGHTS)}.")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= WEIGHT_MAX:
        raise BadValue(f"{layer}: {name} is {value!r}.", fix=f"give a number from 0 to {WEIGHT_MAX:g}.")
    return float(value)
