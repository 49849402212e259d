"""A command is filled so that argparse reads back exactly the values of the config."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.fleet.arguments import (
    Arguments,
    Booleans,
    Lists,
    Names,
    Style,
    arguments_from_json,
    fill,
    is_filled,
)

APART = Arguments(style=Style.APART)
TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=6)


def filled(*command: str, rules: Arguments = APART, **config: Json) -> tuple[str, ...]:
    """Return the command as the attempt of seed 7 in the folder `/r` starts it."""
    return fill(command, rules, config=config, seed=7, run_dir="/r", config_file="/r/config.json")


# --- options


def test_values_follow_as_options_in_the_order_of_their_keys() -> None:
    assert filled("t", rate=3e-5, batch=64, name="a b") == ("t", "--batch", "64", "--name", "a b", "--rate", "3e-05")


@pytest.mark.parametrize(
    ("names", "option"), [(Names.KEPT, "--a_b-c"), (Names.DASHES, "--a-b-c"), (Names.UNDERSCORES, "--a_b_c")]
)
def test_the_name_of_an_option_is_made_from_the_key(names: Names, option: str) -> None:
    rules = Arguments(style=Style.JOINED, names=names)

    assert filled("t", rules=rules, **{"a_b-c": 1}) == ("t", f"{option}=1")


@pytest.mark.parametrize(
    ("booleans", "yes", "no"),
    [
        (Booleans.VALUE, ("--amp", "true"), ("--amp", "false")),
        (Booleans.FLAG, ("--amp",), ()),
        (Booleans.PAIR, ("--amp",), ("--no-amp",)),
    ],
)
def test_a_boolean_is_told_as_the_job_says(booleans: Booleans, yes: tuple[str, ...], no: tuple[str, ...]) -> None:
    rules = Arguments(style=Style.APART, booleans=booleans)

    assert (filled("t", rules=rules, amp=True)[1:], filled("t", rules=rules, amp=False)[1:]) == (yes, no)


@pytest.mark.parametrize(
    ("spelling", "yes", "no"),
    [
        ("--amp/--fp32", ("--amp",), ("--fp32",)),
        ("--amp/", ("--amp",), ()),
        ("/--no-cache", (), ("--no-cache",)),
        ("--use-amp", ("--use-amp", "true"), ("--use-amp", "false")),
        ("", (), ()),
    ],
)
def test_a_spelling_goes_before_the_rule(spelling: str, yes: tuple[str, ...], no: tuple[str, ...]) -> None:
    rules = Arguments(style=Style.APART, spelled={"amp": spelling})

    assert (filled("t", rules=rules, amp=True)[1:], filled("t", rules=rules, amp=False)[1:]) == (yes, no)


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        (Lists.SPACES, ("--betas", "0.9", "0.99")),
        (Lists.REPEATED, ("--betas", "0.9", "--betas", "0.99")),
        (Lists.COMMAS, ("--betas", "0.9,0.99")),
    ],
)
def test_a_list_is_told_as_the_job_says(lists: Lists, words: tuple[str, ...]) -> None:
    assert filled("t", rules=Arguments(style=Style.APART, lists=lists), betas=[0.9, 0.99])[1:] == words


@given(
    st.fixed_dictionaries(
        {
            "number": st.floats(allow_nan=False, allow_infinity=False),
            "whole": st.integers(),
            "text": TEXTS,
            "short": TEXTS.filter(bool),
            "yes": st.booleans(),
        }
    ),
    st.sampled_from([Style.APART, Style.JOINED]),
)
def test_argparse_reads_back_what_was_told(values: Mapping[str, Json], style: Style) -> None:
    """Blanks, leading dashes, quotes and numbers of any size among them."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--number", type=float)
    parser.add_argument("--whole", type=int)
    parser.add_argument("--text")
    parser.add_argument("-s", dest="short")
    parser.add_argument("--yes", action=argparse.BooleanOptionalAction)
    parser.add_argument("--seed", type=int)
    rules = Arguments(style=style, booleans=Booleans.PAIR, spelled={"short": "-s"})

    words = filled("t", "--seed", "{seed}", rules=rules, **values)

    assert vars(parser.parse_args(words[1:])) == {**values, "seed": 7}


# --- placeholders


