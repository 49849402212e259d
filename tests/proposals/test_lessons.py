"""Lessons are small, readable by a program, and tell what did not help."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.proposals.searches import REFUSED

from pilothouse.canonical import canonical
from pilothouse.evidence.verdict import Outcome
from pilothouse.knobs.delta import Change
from pilothouse.proposals.lessons import BYTES_MAX, lessons
from pilothouse.proposals.search import Tried


def one(number: int, outcome: Outcome | None, gain: float | None, *changes: Change, failure: str = "") -> Tried:
    """Return a proposal that ran."""
    return Tried(
        number=number,
        source="random",
        config={change.knob: change.after for change in changes},
        changes=changes,
        outcome=outcome,
        value=None if failure else 1.0,
        gain=gain,
        failure=failure,
    )


RATE_UP = Change(knob="learning_rate", before=0.001, after=0.003)
RATE_DOWN = Change(knob="learning_rate", before=0.003, after=0.0010000000001)
MUON = Change(knob="optimiser", before="adamw", after="muon")
BATCH = Change(knob="batch", before=64, after=128)
HISTORY = (
    one(1, Outcome.REGRESSED, -0.25, RATE_UP),
    one(2, Outcome.IMPROVED, 0.5, RATE_UP, MUON),
    one(3, Outcome.INCONCLUSIVE, 0.01, RATE_DOWN),
    one(4, None, None, BATCH, failure="out_of_memory"),
    one(5, None, None, MUON, failure="lost"),
    REFUSED,
)


def test_moves_are_told_by_knob_and_direction() -> None:
    """How often, how it ended, by how much, and what lost."""
    found = lessons(HISTORY)

    assert found["knobs"] == {
        "batch": {
            "up": {
                "tried": 1,
                "failed": 1,
                "failed_by_itself": 1,
                "together": 0,
                "lost": [{"number": 4, "from": 64, "to": 128, "failure": "out_of_memory"}],
            }
        },
        "learning_rate": {
            "down": {
                "tried": 1,
                "in_doubt": 1,
                "together": 0,
                "mean_gain": 0.01,
                "lost": [{"number": 3, "from": 0.003, "to": 0.001, "gain": 0.01}],
            },
            "up": {
                "tried": 2,
                "improved": 1,
                "regressed": 1,
                "together": 1,
                "mean_gain": 0.125,
                "lost": [{"number": 1, "from": 0.001, "to": 0.003, "gain": -0.25}],
            },
        },
        "optimiser": {
            "'muon'": {
                "tried": 2,
                "improved": 1,
                "failed": 1,
                "together": 1,
                "mean_gain": 0.5,
                "lost": [{"number": 5, "from": "adamw", "to": "muon", "failure": "lost"}],
            }
        },
    }


def test_refusals_and_failing_regions_are_told() -> None:
    """With their reasons, so that nobody asks for the same again."""
    found = lessons(HISTORY)

    assert found["refused"] == 1
    assert found["refusals"] == [
        {
            "number": 1,
            "changes": "learning_rate 0.001 → 'a lot', gone 1 → None",
            "reason": "learning_rate has the type float and got 'a lot'",
        }
    ]
    assert found["fails_where"] == [{"config": "batch >= 128", "failed": 1, "ran": 0, "how": "out_of_memory"}]
    assert found["left_out"] == {"knobs": 0, "refusals": 0, "fails_where": 0}


def test_nothing_tried_teaches_nothing() -> None:
    """An empty history has the same form."""
    found = lessons(())
    assert (found["tried"], found["knobs"], found["refusals"], found["fails_where"]) == (0, {}, [], [])


def test_what_does_not_fit_is_counted() -> None:
    """A hundred knobs with long names and refusals as long as a page."""
    history = [
        one(number, Outcome.REGRESSED, -1.0, Change(knob=f"{'k' * 90}{number}", before=0, after=1))
        for number in range(100)
    ]
    refused = [
        Tried(number=number, source="agent", config={}, changes=(), outcome=None, refusal="no " * 5000)
        for number in range(100, 150)
    ]

    found = lessons([*history, *refused])

    assert len(canonical(found).encode()) <= BYTES_MAX
    shown = found["knobs"]
    assert isinstance(shown, dict)
    assert shown
    assert f"{'k' * 90}99" in shown
    assert isinstance(found["left_out"], dict)
    assert found["left_out"]["knobs"] == 100 - len(shown)


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300)
TRIED = st.builds(
    Tried,
    number=st.integers(1, 10**9),
    source=st.text(max_size=5),
    config=st.dictionaries(st.sampled_from(["a", "b"]), JSON),
    changes=st.lists(
        st.builds(Change, knob=st.text(min_size=1, max_size=200), before=JSON, after=JSON), max_size=3
    ).map(tuple),
    outcome=st.none() | st.sampled_from(Outcome),
    value=st.none() | st.floats(),
    gain=st.none() | st.floats(),
    runs=st.integers(0, 9),
    failure=st.sampled_from(["", "out_of_memory", "lost"]),
    refusal=st.just("") | st.text(max_size=400),
)


@settings(max_examples=20, deadline=None)
@given(st.lists(TRIED, max_size=12))
def test_any_history_fits_and_is_json(history: list[Tried]) -> None:
    """Over every value that an agent might have written."""
    text = canonical(lessons(history))

    assert len(text.encode()) <= BYTES_MAX
    assert json.loads(text)["tried"] == len(history)
