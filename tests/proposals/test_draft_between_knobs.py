"""A draft keeps what must hold between knobs, and works out what follows from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.knobs.change_budget import ChangeBudget
from pilothouse.knobs.delta import Change
from pilothouse.knobs.invariant import read_derived, read_invariants
from pilothouse.knobs.knob import Knob, KnobType
from pilothouse.proposals.draft import Draft, draft

KNOBS = {
    "entropy": Knob(name="entropy", type=KnobType.FLOAT, default=0.12, minimum=0, maximum=1),
    "epochs": Knob(name="epochs", type=KnobType.INT, default=2, minimum=1, maximum=20, max_step=4),
}
PARENT: dict[str, Json] = {"entropy": 0.02, "epochs": 16}
ASK = Draft(parent=PARENT, overrides={}, knobs=KNOBS, budget=ChangeBudget(minimum=1, maximum=2))


def test_derived_values_follow_and_are_not_counted() -> None:
    """Two knobs move, the batch moves with them, and nobody may set it."""
    ask = replace(ASK, derived=read_derived({"updates": "epochs * 4", "half": "updates // 2"}, KNOBS))
    first = draft(replace(ask, overrides={"entropy": 0.03}))
    assert first.followed == (
        Change(knob="half", before=None, after=32),
        Change(knob="updates", before=None, after=64),
    )
    second = draft(replace(ask, parent=first.config, overrides={"epochs": 18, "entropy": 0.04}))
    assert [change.knob for change in second.changes] == ["entropy", "epochs"]
    assert (second.config["updates"], second.config["half"]) == (72, 36)
    assert draft(replace(ask, parent=first.config, overrides={"entropy": 0.04})).followed == ()
    with pytest.raises(BadValue, match="updates is derived"):
        draft(replace(ask, overrides={"updates": 5}))


def test_broken_invariant_is_refused_with_derived_values_in_it() -> None:
    """Single ranges cannot say it."""
    ask = replace(
        ASK,
        derived=read_derived({"updates": "epochs * 4"}, KNOBS),
        invariants=read_invariants(["updates <= 72", "entropy < 0.05"]),
    )
    assert draft(replace(ask, overrides={"epochs": 18})).config["updates"] == 72
    with pytest.raises(BadValue, match="updates is 76"):
        draft(replace(ask, overrides={"epochs": 19}))
    with pytest.raises(BadValue, match=r"entropy is 0\.05"):
        draft(replace(ask, overrides={"entropy": 0.05}))
