"""An agent's answer is read strictly: the known form or a refusal that names what is wrong and what mends it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.proposals.searches import COMPILE, ENTROPY, RATE, SEED, search_of

from pilothouse.errors import BadValue, ChangeBudgetExceeded, OutOfRange, PilothouseError, Refused
from pilothouse.proposals.answer import ANSWER_BYTES_MAX, OVERRIDES_MAX, TEXTS, clean, read_answer, schema
from pilothouse.proposals.draft import Draft, draft
from pilothouse.proposals.proposal import Risk

GOOD: dict[str, Any] = {
    "overrides": {"learning_rate": 0.002},
    "rationale": "The loss still falls at the end.",
    "hypothesis": "A larger step gets further in the same time.",
    "risk": "low",
    "rollback": "Set it back.",
    "why_not_identical": "0.002 was not tried.",
}


def text(**changed: Any) -> bytes:
    return json.dumps({**GOOD, **changed}).encode()


def raw(overrides: str) -> bytes:
    return text(overrides="HERE").replace(b'"HERE"', overrides.encode())


def test_a_good_answer_becomes_a_suggestion() -> None:
    """Every field arrives where the gate looks for it."""
    suggestion = read_answer(text()).suggestion("agent:codex")

    assert suggestion.overrides == {"learning_rate": 0.002}
    assert (suggestion.source, suggestion.risk) == ("agent:codex", Risk.LOW)
    assert suggestion.why_not_identical == GOOD["why_not_identical"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"I would raise the learning rate.", "not JSON"),
        (b"```json\n{}\n```", "not JSON"),
        (text() + b"{}", "not JSON"),
        (b"\xef\xbb\xbf" + text(), "not JSON"),
        (b"\xff\xfe" + text(), "no UTF-8"),
        (b"[]", "a list and not a table"),
        (b"null", "null and not a table"),
        (b"true", "a boolean and not a table"),
        (b"x" * (ANSWER_BYTES_MAX + 1), "more than"),
        (b"[" * 30_000, "nests deeper"),
        (b'{"a":' * 10_000, "nests deeper"),
        (raw("[[[[[1]]]]]"), "nests deeper"),
        (raw('{"learning_rate": NaN}'), "NaN"),
        (raw('{"learning_rate": Infinity}'), "Infinity"),
        (raw('{"learning_rate": -Infinity}'), "-Infinity"),
        (raw('{"learning_rate": 1e999}'), "no float can hold"),
        (raw('{"batch": ' + "9" * 5000 + "}"), "5000 digits"),
        (raw('{"entropy": 0.1, "entropy": 0.2}'), "'entropy' twice"),
        (b'{"risk": "low", "risk": "high"}', "'risk' twice"),
        (raw('{"entropy": null}'), "null"),
        (raw('{"entropy": [1]}'), "a list"),
        (raw('{"entropy": {"$ref": "/etc/passwd"}}'), "a table"),
        (raw("[]"), "`overrides` is a list"),
        (raw('{"": 1}'), "names a knob"),
        (raw('{"ent\\u0000ropy": 1}'), "names a knob"),
        (raw('{"ent\\u202eropy": 1}'), "names a knob"),
        (raw('{"\\ud800": 1}'), "names a knob"),
        (raw('{"optimiser": "adam\\u001b[31mw"}'), "cannot be shown"),
        (text(overrides={"optimiser": "x" * 1001}), "too long"),
        (text(overrides={f"k{n}": n for n in range(OVERRIDES_MAX + 1)}), f"{OVERRIDES_MAX + 1} knobs"),
        (text(approved=True), "'approved'"),
        (text(__class__="x"), "'__class__'"),
        (text(risk="none"), "'none', which is none of low"),
        (text(risk=1), "`risk` is a number"),
        (text(risk=True), "`risk` is a boolean"),
        (text(rationale=""), "`rationale` says nothing"),
        (text(rationale="\u200b\u200d \t"), "`rationale` says nothing"),
        (text(hypothesis=["x"]), "`hypothesis` is a list"),
        (text(rollback="x" * 2001), "2001 characters"),
        (json.dumps({key: GOOD[key] for key in GOOD if key != "rollback"}).encode(), "lacks rollback"),
        (json.dumps({"overrides": {}}).encode(), "lacks rationale, hypothesis"),
    ],
)
def test_anything_else_is_refused(content: bytes, says: str) -> None:
    """The refusal names the value, never shows what a screen would obey, and says how to mend it."""
    with pytest.raises(BadValue) as refused:
        read_answer(content)

    assert says in refused.value.message
    assert refused.value.fix
    assert clean(refused.value.message) == refused.value.message
    assert len(refused.value.message) < 300


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"learning_rate": 5.0}, OutOfRange),
        ({"learning_rate": 0.09}, OutOfRange),
        ({"learning_rate": -1e-3}, OutOfRange),
        ({"learning_rate": "0.002"}, BadValue),
        ({"learning_rate": True}, BadValue),
        ({"compile": 1}, BadValue),
        ({"data_seed": 7}, Refused),
        ({"data_seed": True}, BadValue),
        ({"sudo": True}, BadValue),
        ({"learning_rate.__class__": 1}, BadValue),
        ({}, ChangeBudgetExceeded),
        ({"learning_rate": 1e-3}, ChangeBudgetExceeded),
        ({"learning_rate": 0.002, "entropy": 0.2, "compile": True}, ChangeBudgetExceeded),
    ],
)
def test_a_well_formed_answer_is_still_judged(overrides: dict[str, Any], error: type[PilothouseError]) -> None:
    """Ranges, steps, types, unlisted knobs, seeds and the number of changes are the draft's to refuse."""
    search = search_of({knob.name: knob for knob in (RATE, ENTROPY, COMPILE, SEED)})
    answer = read_answer(text(overrides=overrides))

    with pytest.raises(error):
        draft(Draft(parent=search.parent, overrides=answer.overrides, knobs=search.knobs, budget=search.budget))


def test_texts_lose_what_cannot_be_seen() -> None:
    """Colours, marks of direction, joiners and odd line ends do not reach a reader."""
    answer = read_answer(text(rationale="a\x1b[31mb\u202ec\u200dd\r\ne\u2028f\x00\tg"))

    assert answer.rationale == "a[31mbcd\ne\nf\tg"


def test_the_schema_asks_for_what_is_read() -> None:
    """An answer of the schema's form is read, and its fields are the ones that are asked for."""
    asked = schema()

    assert asked["required"] == ["overrides", *TEXTS, "risk"]
    assert asked["additionalProperties"] is False
    assert set(GOOD) == set(asked["required"])


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "x"]), JUNK, max_size=8), st.booleans())
def test_no_document_brings_anything_but_an_answer_or_a_refusal(changed: dict[str, Any], whole: bool) -> None:
    """Whatever the values are, the reader says yes or no, and what it takes is clean."""
    document = {**GOOD, **changed} if whole else changed
    try:
        answer = read_answer(json.dumps(document).encode())
    except BadValue:
        return

    assert all(clean(getattr(answer, name)) == getattr(answer, name) != "" for name in TEXTS)
    assert all(isinstance(value, bool | int | float | str) for value in answer.overrides.values())


@given(st.binary(max_size=200))
def test_no_bytes_bring_anything_but_a_refusal(content: bytes) -> None:
    """Noise is refused, not raised through."""
    with pytest.raises(BadValue):
        read_answer(content)
