"""One tunable: its type, its safe range, and how far a single proposal may move it."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, assert_never

from pilothouse.canonical import Json
from pilothouse.errors import BadValue, OutOfRange

Scalar: TypeAlias = bool | int | float | str

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")

STEP_TOLERANCE = 1e-9
"""Relative slack of a step: 3e-5 times 3 is not exactly 9e-5 in binary, and is still the step that was allowed."""


class KnobType(StrEnum):
    """What kind of value a knob takes."""

    FLOAT = "float"
    INT = "int"
    BOOL = "bool"
    CHOICE = "choice"


class KnobScale(StrEnum):
    """How the distance of two values is measured: their difference, or their ratio."""

    LINEAR = "linear"
    LOG = "log"


class KnobRisk(StrEnum):
    """How much moving the knob could break."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """A tunable and its guardrails.

    One that contradicts itself raises `BadValue` when it is made, one whose default lies outside `OutOfRange`.
    `minimum` and `maximum` are inclusive and belong to numbers only. `max_step` is the largest difference from the
    parent on the linear scale, and the largest factor on the logarithmic one; without it any step inside the range
    may be taken. `bucket` groups knobs of one concern.
    """

    name: str
    type: KnobType
    default: Scalar
    minimum: float | int | None = None
    maximum: float | int | None = None
    choices: tuple[Scalar, ...] = ()
    scale: KnobScale = KnobScale.LINEAR
    max_step: float | int | None = None
    bucket: str = "other"
    risk: KnobRisk = KnobRisk.LOW

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise _ill_defined(self, "its name must be a letter followed by letters, digits, '_', '-' or '.'")
        match self.type:
            case KnobType.FLOAT | KnobType.INT:
                _require_numeric(self)
            case KnobType.BOOL | KnobType.CHOICE:
                _require_unordered(self)
            case unknown:
                assert_never(unknown)
        try:
            check(self, self.default)
        except BadValue as refusal:
            raise _ill_defined(self, f"its default is refused by its own rule: {refusal.message}") from None
        except OutOfRange as refusal:
            raise OutOfRange(f"default of {refusal.message}", fix=refusal.fix) from None


def is_seed(name: str) -> bool:
    """Whether a knob of this name is a seed: `seed`, or one that ends in `_seed`."""
    return name == "seed" or name.endswith("_seed")


def check(knob: Knob, value: Json) -> Scalar:
    """Return the canonical value: a float knob's integers become floats, and there is no negative zero.

    A wrong type raises `BadValue` (a boolean is no integer, a float is no integer), a value outside raises
    `OutOfRange`.
    """
    match knob.type:
        case KnobType.FLOAT:
            return _check_float(knob, value)
        case KnobType.INT:
            return _check_int(knob, value)
        case KnobType.BOOL:
            return _check_bool(knob, value)
        case KnobType.CHOICE:
            return _check_choice(knob, value)
        case unknown:
            assert_never(unknown)


def check_step(knob: Knob, parent: Json, child: Json) -> None:
    """Refuse with `OutOfRange` a move from the parent's value that is larger than the knob's largest step."""
    if knob.max_step is None or parent == child:
        return
    before, after = _number(knob, parent), _number(knob, child)
    match knob.scale:
        case KnobScale.LINEAR:
            size = abs(after - before)
            allowed = f"at most {knob.max_step:g} up or down"
        case KnobScale.LOG:
            if before <= 0 or after <= 0:
                raise _too_far(knob, before, after, "a ratio needs both values above 0")
            size = max(after / before, before / after)
            allowed = f"at most a factor of {knob.max_step:g}"
        case unknown:
            assert_never(unknown)
    if size > knob.max_step * (1 + STEP_TOLERANCE):
        raise _too_far(knob, before, after, allowed)


def _require_numeric(knob: Knob) -> None:
    low, high, step = knob.minimum, knob.maximum, knob.max_step
    if low is None or high is None:
        raise _ill_defined(knob, "a number needs min and max: they are its safe range")
    for side, bound in (("min", low), ("max", high)):
        if knob.type is KnobType.INT and not _is_int(bound):
            raise _ill_defined(knob, f"{side} is {bound!r}, and an int knob needs an int there")
        if not _is_finite(bound):
            raise _ill_defined(knob, f"{side} is {bound!r}, and a range needs finite numbers")
        if abs(bound) > sys.float_info.max:
            raise _ill_defined(knob, f"{side} is a number that no float can hold")
    if low > high:
        raise _ill_defined(knob, f"min {low!r} lies above max {high!r}")
    if knob.choices:
        raise _ill_defined(knob, "choices belong to the type choice")
    if knob.scale is KnobScale.LOG and low <= 0:
        raise _ill_defined(knob, f"a log scale needs min above 0, got {low!r}")
    least = 1 if knob.scale is KnobScale.LOG else 0
    if step is not None and not (_is_finite(step) and least < step <= sys.float_info.max):
        raise _ill_defined(knob, f"max_step on the {knob.scale} scale must be above {least}, got {step!r}")


def _require_unordered(knob: Knob) -> None:
    if (knob.minimum, knob.maximum, knob.max_step) != (None, None, None) or knob.scale is not KnobScale.LINEAR:
        raise _ill_defined(knob, f"min, max, max_step and scale belong to numbers, not to the type {knob.type}")
    if knob.type is KnobType.BOOL and knob.choices:
        raise _ill_defined(knob, "choices belong to the type choice")
    if knob.type is KnobType.CHOICE and not knob.choices:
        raise _ill_defined(knob, "the type choice needs at least one choice")
    if any(isinstance(choice, float) and not math.isfinite(choice) for choice in knob.choices):
        raise _ill_defined(knob, f"choices must be finite, got {list(knob.choices)!r}")
    repeated = {choice for place, choice in enumerate(knob.choices) if choice in knob.choices[:place]}
    if repeated:
        raise _ill_defined(knob, f"choices must differ, and these are equal to others: {sorted(map(str, repeated))}")


def _check_float(knob: Knob, value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, float | int):
        raise _wrong_type(knob, value, "a number")
    if not _is_finite(value):
        raise _outside(knob, value)
    _check_range(knob, value)
    return float(value) + 0.0  # adding zero turns -0.0 into 0.0, which has another digest


def _check_int(knob: Knob, value: Json) -> int:
    if not _is_int(value):
        raise _wrong_type(knob, value, "an integer, written without a point")
    assert isinstance(value, int), "an integer is an int"
    _check_range(knob, value)
    return value


def _check_bool(knob: Knob, value: Json) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(knob, value, "true or false")
    return value


def _check_choice(knob: Knob, value: Json) -> Scalar:
    for choice in knob.choices:
        if type(choice) is type(value) and choice == value:
            return choice
    allowed = ", ".join(repr(choice) for choice in knob.choices)
    raise OutOfRange(
        f"knob {knob.name} is set to {value!r}, which is none of its choices: {allowed}",
        fix=f"set {knob.name} to one of {allowed}",
    )


def _check_range(knob: Knob, value: float) -> None:
    assert knob.minimum is not None, f"{knob.name} was made without a range"
    assert knob.maximum is not None, f"{knob.name} was made without a range"
    if not knob.minimum <= value <= knob.maximum:
        raise _outside(knob, value)


def _number(knob: Knob, value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, float | int) or not _is_finite(value):
        raise _wrong_type(knob, value, "a finite number")
    return value


def _is_int(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: float) -> bool:
    """Whether it is a number one can compare; an integer always is, however long."""
    return isinstance(value, int) or math.isfinite(value)


def _ill_defined(knob: Knob, why: str) -> BadValue:
    return BadValue(f"knob {knob.name!r} is ill defined: {why}", fix=f"correct [knobs.{knob.name}]")


def _wrong_type(knob: Knob, value: Json, wanted: str) -> BadValue:
    return BadValue(
        f"knob {knob.name} has the type {knob.type} and got {value!r}, which is {_kind(value)}",
        fix=f"give {knob.name} {wanted}",
    )


def _outside(knob: Knob, value: float) -> OutOfRange:
    span = f"{knob.minimum!r} to {knob.maximum!r}"
    return OutOfRange(
        f"knob {knob.name} is set to {value!r}, outside its range {span}",
        fix=f"choose a value of {knob.name} from {span}",
    )


def _too_far(knob: Knob, before: float, after: float, allowed: str) -> OutOfRange:
    return OutOfRange(
        f"knob {knob.name} moves from {before!r} to {after!r}, further than one proposal may: {allowed}",
        fix=f"move {knob.name} nearer to {before!r}, in several proposals if need be",
    )


def _kind(value: Json) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a float"
        case str():
            return "a string"
        case _:
            return "a list or a table"
