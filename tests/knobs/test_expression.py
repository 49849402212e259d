"""Small arithmetic over knobs: it calculates, it refuses by name, and no text gets more out of it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.knobs.expression import DEPTH_MAX, TEXT_MAX, holds, parse, spell, value_of

CONFIG: dict[str, Json] = {
    "envs": 8,
    "horizon": 16,
    "rate": 0.5,
    "low-end": 3,
    "ppo.epochs": 4,
    "compile": True,
    "name": "nano",
    "nothing": 0,
    "huge": 2**62,
}
WORDS = st.lists(
    st.sampled_from(
        [
            *CONFIG,
            "gone",
            "divides",
            "0",
            "7",
            "1.5",
            "1e400",
            "9" * 30,
            *"+-*/%<>()",
            "//",
            "<=",
            "==",
            " ",
            ".",
            "\x00",
        ]
    ),
    max_size=30,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("envs * horizon", 128),
        ("envs+horizon*2", 40),
        ("(envs + horizon) * 2", 48),
        ("envs - horizon - 2", -10),
        ("horizon // 3", 5),
        ("horizon % 3", 1),
        ("-envs + 1", -7),
        ("--envs", 8),
        ("ppo.epochs * low-end", 12),
        ("low-end - 1", 2),
        ("horizon / envs", 2.0),
        ("rate * envs", 4.0),
        ("1e-3 + .5", 0.501),
        ("7", 7),
    ],
)
def test_values_are_calculated_in_the_usual_order(text: str, value: float) -> None:
    """Whole numbers stay whole."""
    found = value_of(parse(text), CONFIG)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("envs divides horizon", True),
        ("horizon divides envs", False),
        ("envs * 2 divides horizon", True),
        ("envs < horizon", True),
        ("envs <= 8", True),
        ("envs > 8", False),
        ("horizon >= envs * 2", True),
        ("envs == 8.0", True),
        ("envs != 8", False),
        ("0.7 + 0.1 + 0.2 == 1", True),
        ("0.7 + 0.1 + 0.2 < 1", False),
        ("0.7 + 0.1 + 0.2 >= 1", True),
    ],
)
def test_conditions_are_true_or_not(text: str, truth: bool) -> None:
    """A float's last bit decides nothing."""
    assert holds(parse(text), CONFIG) is truth


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "ends too early"),
        ("envs *", "ends too early"),
        ("envs horizon", "left over"),
        ("(envs", "not closed"),
        ("envs)", "left over"),
        ("envs < 1 < 2", "left over"),
        ("(envs < 1)", "not closed"),
        ("envs ** 2", "missing before"),
        ("envs.__class__", "does not have"),
        ("__import__", "cannot be read"),
        ("f(1)", "left over"),
        ("x[0]", "left over|cannot be read"),
        ("1.2.3", "cannot be read"),
        ("12a", "cannot be read"),
        ("1e400", "too large"),
        ("gone + 1", "does not have"),
        ("envs-horizon", "blanks around"),
        ("compile + 1", "no number"),
        ("name * 2", "no number"),
        ("envs / nothing", "by zero"),
        ("envs % nothing", "by zero"),
        ("rate // 2", "whole numbers"),
        ("huge * huge", "beyond"),
        ("rate / 1e-300 * 1e18", "beyond"),
        ("(" * (DEPTH_MAX + 1) + "1" + ")" * (DEPTH_MAX + 1), "nested"),
        ("1+" * TEXT_MAX + "1", "characters"),
    ],
)
def test_whatever_is_wrong_is_said(text: str, why: str) -> None:
    """With a mend, and never with another error."""
    with pytest.raises(BadValue, match=why) as refusal:
        value_of(parse(text), CONFIG)
    assert refusal.value.fix


def test_a_value_is_no_condition_and_a_condition_no_value() -> None:
    """Each is asked for in its place."""
    with pytest.raises(BadValue, match="a value, not a condition"):
        holds(parse("envs + 1"), CONFIG)
    with pytest.raises(BadValue, match="a condition, not a value"):
        value_of(parse("envs < 1"), CONFIG)
    with pytest.raises(BadValue, match="whole numbers for divides"):
        holds(parse("rate divides envs"), CONFIG)
    with pytest.raises(BadValue, match="by zero"):
        holds(parse("nothing divides envs"), CONFIG)


def test_names_are_told_once_in_their_order() -> None:
    """What a refusal names."""
    assert parse("horizon * envs divides horizon").names == ("horizon", "envs")


@given(st.text(max_size=60) | WORDS.map("".join) | WORDS.map(" ".join))
@example("9" * 5000)
@example("((((")
def test_no_text_raises_anything_but_bad_value(text: str) -> None:
    """Over random text, and over random words of the language itself."""
    try:
        expression = parse(text)
        if expression.is_condition():
            assert holds(expression, CONFIG) in {True, False}
        else:
            assert isinstance(value_of(expression, CONFIG), int | float)
    except BadValue:
        return


@given(WORDS.map(" ".join))
def test_what_is_spelt_out_is_read_the_same(text: str) -> None:
    """Parentheses stand where they are needed."""
    try:
        expression = parse(text)
    except BadValue:
        return
    assert spell(parse(spell(expression.root)).root) == spell(expression.root)
    try:
        found = value_of(expression, CONFIG)
    except BadValue:
        return
    assert value_of(parse(spell(expression.root)), CONFIG) == found
