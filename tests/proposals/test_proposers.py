"""The plain sources of proposals keep every guardrail, repeat nothing, and say the same when they are asked again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.proposals.searches import (
    BATCH,
    COARSE,
    COMPILE,
    ENTROPY,
    OPTIMISER,
    PART,
    RATE,
    SEED,
    STUCK,
    TRAINING,
    after,
    check,
    drafted,
    search_of,
    searches,
    tried,
)

from pilothouse.evidence.verdict import Outcome
from pilothouse.knobs.change_budget import ChangeBudget
from pilothouse.knobs.invariant import read_derived, read_invariants
from pilothouse.knobs.knob import Knob, KnobRisk
from pilothouse.ports.proposer import Proposer
from pilothouse.proposals.one_axis import OneAxis
from pilothouse.proposals.proposal import Risk
from pilothouse.proposals.random_search import RandomSearch
from pilothouse.proposals.search import Search

PLAIN = [OneAxis(), RandomSearch()]
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.parametrize("proposer", PLAIN, ids=lambda proposer: proposer.name)
@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(search=searches())
def test_each_suggestion_passes_the_draft_and_repeats_nothing(proposer: Proposer, search: Search) -> None:
    """Over searches with every kind of knob, refusals, failures and promotions."""
    suggestion = proposer.propose(search)

    if suggestion is not None:
        check(search, suggestion)
    assert proposer.propose(replace(search)) == suggestion


@pytest.mark.parametrize("proposer", PLAIN, ids=lambda proposer: proposer.name)
@pytest.mark.parametrize("knobs", [[STUCK], [COARSE], [SEED], []], ids=["stuck", "coarse", "seed", "none"])
def test_nothing_to_move_is_nothing_to_propose(proposer: Proposer, knobs: list[Knob]) -> None:
    """A knob of one value, one whose step is smaller than its numbers, a seed alone, none at all."""
    assert proposer.propose(search_of({knob.name: knob for knob in knobs})) is None


def test_one_axis_takes_single_knobs_first_and_joins_the_best_then() -> None:
    """Up and down by the largest step, every choice once, and then what looked best together."""
    search = search_of({"learning_rate": RATE, "entropy": ENTROPY, "optimiser": OPTIMISER})
    gains = {"learning_rate": 0.3, "entropy": -0.1, "optimiser": 0.2}
    seen = []
    for _ in range(7):
        suggestion = OneAxis().propose(search)
        assert suggestion is not None
        seen.append(dict(suggestion.overrides))
        gain = sum(gains[name] for name in suggestion.overrides)
        search = after(search, tried(search, suggestion, value=1 - gain, gain=gain))

    singles, pair = seen[:6], seen[6]
    assert sorted(map(str, singles)) == sorted(
        map(
            str,
            [
                {"learning_rate": 0.004},
                {"learning_rate": 0.00025},
                {"entropy": 0.3},
                {"entropy": 0.0},
                {"optimiser": "muon"},
                {"optimiser": "sgd"},
            ],
        )
    )
    assert pair.keys() == {"learning_rate", "optimiser"}


def test_one_axis_goes_on_where_it_gained() -> None:
    """After a promotion the same knob moves on the same way, and what lost comes last."""
    search = search_of({"entropy": ENTROPY, "learning_rate": RATE})
    first = OneAxis().propose(search)
    assert first is not None
    assert first.overrides == {"entropy": 0.3}
    lost = tried(search, first, value=1.5, gain=-0.5, outcome=Outcome.REGRESSED)
    search = after(search, lost)
    won = replace(first, overrides={"learning_rate": 0.004})
    one = tried(search, won, value=0.5, gain=0.5, outcome=Outcome.IMPROVED)
    search = replace(after(search, one), parent=one.config)

    second = OneAxis().propose(search)

    assert second is not None
    assert second.overrides == {"learning_rate": 0.016}


def test_one_axis_ends() -> None:
    """When all rounds and joins from this parent were tried."""
    search = search_of({"entropy": ENTROPY, "compile": COMPILE}, most=1)
    moves = []
    while (suggestion := OneAxis().propose(search)) is not None:
        moves.append(dict(suggestion.overrides))
        search = after(search, tried(search, suggestion, value=1.0, gain=0.0))

    assert {"compile": True} in moves
    assert [move["entropy"] for move in moves if "entropy" in move] == [0.3, 0.0, 0.2, 0.05, 0.15, 0.075]


def test_one_axis_joins_at_once_where_one_knob_is_not_enough() -> None:
    """A budget of two at least allows no single move."""
    search = replace(search_of(TRAINING), budget=ChangeBudget(minimum=2, maximum=2))
    suggestion = OneAxis().propose(search)
    assert suggestion is not None
    assert len(suggestion.overrides) == 2


def test_risk_is_that_of_the_riskiest_knob() -> None:
    """And the reasons name what moves."""
    risky = replace(RATE, risk=KnobRisk.HIGH)
    suggestion = OneAxis().propose(search_of({"learning_rate": risky}))
    assert suggestion is not None
    assert suggestion.risk is Risk.HIGH
    assert "learning_rate 0.001 → 0.004" in suggestion.why_not_identical
    assert "loss gets lower" in suggestion.hypothesis


@pytest.mark.parametrize("proposer", PLAIN, ids=lambda proposer: proposer.name)
def test_invariants_between_knobs_are_kept_by_nearby_values(proposer: Proposer) -> None:
    """A step that would break the division goes to a number beside it, and derived values are never set."""
    search = replace(
        search_of({"batch": BATCH, "part": PART}),
        parent={"batch": 56, "part": 28, "parts": 2},
        invariants=read_invariants(["part divides batch"]),
        derived=read_derived({"parts": "batch // part"}, {"batch", "part"}),
    )
    for _ in range(8):
        suggestion = proposer.propose(search)
        assert suggestion is not None
        made = drafted(search, suggestion)
        batch, part = made.config["batch"], made.config["part"]
        assert isinstance(batch, int)
        assert isinstance(part, int)
        assert made.config["parts"] == batch / part
        search = after(search, tried(search, suggestion, value=1.0, gain=0.0))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**63))
def test_random_search_moves_as_many_knobs_as_it_may(seed: int) -> None:
    """One or two, and over many seeds both."""
    suggestion = RandomSearch().propose(search_of(TRAINING, seed=seed))
    assert suggestion is not None
    assert 1 <= len(suggestion.overrides) <= 2


def test_random_search_exhausts_what_can_be_counted() -> None:
    """Three settings besides the parent's, and then nothing."""
    search = search_of({"compile": COMPILE, "optimiser": OPTIMISER})
    count = 0
    while (suggestion := RandomSearch().propose(search)) is not None:
        count += 1
        search = after(search, tried(search, suggestion, value=1.0))
    assert count == 5