def test_a_placeholder_is_filled_within_its_word_and_its_value_is_not_told_again() -> None:
    words = filled("t", "--out={run_dir}/m", "-c", "{config}", "-s{seed}", "{rate}", rate=0.5, batch=2)

    assert words == ("t", "--out=/r/m", "-c", "/r/config.json", "-s7", "0.5", "--batch", "2")


def test_a_value_that_looks_like_a_placeholder_is_left_alone() -> None:
    assert filled("t", "{name}", name="{run_dir}", other="{seed}") == ("t", "{run_dir}", "--other", "{seed}")


def test_braces_that_hold_no_name_stand_for_themselves_and_double_ones_for_single_ones() -> None:
    assert filled("t", '{"a": {"b": 1}}', "${{HOME}}", "{}") == ("t", '{"a": {"b": 1}}', "${HOME}", "{}")


def test_options_stand_where_the_command_says() -> None:
    assert filled("run", "{arguments}", "--", "tail", rate=1) == ("run", "--rate", "1", "--", "tail")


def test_without_a_style_values_are_told_by_placeholders_only() -> None:
    assert filled("t", "{rate}", rules=Arguments(), rate=1, batch=2) == ("t", "1")


@pytest.mark.parametrize(("word", "more"), [("{seed}", True), ("{{seed}}", True), ("{}", False), ('{"a": 1}', False)])
def test_a_command_says_whether_it_is_to_be_filled(word: str, more: bool) -> None:
    assert is_filled(("t", word)) is more


# --- what is refused


@pytest.mark.parametrize(
    ("command", "config", "named", "mend"),
    [
        (("t", "{sed}"), {}, "{sed}", "did you mean {seed}?"),
        (("t", "${HOME}"), {}, "{HOME}", "{{HOME}}"),
        (("t", "{betas}"), {"betas": [1, 2]}, "betas", "a text or a number"),
        (("t",), {"a b": 1}, "a b", "spelling"),
        (("t",), {"names": ["-x"]}, "-x", "repeated"),
        (("t",), {"names": []}, "names", "leave it out"),
        (("t",), {"name": "a\0b"}, "name", "a text or a number"),
        (("t", "--rate", "1"), {"rate": 2}, "--rate", "take it out"),
        (("t", "--rate=1"), {"rate": 2}, "--rate", "take it out"),
        (("t", "--rate=1", "{arguments}"), {"rate": 2}, "--rate", "take it out"),
    ],
)
def test_what_cannot_be_told_is_refused_by_name(
    command: tuple[str, ...], config: Mapping[str, Json], named: str, mend: str
) -> None:
    with pytest.raises(BadValue) as refused:
        fill(command, APART, config=config, seed=0, run_dir="/r", config_file="/c")

    assert named in refused.value.message
    assert mend in refused.value.fix


@pytest.mark.parametrize(
    ("spelled", "named"),
    [
        ({"rat": "--r"}, "'rat'"),
        ({"rate": "r"}, "'r'"),
        ({"rate": "--r r"}, "'--r r'"),
        ({"rate": "--a/--b"}, "none of true and false"),
        ({"rate": "--a/--b/--c"}, "no option"),
        ({"rate": "--batch"}, "both written --batch"),
    ],
)
def test_a_spelling_that_cannot_be_is_refused(spelled: dict[str, str], named: str) -> None:
    with pytest.raises(BadValue, match=named):
        filled("t", rules=Arguments(style=Style.APART, spelled=spelled), rate=1, batch=2)


def test_two_keys_of_one_option_are_refused() -> None:
    with pytest.raises(BadValue, match="both written --a-b"):
        filled("t", rules=Arguments(style=Style.APART, names=Names.DASHES), **{"a-b": 1, "a_b": 2})


# --- as JSON


def test_the_rules_arrive_unchanged_and_nonsense_is_refused() -> None:
    rules = Arguments(style=Style.JOINED, names=Names.DASHES, spelled={"a": "-a"})
    document = json.loads(json.dumps(rules.as_json()))

    assert arguments_from_json(document) == rules
    with pytest.raises(BadValue, match="louder"):
        arguments_from_json({**document, "style": "louder"})
    assert dataclasses.replace(rules, spelled={}) == arguments_from_json({**document, "spelled": {}})
