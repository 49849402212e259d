"""Invariants are kept by every config, and derived values are worked out and never set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.knobs.invariant import (
    RULES_MAX,
    check_invariants,
    derive,
    read_derived,
    read_invariants,
    refuse_derived,
)

CONFIG: dict[str, Json] = {"batch_size": 128, "minibatch_size": 48, "low": 0.4, "high": 0.2, "envs": 4}


@pytest.mark.parametrize(
    ("text", "named", "mend"),
    [
        (
            "minibatch_size divides batch_size",
            "minibatch_size is 48, batch_size is 128",
            "make minibatch_size 32 or 64 while batch_size is 128, or make batch_size 96 or 144 while minibatch_size",
        ),
        ("low <= high", "low is 0.4, high is 0.2", "make low, which is 0.4, at most high, which is 0.2"),
        ("envs * 2 > batch_size", "envs is 4", "make envs \\* 2, which is 8, more than batch_size"),
        ("low + high == 1", "low is 0.4", "make low \\+ high, which is 0.6, equal to 1"),
    ],
)
def test_broken_invariant_names_the_values_and_the_mend(text: str, named: str, mend: str) -> None:
    """So that a person or an agent can put it right."""
    with pytest.raises(BadValue, match=named) as refusal:
        check_invariants(CONFIG, read_invariants([text]))
    assert mend.replace("\\", "") in refusal.value.fix


def test_kept_invariants_say_nothing() -> None:
    """Several are checked one after the other."""
    check_invariants(CONFIG, read_invariants(["envs divides batch_size", "high < low", "envs != 5"]))


@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_offered_divisors_do_divide(part: int, whole: int) -> None:
    """Over all sizes, whatever is offered would be accepted."""
    rules = read_invariants(["part divides whole"])
    try:
        check_invariants({"part": part, "whole": whole}, rules)
    except BadValue as refusal:
        offer, _, other = refusal.fix.partition(" while ")
        multiples = other.partition("make whole ")[2].partition(" while ")[0]
        for value in [int(word) for word in offer.split() if word.isdigit()]:
            check_invariants({"part": value, "whole": whole}, rules)
        for value in [int(word) for word in multiples.split() if word.isdigit()]:
            check_invariants({"part": part, "whole": value}, rules)
        return
    assert whole % part == 0


def test_derived_values_follow_from_the_config() -> None:
    """In the order in which they need each other, whatever order they are written in."""
    rules = read_derived({"minibatch": "batch // 4", "batch": "envs * horizon"}, {"envs", "horizon"})

    found = derive({"envs": 8, "horizon": 16, "minibatch": 7}, rules)

    assert found == {"envs": 8, "horizon": 16, "minibatch": 32, "batch": 128}


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ({"a": "b + 1", "b": "a + 1"}, "circle: a, b"),
        ({"a": "a + 1"}, "circle: a"),
        ({"envs": "horizon * 2"}, "as a knob and as a derived value"),
        ({"a": "envs < 2"}, "a condition"),
        ({f"a{place}": "1" for place in range(RULES_MAX + 1)}, "at most"),
    ],
)
def test_derived_values_that_cannot_be_are_refused(texts: dict[str, str], why: str) -> None:
    """When the campaign is read, before anything runs."""
    with pytest.raises(BadValue, match=why):
        read_derived(texts, {"envs", "horizon"})


def test_invariant_that_is_no_condition_is_refused() -> None:
    """A sum holds neither way."""
    with pytest.raises(BadValue, match="not a condition"):
        read_invariants(["batch_size * 2"])
    with pytest.raises(BadValue, match="at most"):
        read_invariants(["a < 1"] * (RULES_MAX + 1))


def test_setting_a_derived_value_is_refused_with_what_to_set_instead() -> None:
    """Nobody can make it disagree with its parts."""
    rules = read_derived({"batch": "envs * horizon", "fixed": "7"}, {"envs", "horizon"})
    refuse_derived(["envs"], rules)
    with pytest.raises(BadValue, match="batch is derived") as refusal:
        refuse_derived(["batch"], rules)
    assert refusal.value.fix == "set envs, horizon instead"
    with pytest.raises(BadValue) as refusal:
        refuse_derived(["fixed"], rules)
    assert refusal.value.fix == "leave fixed out"
