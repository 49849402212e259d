"""One knob at a time, then the best ones together: the rule of patient people.

A round takes every knob a bounded step up and down from the parent, and every choice once. Then the moves that looked
best by themselves are joined, because knobs interact. The next round halves the step. Moves that have gained before
come first and moves that have lost come last, so the sweep goes on in a promoted direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from pilothouse.canonical import Json
from pilothouse.knobs.knob import Knob
from pilothouse.proposals.choosing import Overrides, choose, key_of, parent_of, suggest
from pilothouse.proposals.reach import Reach, alternatives, is_numeric, movable, reach_of
from pilothouse.proposals.search import Search, Suggestion, Tried

STEPS = (1.0, 0.5, 0.25)
"""The share of the largest step that each round takes."""

WIDEST = 0.25
"""The share of the range that counts as the largest step of a knob that states none."""

JOINED_FROM = 4
"""How many of the best single moves of a round are joined with each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One knob to one value; `direction` is `up`, `down`, or the value that it is switched to."""

    knob: str
    value: Json
    direction: str


@dataclass(frozen=True, slots=True)
class OneAxis:
    """Sweeps the knobs one by one around the parent, and joins what looked best."""

    name: str = "one-axis"

    def propose(self, search: Search) -> Suggestion | None:
        """Return the first change of the sweep that was never tried, or None at its end."""
        records = gains_of(search.history)
        choice = choose(search, sweep(search, records))
        if choice is None:
            return None
        moved = [change.knob for change in choice.drafted.changes]
        rationale = (
            f"one step of {moved[0]} alone, so that what follows has one cause"
            if len(moved) == 1
            else f"{' and '.join(moved)} together: they looked best one by one from this parent"
        )
        return suggest(search, choice, source=self.name, rationale=rationale)


def sweep(search: Search, records: Mapping[tuple[str, str], float]) -> Iterator[Overrides]:
    """Return the changes of all rounds in their order, each as overrides."""
    for place, step in enumerate(STEPS):
        moves = [move for knob in movable(search.knobs) for move in moves_of(search, knob, step, first=place == 0)]
        ordered = sorted(moves, key=lambda move: -records.get((move.knob, move.direction), 0.0))
        yield from ({move.knob: move.value} for move in ordered)
        yield from joined(search, moves)


def moves_of(search: Search, knob: Knob, step: float, *, first: bool) -> Iterator[Move]:
    """Return the moves of one knob in one round; values without distance are tried in the first round only."""
    if not is_numeric(knob):
        if first:
            for value in alternatives(knob, search.parent):
                yield Move(knob=knob.name, value=value, direction=repr(value))
        return
    reach = reach_of(knob, search.parent)
    if reach is None:
        return
    for direction, value in (("up", _stepped(reach, step, up=True)), ("down", _stepped(reach, step, up=False))):
        if value != reach.start:
            yield Move(knob=knob.name, value=value, direction=direction)


def joined(search: Search, moves: Sequence[Move]) -> Iterator[Overrides]:
    """Return the round's best single moves joined with each other, the most promising first."""
    size = max(2, search.budget.minimum)
    if size > search.budget.maximum:
        return
    gains = single_gains(search)
    known = [(gains[_name(move)], move) for move in moves if _name(move) in gains]
    # A budget that allows no single move leaves nothing known: then all moves are equal.
    ranked = sorted(known or [(0.0, move) for move in moves], key=lambda pair: -pair[0])
    best: dict[str, tuple[float, Move]] = {}
    for gain, move in ranked:
        best.setdefault(move.knob, (gain, move))
    top = list(best.values())[: max(JOINED_FROM, size)]
    pairs = sorted(combinations(top, size), key=lambda pair: -sum(gain for gain, _ in pair))
    yield from ({move.knob: move.value for _, move in pair} for pair in pairs)


def single_gains(search: Search) -> dict[tuple[str, str], float]:
    """Return the gain of every single move that ran from this parent, by knob and value."""
    here = key_of(search.knobs, search.parent)
    return {
        (tried.changes[0].knob, repr(tried.changes[0].after)): tried.gain
        for tried in search.history
        if len(tried.changes) == 1 and tried.gain is not None and not tried.failure
        if key_of(search.knobs, parent_of(tried)) == here
    }


def gains_of(history: Sequence[Tried]) -> dict[tuple[str, str], float]:
    """Return the mean gain of each knob and direction over the whole history; a failure counts as the worst loss."""
    worst = min((tried.gain for tried in history if tried.gain is not None), default=0.0)
    found: dict[tuple[str, str], list[float]] = {}
    for tried in history:
        gain = min(worst, 0.0) if tried.failure else tried.gain
        if gain is not None:
            for change in tried.changes:
                key = (change.knob, direction_of(change.before, change.after))
                found.setdefault(key, []).append(gain / len(tried.changes))
    return {key: sum(gains) / len(gains) for key, gains in found.items()}


def direction_of(before: Json, after: Json) -> str:
    """Return `up` or `down` for a number that moves, and the new value itself for anything else."""
    if isinstance(before, int | float) and isinstance(after, int | float) and not isinstance(after, bool):
        return "up" if after > before else "down"
    return repr(after)


def _stepped(reach: Reach, step: float, *, up: bool) -> int | float:
    """Return the value a share of the largest step away; a whole number moves by one at least."""
    low, start, high = reach.places()
    if reach.knob.max_step is None:
        low, high = max(low, start - WIDEST), min(high, start + WIDEST)
    value = reach.at(start + step * ((high if up else low) - start))
    if value == reach.start and isinstance(value, int):
        return min(value + 1, int(reach.high)) if up else max(value - 1, int(reach.low))
    return value


def _name(move: Move) -> tuple[str, str]:
    return move.knob, repr(move.value)
