"""What is near a change that breaks an invariant, and might keep it: another whole number for one of its knobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.knobs.expression import DIVIDES, Expression, Name, Operation, sides
from pilothouse.knobs.invariant import derive
from pilothouse.knobs.knob import KnobType
from pilothouse.proposals.reach import reach_of
from pilothouse.proposals.search import Search

NEAR = 32
"""How far above and below a whole number a mend looks at every number."""

DIVISORS_UP_TO = 2048
"""The largest divisor that is looked for; the rest of the division is a divisor too."""


def mended(search: Search, overrides: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    """Return the overrides with one whole number of them set otherwise, the nearest first.

    None of them is checked: the draft does that.
    """
    named = {name for each in search.invariants for name in _knobs_in(search, each.expression.names)}
    for name, value in overrides.items():
        knob = search.knobs.get(name)
        if knob is None or name not in named or knob.type is not KnobType.INT or not isinstance(value, int):
            continue
        reach = reach_of(knob, search.parent)
        if reach is None:
            continue
        fitting = {*_around(value), *_fitting(search, overrides, name, value)} - {value, reach.start}
        for each in sorted(fitting, key=lambda near: (abs(near - value), near)):
            if reach.low <= each <= reach.high:
                yield {**overrides, name: each}


def _knobs_in(search: Search, names: Iterable[str]) -> Iterator[str]:
    """Return the knobs behind the names: those that a derived value is made of stand for it."""
    for name in names:
        if name in search.derived:
            yield from _knobs_in(search, search.derived[name].names)
        else:
            yield name


def _around(value: int) -> set[int]:
    """Return the whole numbers nearby, and the round ones that programs like: 2ⁿ and 3 · 2ⁿ."""
    power = max(abs(value), 1).bit_length()
    round_ones = {base << each for each in range(max(0, power - 3), power + 2) for base in (1, 3)}
    return set(range(value - NEAR, value + NEAR + 1)) | round_ones


def _fitting(search: Search, overrides: Mapping[str, Json], name: str, value: int) -> set[int]:
    """Return what a division wants of this knob, where it stands alone on one side of it."""
    found: set[int] = set()
    for each in search.invariants:
        root = each.expression.root
        if isinstance(root, Operation) and root.sign == DIVIDES:
            part, whole = _sides(search, overrides, each.expression)
            if root.left == Name(name):
                found |= _divisors(abs(whole))
            if root.right == Name(name) and part:
                found |= {(value // part + step) * part for step in (-1, 0, 1, 2)}
    return found


def _sides(search: Search, overrides: Mapping[str, Json], condition: Expression) -> tuple[int, int]:
    """Return both sides of a division, or zeros where they are no whole numbers."""
    try:
        _, left, right = sides(condition, derive({**search.parent, **overrides}, search.derived))
    except BadValue:
        return 0, 0
    return (left, right) if isinstance(left, int) and isinstance(right, int) else (0, 0)


def _divisors(whole: int) -> set[int]:
    small = {each for each in range(1, min(whole, DIVISORS_UP_TO) + 1) if whole % each == 0}
    return small | {whole // each for each in small}
