"""A config is its parent plus overrides: nothing that is left out goes back to the baseline."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.canonical import Json
from pilothouse.errors import BadValue, ChangeBudgetExceeded, OutOfRange
from pilothouse.knobs.change_budget import ChangeBudget
from pilothouse.knobs.change_budget import check as check_budget
from pilothouse.knobs.config import apply, config_digest
from pilothouse.knobs.delta import Change, effective_delta
from pilothouse.knobs.knob import Knob, KnobType

KNOBS = {
    name: Knob(name=name, type=KnobType.FLOAT, default=default, minimum=0, maximum=10)
    for name, default in (("entropy", 0.12), ("learning_rate", 0.003), ("clip", 1.0))
}
SETTINGS = st.dictionaries(st.sampled_from(sorted(KNOBS)), st.floats(0, 10) | st.integers(0, 10))


def test_left_out_knobs_keep_the_parents_value() -> None:
    """A short override once reverted every knob that it omitted, and ruined the run."""
    parent = apply(apply({}, {}, KNOBS), {"entropy": 0.02, "clip": 2}, KNOBS)
    child = apply(parent, {"learning_rate": 0.001}, KNOBS)
    assert child == {"entropy": 0.02, "learning_rate": 0.001, "clip": 2.0}
    assert effective_delta(parent, child) == (Change(knob="learning_rate", before=0.003, after=0.001),)


def test_fixed_settings_stay_and_cannot_be_overridden() -> None:
    """Not everything in a config may be tuned."""
    parent: dict[str, Json] = {**apply({}, {}, KNOBS), "preset": "nano"}
    assert apply(parent, {}, KNOBS) == parent
    with pytest.raises(BadValue, match="fixed setting"):
        apply(parent, {"preset": "full"}, KNOBS)


def test_unknown_knob_is_refused_with_the_nearest() -> None:
    """A misspelt knob must not be a run that changes nothing."""
    with pytest.raises(BadValue, match="learnin_rate") as refusal:
        apply(apply({}, {}, KNOBS), {"learnin_rate": 0.1}, KNOBS)
    assert "did you mean learning_rate?" in refusal.value.fix
    with pytest.raises(BadValue) as refusal:
        apply(apply({}, {}, KNOBS), {"zzz": 0.1}, KNOBS)
    assert "clip, entropy, learning_rate" in refusal.value.fix


def test_knob_that_is_new_to_the_parent_shows_in_the_delta() -> None:
    """A new default is a change like any other."""
    parent: dict[str, Json] = {"entropy": 0.02, "clip": 1.0}
    child = apply(parent, {}, KNOBS)
    assert effective_delta(parent, child) == (Change(knob="learning_rate", before=None, after=0.003),)


def test_inherited_value_outside_a_narrowed_range_is_refused() -> None:
    """The whole config is checked, not only what moves."""
    with pytest.raises(OutOfRange, match="entropy"):
        apply({**apply({}, {}, KNOBS), "entropy": 11.0}, {"clip": 2}, KNOBS)


@given(SETTINGS, SETTINGS)
def test_delta_counts_real_changes_only(first: dict[str, Json], second: dict[str, Json]) -> None:
    """Setting a knob to what it was is no change, and undoing the delta gives the parent back."""
    parent = apply(apply({}, {}, KNOBS), first, KNOBS)
    child = apply(parent, second, KNOBS)
    changes = effective_delta(parent, child)
    assert {change.knob for change in changes} == {name for name, value in second.items() if value != parent[name]}
    assert (config_digest(parent) == config_digest(child)) is (not changes)
    assert apply(child, {change.knob: change.before for change in changes}, KNOBS) == parent


@given(SETTINGS)
def test_applying_twice_is_applying_once(overrides: dict[str, Json]) -> None:
    """Canonical values are stable, and order has no part in the digest."""
    once = apply(apply({}, {}, KNOBS), overrides, KNOBS)
    assert apply(once, overrides, KNOBS) == once
    assert config_digest(dict(reversed(once.items()))) == config_digest(once)


def test_unnameable_config_is_refused() -> None:
    """NaN has no canonical form."""
    with pytest.raises(BadValue, match="digest"):
        config_digest({"loss": float("nan")})


def changes(count: int) -> tuple[Change, ...]:
    """So many changes."""
    return tuple(Change(knob=f"k{place}", before=0, after=1) for place in range(count))


def test_change_budget_counts_and_names_the_knobs() -> None:
    """The refusal shows what would have moved."""
    budget = ChangeBudget(minimum=1, maximum=2)
    check_budget(changes(1), budget, "")
    check_budget(changes(2), budget, "")
    with pytest.raises(ChangeBudgetExceeded, match=r"3 knobs .* k0 \(0 -> 1\), k1 .*, k2"):
        check_budget(changes(3), budget, "an excuse")
    with pytest.raises(ChangeBudgetExceeded, match="1 knobs"):
        check_budget(changes(1), ChangeBudget(minimum=2, maximum=3), "")


def test_identical_rerun_needs_words() -> None:
    """Blanks are not a reason."""
    budget = ChangeBudget()
    check_budget((), budget, "a second seed of the same config")
    for silence in ("", "  \n"):
        with pytest.raises(ChangeBudgetExceeded, match="identical"):
            check_budget((), budget, silence)


@pytest.mark.parametrize(("minimum", "maximum"), [(-1, 2), (3, 2)])
def test_budget_that_allows_nothing_is_refused(minimum: int, maximum: int) -> None:
    """It would refuse every proposal."""
    with pytest.raises(BadValue, match="change budget"):
        ChangeBudget(minimum=minimum, maximum=maximum)
