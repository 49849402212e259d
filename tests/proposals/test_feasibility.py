"""The guard learns from failures, says why, unlearns bad luck, and never blocks everything."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.proposals.searches import BATCH, ENTROPY, OPTIMISER, RATE, after, search_of, tried

from pilothouse.canonical import Json
from pilothouse.ports.proposer import Proposer
from pilothouse.proposals.feasibility import (
    EXPLORING_SHARE,
    HELD_BACK_FROM,
    Guard,
    corners_of,
    explores,
    learn,
)
from pilothouse.proposals.one_axis import OneAxis
from pilothouse.proposals.random_search import RandomSearch
from pilothouse.proposals.search import Search, Suggestion

KNOBS = {knob.name: knob for knob in (BATCH, ENTROPY, OPTIMISER)}
ASKING = next(seed for seed in range(100) if not explores(seed))
EXPLORING = next(seed for seed in range(1000) if explores(seed))


def moved(search: Search, failure: str = "", /, **overrides: Json) -> Search:
    """Return the search after a proposal with these overrides, which ran unless it failed."""
    drawn = RandomSearch().propose(search)
    assert drawn is not None
    suggestion: Suggestion = replace(drawn, overrides=overrides)
    value = None if failure else 1.0
    return after(search, tried(search, suggestion, value=value, failure=failure), seed=ASKING)


def config(**values: Json) -> dict[str, Json]:
    """Return the defaults with these values on top."""
    return {**{name: knob.default for name, knob in KNOBS.items()}, **values}


def test_one_failure_holds_back_what_goes_further_the_same_way() -> None:
    """And nothing else; the reason names the numbers and the proposal."""
    guard = learn(moved(search_of(KNOBS), "out_of_memory", batch=100))

    worse = guard.outlook(config(batch=120, entropy=0.2))
    assert worse.is_poor()
    assert worse.reason == "batch >= 100: 1 of 1 failed (out_of_memory; proposals 1)"
    assert not guard.outlook(config(batch=99)).is_poor()
    assert not guard.outlook(config(batch=32, entropy=0.9, optimiser="sgd")).is_poor()


def test_a_corner_of_two_moves_needs_both() -> None:
    """Nobody knows which of them it was."""
    guard = learn(moved(search_of(KNOBS), "not_a_number", batch=32, optimiser="sgd"))

    assert guard.outlook(config(batch=16, optimiser="sgd")).is_poor()
    assert not guard.outlook(config(batch=16)).is_poor()
    assert not guard.outlook(config(optimiser="sgd")).is_poor()
    assert [str(limit) for limit in guard.corners[0].limits] == ["batch <= 32", "optimiser = 'sgd'"]


def test_success_in_a_corner_speaks_against_it() -> None:
    """One run that went well where another failed is an even chance."""
    search = moved(moved(search_of(KNOBS), "out_of_memory", batch=100), batch=110)
    guard = learn(search)

    outlook = guard.outlook(config(batch=120))

    assert outlook.failure == pytest.approx(0.5)
    assert not outlook.is_poor()
    assert "1 of 2 failed" in outlook.reason


def test_neighbours_of_several_failures_are_held_back_too() -> None:
    """A little short of the corner is as bad if all around it failed."""
    search = search_of(KNOBS)
    for batch in (100, 101, 102, 103):
        search = moved(search, "out_of_memory", batch=batch)
    guard = learn(search)

    near = guard.outlook(config(batch=99))

    assert near.is_poor()
    assert near.reason == "it is near proposal 1: out_of_memory"
    assert not guard.outlook(config(batch=64)).is_poor()


def test_machines_that_fail_teach_nothing() -> None:
    """A lost host says nothing about the config that it ran."""
    assert learn(moved(search_of(KNOBS), "lost", batch=100)) == Guard(knobs={}, neighbours=(), corners=())


def test_a_share_of_the_proposals_does_not_ask() -> None:
    """So a guard that is wrong is found wrong."""
    search = moved(search_of(KNOBS), "out_of_memory", batch=100)
    assert learn(replace(search, seed=EXPLORING)) == Guard()
    share = sum(explores(seed) for seed in range(3000)) / 3000
    assert EXPLORING_SHARE - 0.03 < share < EXPLORING_SHARE + 0.03


@pytest.mark.parametrize("proposer", [OneAxis(), RandomSearch()], ids=lambda proposer: proposer.name)
def test_proposers_take_what_is_not_held_back(proposer: Proposer) -> None:
    """The batch goes no further up while anything else is left."""
    search = moved(search_of({"batch": BATCH, "entropy": ENTROPY}, seed=ASKING), "out_of_memory", batch=80)
    for _ in range(6):
        suggestion = proposer.propose(replace(search, seed=ASKING))
        assert suggestion is not None
        batch = suggestion.overrides.get("batch", 64)
        assert isinstance(batch, int)
        assert batch < 80
        search = after(search, tried(search, suggestion, value=1.0, gain=0.0), seed=ASKING)


def test_the_guard_never_blocks_everything() -> None:
    """Where all that is left is held back, the least likely to fail is proposed, with the warning in its reasons."""
    short = replace(RATE, minimum=1e-3)
    search = search_of({"learning_rate": short})
    drawn = RandomSearch().propose(search)
    assert drawn is not None
    one = tried(search, replace(drawn, overrides={"learning_rate": 0.00101}), failure="not_a_number")
    suggestion = OneAxis().propose(after(search, one, seed=ASKING))

    assert suggestion is not None
    assert suggestion.overrides == {"learning_rate": 0.004}
    assert "the guard expects a failure at 75%: learning_rate >= 0.00101" in suggestion.rationale


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(8, 128), st.sampled_from(["", "out_of_memory", "lost"])), max_size=12))
def test_probabilities_are_probabilities_and_need_a_failure(runs: list[tuple[int, str]]) -> None:
    """Over all histories of one knob."""
    search = search_of(KNOBS)
    for batch, failure in runs:
        if 32 <= batch <= 128 and batch != 64:
            search = moved(search, failure, batch=batch)
    guard = learn(search)
    failed = [one.config["batch"] for one in search.history if one.failure == "out_of_memory"]

    for batch in range(8, 513, 24):
        outlook = guard.outlook(config(batch=batch))
        assert 0 <= outlook.failure < 1
        assert bool(outlook.reason) <= bool(failed)
    for corner in corners_of(search.history):
        assert corner.probability() < HELD_BACK_FROM or len(corner.failed) > len(corner.ran)
