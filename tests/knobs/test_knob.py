"""A knob refuses what it must, by name, and keeps what it takes in one canonical form."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.canonical import Json
from pilothouse.errors import BadValue, OutOfRange
from pilothouse.knobs.knob import Knob, KnobScale, KnobType, check, check_step

RATE = Knob(
    name="learning_rate",
    type=KnobType.FLOAT,
    default=3e-5,
    minimum=1e-6,
    maximum=1e-3,
    scale=KnobScale.LOG,
    max_step=3.0,
)
DROPOUT = Knob(name="dropout", type=KnobType.FLOAT, default=0.1, minimum=-1, maximum=1, max_step=0.1)
LAYERS = Knob(name="layers", type=KnobType.INT, default=4, minimum=1, maximum=12, max_step=2)
COMPILE = Knob(name="compile", type=KnobType.BOOL, default=False)
OPTIMISER = Knob(name="optimiser", type=KnobType.CHOICE, default="adamw", choices=("adamw", "muon"))


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        (RATE, True),
        (RATE, "3e-5"),
        (RATE, None),
        (RATE, [1e-5]),
        (LAYERS, True),
        (LAYERS, 4.0),
        (LAYERS, "4"),
        (COMPILE, 1),
        (COMPILE, "true"),
    ],
)
def test_wrong_type_is_refused_by_name(knob: Knob, value: Json) -> None:
    """Booleans are no integers, floats are no integers, text is no number."""
    with pytest.raises(BadValue) as refusal:
        check(knob, value)
    assert knob.name in refusal.value.message
    assert repr(value) in refusal.value.message
    assert refusal.value.fix


@pytest.mark.parametrize(
    ("knob", "value"),
    [(RATE, math.nan), (RATE, math.inf), (RATE, -math.inf), (RATE, 1e-2), (RATE, 0), (RATE, 10**400), (LAYERS, 0)],
)
def test_value_outside_names_value_and_range(knob: Knob, value: Json) -> None:
    """So the mend is plain from the message."""
    with pytest.raises(OutOfRange) as refusal:
        check(knob, value)
    assert repr(knob.minimum) in refusal.value.message
    assert repr(knob.maximum) in refusal.value.message
    assert repr(value) in refusal.value.message


def test_choice_is_compared_with_its_type() -> None:
    """True equals 1 in Python, and is another setting."""
    ones = Knob(name="ones", type=KnobType.CHOICE, default=1, choices=(1, 2))
    assert check(ones, 2) == 2
    with pytest.raises(OutOfRange, match="none of its choices: 1, 2"):
        check(ones, True)
    with pytest.raises(OutOfRange, match="'adam'"):
        check(OPTIMISER, "adam")


def test_float_knob_takes_an_integer_as_float() -> None:
    """`1` in a file means 1.0, and both zeros have one digest."""
    value = check(DROPOUT, 0)
    assert type(value) is float
    assert repr(check(DROPOUT, -0.0)) == "0.0"


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers())
def test_checked_value_is_a_fixed_point_inside_the_range(value: float) -> None:
    """Over all numbers there are."""
    try:
        canonical = check(DROPOUT, value)
    except OutOfRange:
        assert not -1 <= value <= 1
        return
    assert isinstance(canonical, float)
    assert canonical == value
    assert check(DROPOUT, canonical) == canonical


@pytest.mark.parametrize(
    ("knob", "parent", "child"),
    [
        (RATE, 3e-5, 9e-5),  # 9e-5 / 3e-5 is above 3 in binary
        (RATE, 9e-5, 3e-5),
        (DROPOUT, 0.3, 0.4),  # 0.4 - 0.3 is above 0.1 in binary
        (LAYERS, 4, 6),
        (LAYERS, 4, 2),
        (COMPILE, False, True),
        (OPTIMISER, "adamw", "muon"),
    ],
)
def test_step_up_to_the_largest_is_allowed(knob: Knob, parent: Json, child: Json) -> None:
    """Binary rounding does not take away what the file allows."""
    check_step(knob, parent, child)


@pytest.mark.parametrize(
    ("knob", "parent", "child", "limit"),
    [
        (RATE, 3e-5, 9.1e-5, "factor of 3"),
        (RATE, 3e-5, 0.9e-5, "factor of 3"),
        (DROPOUT, 0.1, 0.21, "at most 0.1"),
        (LAYERS, 4, 7, "at most 2"),
        (LAYERS, 4, 1, "at most 2"),
        (RATE, 0.0, 1e-5, "above 0"),
    ],
)
def test_step_beyond_the_largest_is_refused(knob: Knob, parent: Json, child: Json, limit: str) -> None:
    """Both ends of the move are named."""
    with pytest.raises(OutOfRange, match=limit) as refusal:
        check_step(knob, parent, child)
    assert repr(parent) in refusal.value.message
    assert repr(child) in refusal.value.message


@given(st.floats(1e-6, 1e-3), st.floats(1e-6, 1e-3))
def test_log_step_is_symmetric(one: float, other: float) -> None:
    """The way back is as long as the way there."""

    def allowed(parent: float, child: float) -> bool:
        try:
            check_step(RATE, parent, child)
        except OutOfRange:
            return False
        return True

    assert allowed(one, other) is allowed(other, one)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Knob(name="a b", type=KnobType.BOOL, default=True), "name"),
        (lambda: Knob(name="k", type=KnobType.FLOAT, default=1.0), "safe range"),
        (lambda: Knob(name="k", type=KnobType.FLOAT, default=1.0, minimum=2, maximum=1), "above max"),
        (lambda: Knob(name="k", type=KnobType.FLOAT, default=3.0, minimum=0, maximum=1), "default"),
        (lambda: Knob(name="k", type=KnobType.FLOAT, default=1.0, minimum=0, maximum=math.inf), "finite"),
        (lambda: Knob(name="k", type=KnobType.INT, default=1, minimum=0.5, maximum=2), "int"),
        (lambda: Knob(name="k", type=KnobType.INT, default=True, minimum=0, maximum=2), "default"),
        (
            lambda: Knob(name="k", type=KnobType.FLOAT, default=1, minimum=0, maximum=2, scale=KnobScale.LOG),
            "above 0",
        ),
        (lambda: Knob(name="k", type=KnobType.FLOAT, default=1, minimum=0, maximum=2, max_step=0), "max_step"),
        (lambda: Knob(name="k", type=KnobType.INT, default=1, minimum=0, maximum=10**400), "no float can hold"),
        (lambda: Knob(name="k", type=KnobType.INT, default=1, minimum=0, maximum=2, max_step=10**400), "max_step"),
        (
            lambda: Knob(
                name="k", type=KnobType.FLOAT, default=1, minimum=1, maximum=2, scale=KnobScale.LOG, max_step=1
            ),
            "above 1",
        ),
        (lambda: Knob(name="k", type=KnobType.BOOL, default=True, minimum=0), "belong to numbers"),
        (lambda: Knob(name="k", type=KnobType.BOOL, default=True, choices=(True,)), "choices"),
        (lambda: Knob(name="k", type=KnobType.FLOAT, default=1, minimum=0, maximum=2, choices=(1,)), "choices"),
        (lambda: Knob(name="k", type=KnobType.CHOICE, default="a"), "at least one"),
        (lambda: Knob(name="k", type=KnobType.CHOICE, default="c", choices=("a", "b")), "default"),
        (lambda: Knob(name="k", type=KnobType.CHOICE, default="a", choices=("a", "a")), "differ"),
        (lambda: Knob(name="k", type=KnobType.CHOICE, default="a", choices=("a", math.nan)), "finite"),
    ],
)
def test_knob_that_contradicts_itself_is_refused(make: object, why: str) -> None:
    """A campaign file is checked before anything runs."""
    assert callable(make)
    with pytest.raises((BadValue, OutOfRange), match=why):
        make()
