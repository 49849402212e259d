"""Proposals by chance: so many knobs as the budget allows, each somewhere in its reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pilothouse.canonical import Json
from pilothouse.knobs.knob import Knob
from pilothouse.proposals.choosing import Overrides, choose, suggest
from pilothouse.proposals.draws import Draws
from pilothouse.proposals.reach import alternatives, is_numeric, movable, reach_of
from pilothouse.proposals.search import Search, Suggestion

ATTEMPTS = 200
"""How many changes are drawn before it says that nothing is left; a search of few settings may end a little early."""


@dataclass(frozen=True, slots=True)
class RandomSearch:
    """Moves knobs at random, inside their ranges and steps; the plainest rival of every other source."""

    name: str = "random"

    def propose(self, search: Search) -> Suggestion | None:
        """Return a change that was never tried, or None where no draw finds one."""
        choice = choose(search, random_moves(search, ATTEMPTS))
        if choice is None:
            return None
        return suggest(search, choice, source=self.name, rationale="drawn at random within range and largest step")


def random_moves(search: Search, count: int) -> Iterator[Overrides]:
    """Return so many random changes; some may break what a draft is held to."""
    draws = Draws(search.seed, "random search")
    knobs = movable(search.knobs)
    most = min(search.budget.maximum, len(knobs))
    least = min(max(search.budget.minimum, 1), most)
    if most == 0:
        return
    for _ in range(count):
        moved = draws.sample(knobs, least + draws.below(most - least + 1))
        yield random_values(search, moved, draws)


def random_values(search: Search, moved: Sequence[Knob], draws: Draws) -> dict[str, Json]:
    """Return another value for each of the knobs, drawn evenly on its scale; one that cannot move is left out."""
    values: dict[str, Json] = {}
    for knob in moved:
        if not is_numeric(knob):
            values.update((knob.name, value) for value in draws.sample(alternatives(knob, search.parent), 1))
            continue
        reach = reach_of(knob, search.parent)
        if reach is not None and reach.is_open():
            low, _, high = reach.places()
            values[knob.name] = reach.at(draws.between(low, high))
    return values
