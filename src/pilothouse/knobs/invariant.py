"""What must hold between knobs, and what follows from them: rules of a campaign that single ranges cannot say.

A derived value is worked out from the config and never set. It is recomputed whenever the config changes, so no two
places ever disagree about it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.knobs.expression import DIVIDES, Expression, Number, Operation, holds, parse, sides, spell, value_of

RULES_MAX = 100
"""How many invariants, and how many derived values, one campaign may declare."""

WANTED = {
    "<": "less than",
    "<=": "at most",
    ">": "more than",
    ">=": "at least",
    "==": "equal to",
    "!=": "different from",
    DIVIDES: "a divisor of",
}

MENDS_WITHIN = 10_000
"""How far from the value a divisor is looked for, to be offered in a refusal."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """A condition that every config of the campaign keeps, such as `minibatch_size divides batch_size`."""

    expression: Expression


def read_invariants(texts: Iterable[str]) -> tuple[Invariant, ...]:
    """Return the invariants that the texts spell; a text that is no condition raises `BadValue`."""
    found = tuple(Invariant(parse(text)) for text in texts)
    for each in found:
        if not each.expression.is_condition():
            raise BadValue(
                f"the invariant {each.expression.text!r} is a value, not a condition",
                fix="compare two sides, such as `low <= high`, or write `a divides b`",
            )
    _refuse_many(len(found), "invariants")
    return found


def read_derived(texts: Mapping[str, str], knobs: Collection[str]) -> dict[str, Expression]:
    """Return the expression of each derived value, in an order in which each needs only what stands before it.

    A derived value that is a knob too, a condition, and a circle raise `BadValue`.
    """
    _refuse_many(len(texts), "derived values")
    found = {name: parse(text) for name, text in texts.items()}
    for name, expression in found.items():
        if name in knobs:
            raise BadValue(
                f"{name} is declared as a knob and as a derived value",
                fix=f"keep [knobs.{name}] or derive it, not both",
            )
        if expression.is_condition():
            raise BadValue(
                f"the derived value {name} is {expression.text!r}, a condition", fix="write a sum or a product"
            )
    return _in_order(found)


def derive(config: Mapping[str, Json], derived: Mapping[str, Expression]) -> dict[str, Json]:
    """Return the config with every derived value worked out anew, in the order of the mapping."""
    complete = dict(config)
    for name, expression in derived.items():
        complete[name] = value_of(expression, complete)
    return complete


def refuse_derived(overrides: Iterable[str], derived: Mapping[str, Expression]) -> None:
    """Refuse overrides that set what is worked out."""
    for name in overrides:
        if name in derived:
            parts = ", ".join(derived[name].names)
            fix = f"set {parts} instead" if parts else f"leave {name} out"
            raise BadValue(f"{name} is derived, as {derived[name].text!r}, and cannot be set", fix=fix)


def check_invariants(config: Mapping[str, Json], invariants: Iterable[Invariant]) -> None:
    """Refuse with `BadValue` a config that breaks an invariant, naming the values in it and what would mend it."""
    for each in invariants:
        if holds(each.expression, config):
            continue
        named = ", ".join(f"{name} is {config[name]!r}" for name in each.expression.names)
        values = named or "it names no knob"
        raise BadValue(f"{each.expression.text!r} does not hold: {values}", fix=_mend(each.expression, config))


def _mend(expression: Expression, config: Mapping[str, Json]) -> str:
    sign, left, right = sides(expression, config)
    assert isinstance(expression.root, Operation), "a condition is an operation"
    first, second = spell(expression.root.left), spell(expression.root.right)
    if sign == DIVIDES and isinstance(left, int) and isinstance(right, int):
        multiples = " or ".join(str(value) for value in (right // left * left, (right // left + 1) * left))
        near = " or ".join(_divisors_near(left, right)) or "a divisor of it"
        return f"make {first} {near} while {second} is {right}, or make {second} {multiples} while {first} is {left}"
    return f"make {first}, which is {_shown(left)}, {WANTED[sign]} {second}, which is {_shown(right)}"


def _divisors_near(value: int, whole: int) -> list[str]:
    """Return the next smaller and the next larger number that divides the whole, where there is one at hand."""
    size, span = abs(value), abs(whole)
    below = range(size - 1, max(0, size - MENDS_WITHIN), -1)
    above = range(size + 1, min(span, size + MENDS_WITHIN) + 1)
    found = (next((each for each in side if span % each == 0), None) for side in (below, above))
    return [str(each) for each in found if each is not None]


def _shown(value: Number) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _in_order(derived: Mapping[str, Expression]) -> dict[str, Expression]:
    """Return the derived values so that each comes after those that it names."""
    ordered: dict[str, Expression] = {}
    waiting = dict(derived)
    while waiting:
        ready = [name for name, expression in waiting.items() if not waiting.keys() & set(expression.names)]
        if not ready:
            raise BadValue(
                f"derived values go round in a circle: {', '.join(sorted(waiting))}",
                fix="write one of them by knobs alone",
            )
        for name in ready:
            ordered[name] = waiting.pop(name)
    return ordered


def _refuse_many(count: int, what: str) -> None:
    if count > RULES_MAX:
        raise BadValue(f"{count} {what} are declared, at most {RULES_MAX} are read", fix="declare fewer")
