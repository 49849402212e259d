"""Proposals by a model of the past runs: of all changes within reach, the one that is expected to improve the most.

Other samplers look for a good point anywhere, which then has to be brought near. This one looks only at what may be
proposed, a step within the largest, of no more knobs than the budget allows, and weighs each by its expected
improvement on the best that is known. It needs neither Optuna nor torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from pilothouse.canonical import Json
from pilothouse.evidence.verdict import Direction
from pilothouse.proposals.choosing import Overrides, choose, key_of, suggest
from pilothouse.proposals.draws import Draws
from pilothouse.proposals.feasibility import failed_by_itself, ran
from pilothouse.proposals.random_search import ATTEMPTS, random_moves
from pilothouse.proposals.search import Search, Suggestion, Tried
from pilothouse.propose.space import Point, Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pilothouse.propose.gaussian import Floats

RUNS_MAX = 300
"""How many of the newest runs the model is made of: its time grows with their cube."""

CHANGES = 1000
"""How many changes are weighed at first."""

FULL_SHARE = 0.7
"""The share of them that moves as many knobs as the budget allows; the others move as few."""

FINER = (0.15, 0.06, 0.02)
"""The spread, as a share of the reach, of the rounds that look around the best changes so far."""

BEST, AROUND = 20, 15
"""How many of the best changes each round looks around, and at how many places."""

OFFERED = 300
"""How many of the changes are offered, the best first: some may be tried already, or held back."""


VALUE_MAX = 1e150
"""Beyond it the difference of two values might be no number."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A config that ran: where it lies, its value (lower is better), and over how many runs that is the mean."""

    point: Point
    value: float
    runs: int


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Models what ran by a Gaussian process, and takes the most promising change."""

    name: str = "surrogate"

    def propose(self, search: Search) -> Suggestion | None:
        """Return the most promising change, one by chance while nothing ran, or None where nothing is left."""
        space = Space(search)
        seen = _seen(search, space)
        modelled = _promising(space, seen) if seen and (space.reaches or space.choices) else iter(())
        choice = choose(search, chain(modelled, random_moves(search, ATTEMPTS)))
        if choice is None:
            return None
        rationale = f"the most promising change within reach by a model of {len(seen)} configs that ran"
        return suggest(search, choice, source=self.name, rationale=rationale)


@dataclass(frozen=True)
class _Field:
    """The changes within reach, as rows of positions: where the parent is, and how far each knob goes from there.

    `options` is how many values a choice has, and 0 for a number.
    """

    space: Space
    names: tuple[str, ...]
    start: Floats
    low: Floats
    high: Floats
    options: NDArray[np.int_]

    def overrides(self, place: Floats, moved: NDArray[np.bool_]) -> dict[str, Json]:
        """Return one change as overrides."""
        found: dict[str, Json] = {}
        for index in moved.nonzero()[0]:
            name, at = self.names[index], float(place[index])
            found[name] = self.space.choices[name][int(at)] if self.options[index] else self.space.reaches[name].at(at)
        return found


def _seen(search: Search, space: Space) -> list[Seen]:
    """Return what ran, and what failed by itself as no better than the worst that ran."""
    sign = 1.0 if search.direction is Direction.MIN else -1.0
    baseline = Tried(
        number=0, source="", config=search.parent, changes=(), outcome=None, value=search.value, runs=search.runs
    )
    # A parent that was proposed once stands in the history as well, and would be seen twice.
    here = key_of(search.knobs, search.parent)
    past = (tried for tried in search.history[-RUNS_MAX:] if key_of(search.knobs, tried.config) != here)
    history = [baseline, *past]
    worst = max((sign * tried.value for tried in history if ran(tried) and tried.value is not None), default=None)
    found = []
    for tried in history:
        point = space.point_of(tried.config)
        if point is None or worst is None or not (ran(tried) or failed_by_itself(tried)):
            continue
        value = sign * tried.value if ran(tried) and tried.value is not None else worst
        found.append(Seen(point=point, value=value, runs=max(tried.runs, 1)))
    return found


def _promising(space: Space, seen: list[Seen]) -> Iterator[Overrides]:
    """Return changes by their expected improvement, the best first."""
    import numpy as np  # noqa: PLC0415  scipy and numpy load where they are asked

    from pilothouse.propose.gaussian import learn, log_improvement  # noqa: PLC0415  as above

    field = _field(space)
    rng = np.random.default_rng(Draws(space.search.seed, "surrogate").below(2**32))
    places = np.array([[each.point[name] for name in field.names] for each in seen], dtype=np.float64)
    runs = np.array([each.runs for each in seen], dtype=np.float64)
    process = learn(places, _worth(seen), runs.mean() / runs, field.options > 0)
    best = float(process.expect(places)[0].min())
    rows, moved = _anywhere(field, rng)
    scores = log_improvement(*process.expect(rows), best)
    for spread in FINER:
        top = np.argsort(-scores, kind="stable")[:BEST].repeat(AROUND)
        near = _around(field, rng, rows[top], moved[top], spread)
        rows, moved = np.vstack([rows, near]), np.vstack([moved, moved[top]])
        scores = np.append(scores, log_improvement(*process.expect(near), best))
    for index in np.argsort(-scores, kind="stable")[:OFFERED]:
        yield field.overrides(rows[index], moved[index])


def _field(space: Space) -> _Field:
    import numpy as np  # noqa: PLC0415  as in _promising

    ends = {name: reach.places() for name, reach in space.reaches.items()}
    parent = space.point_of(space.search.parent) or {}
    for name, values in space.choices.items():
        here = float(parent.get(name, 0))
        ends[name] = (0.0, here, float(len(values) - 1))
    names = tuple(ends)
    low, start, high = (np.array([ends[name][side] for name in names], dtype=np.float64) for side in range(3))
    options = np.array([len(space.choices.get(name, ())) for name in names], dtype=np.int_)
    return _Field(space=space, names=names, start=start, low=low, high=high, options=options)


def _worth(seen: list[Seen]) -> Floats:
    """Return the values on a scale that is even around the parent and compressed far away, with mean 0 and spread 1.

    A config that ran away by orders of magnitude would otherwise flatten everything else.
    """
    import numpy as np  # noqa: PLC0415  as in _promising

    values = np.clip(np.array([each.value for each in seen], dtype=np.float64), -VALUE_MAX, VALUE_MAX)
    apart = values - values[0]
    unit = float(np.median(np.abs(apart))) or float(np.max(np.abs(apart))) or 1.0
    bent = np.arcsinh(apart / unit)
    return np.asarray((bent - bent.mean()) / (float(bent.std()) or 1.0), dtype=np.float64)


def _anywhere(field: _Field, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
    """Return changes anywhere within reach, and which knobs each of them moves."""
    import numpy as np  # noqa: PLC0415  as in _promising

    budget, knobs = field.space.search.budget, len(field.names)
    most = min(budget.maximum, knobs)
    fewest = min(max(budget.minimum, 1), most)
    counts = np.where(rng.random(CHANGES) < FULL_SHARE, most, fewest)
    ranks = rng.random((CHANGES, knobs)).argsort(axis=1).argsort(axis=1)
    moved = ranks < counts[:, None]
    drawn = rng.uniform(field.low, field.high, (CHANGES, knobs))
    others = (field.start + rng.integers(1, np.maximum(field.options, 2), (CHANGES, knobs))) % np.maximum(
        field.options, 1
    )
    drawn = np.where(field.options > 0, others, drawn)
    return np.where(moved, drawn, field.start), moved


def _around(field: _Field, rng: np.random.Generator, rows: Floats, moved: NDArray[np.bool_], spread: float) -> Floats:
    """Return places near the rows: the numbers that move there move a little otherwise."""
    import numpy as np  # noqa: PLC0415  as in _promising

    shaken = rows + rng.normal(size=rows.shape) * (field.high - field.low) * spread
    near = np.clip(shaken, field.low, field.high)
    return np.where(moved & (field.options == 0), near, rows)
