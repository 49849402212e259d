"""A draft passes every guardrail, and counts what really changes against the parent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.canonical import Json
from pilothouse.errors import BadValue, ChangeBudgetExceeded, OutOfRange
from pilothouse.evidence.interval import Comparison, Interval
from pilothouse.evidence.verdict import Direction, Outcome, judge
from pilothouse.knobs.change_budget import ChangeBudget
from pilothouse.knobs.delta import Change
from pilothouse.knobs.knob import Knob, KnobScale, KnobType
from pilothouse.proposals.draft import Draft, draft
from pilothouse.proposals.promotion import should_promote

KNOBS = {
    "learning_rate": Knob(
        name="learning_rate",
        type=KnobType.FLOAT,
        default=3e-4,
        minimum=1e-5,
        maximum=1e-2,
        scale=KnobScale.LOG,
        max_step=3,
    ),
    "entropy": Knob(name="entropy", type=KnobType.FLOAT, default=0.12, minimum=0, maximum=1),
    "epochs": Knob(name="epochs", type=KnobType.INT, default=2, minimum=1, maximum=20, max_step=4),
}
PARENT: dict[str, Json] = {"learning_rate": 1e-3, "entropy": 0.02, "epochs": 16}
ASK = Draft(parent=PARENT, overrides={}, knobs=KNOBS, budget=ChangeBudget(minimum=1, maximum=2))


def test_step_is_measured_from_the_parent_not_the_default() -> None:
    """Sixteen epochs to eighteen is a small step, though the default is two."""
    made = draft(replace(ASK, overrides={"epochs": 18}))
    assert made.changes == (Change(knob="epochs", before=16, after=18),)
    assert made.config == {"learning_rate": 1e-3, "entropy": 0.02, "epochs": 18}
    with pytest.raises(OutOfRange, match="epochs moves from 16 to 2"):
        draft(replace(ASK, overrides={"epochs": 2}))


def test_overrides_that_change_nothing_are_not_counted() -> None:
    """Thirty keys that repeat the parent are no change, and one of them is an identical rerun."""
    made = draft(replace(ASK, overrides={**PARENT, "entropy": 0.03}))
    assert [change.knob for change in made.changes] == ["entropy"]
    with pytest.raises(ChangeBudgetExceeded, match="identical"):
        draft(replace(ASK, overrides=PARENT))
    assert draft(replace(ASK, overrides=PARENT, identical_reason="another seed")).changes == ()


def test_each_guardrail_speaks_for_itself() -> None:
    """Unknown, wrong type, outside, too far, too many."""
    with pytest.raises(BadValue, match="entropi"):
        draft(replace(ASK, overrides={"entropi": 0.1}))
    with pytest.raises(BadValue, match="epochs"):
        draft(replace(ASK, overrides={"epochs": 17.0}))
    with pytest.raises(OutOfRange, match="outside its range"):
        draft(replace(ASK, overrides={"entropy": 2}))
    with pytest.raises(OutOfRange, match="factor of 3"):
        draft(replace(ASK, overrides={"learning_rate": 1e-4}))
    with pytest.raises(ChangeBudgetExceeded, match="3 knobs"):
        draft(replace(ASK, overrides={"learning_rate": 2e-3, "entropy": 0.1, "epochs": 15}))


def test_knob_that_is_new_has_no_step_to_measure() -> None:
    """It is counted as a change all the same."""
    parent = {name: value for name, value in PARENT.items() if name != "epochs"}
    made = draft(replace(ASK, parent=parent, overrides={"epochs": 20}))
    assert made.changes == (Change(knob="epochs", before=None, after=20),)


@given(st.fixed_dictionaries({}, optional={"entropy": st.floats(0, 1), "epochs": st.integers(1, 20)}))
def test_draft_never_touches_what_it_was_not_asked_to(overrides: dict[str, Json]) -> None:
    """Over all overrides that pass."""
    try:
        made = draft(replace(ASK, overrides=overrides, identical_reason="a rerun"))
    except OutOfRange:
        return
    for name, value in PARENT.items():
        assert made.config[name] == overrides.get(name, value)


def test_baseline_moves_first_and_then_by_improvement_only() -> None:
    """Neither a regression nor doubt moves it."""
    ends = {Outcome.IMPROVED: (-2.0, -1.0), Outcome.REGRESSED: (1.0, 2.0), Outcome.INCONCLUSIVE: (-1.0, 1.0)}
    assert should_promote(None)
    for outcome, (low, high) in ends.items():
        comparison = Comparison(
            baseline=3.0,
            candidate=3.0 + (low + high) / 2,
            difference=(low + high) / 2,
            standard_error=0.2,
            degrees_of_freedom=9.0,
            interval=Interval(low=low, high=high),
            p=0.01,
            alpha=0.05,
            examples=100,
            clusters=10,
            method="by hand",
        )
        verdict = judge(comparison, metric="q_gap", direction=Direction.MIN)
        assert verdict.outcome is outcome
        assert should_promote(verdict) is (outcome is Outcome.IMPROVED)
