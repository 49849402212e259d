"""The model learns what it is shown, and its proposals keep every guardrail."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from scipy.integrate import quad
from scipy.stats import norm
from tests.proposals.searches import COARSE, OPTIMISER, RATE, SEED, STUCK, after, check, search_of, searches, tried

from pilothouse.evidence.verdict import Direction
from pilothouse.knobs.knob import Knob
from pilothouse.proposals.random_search import RandomSearch
from pilothouse.proposals.reach import position
from pilothouse.proposals.search import Search
from pilothouse.propose.gaussian import learn, log_improvement
from pilothouse.propose.surrogate import Surrogate


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(search=searches(longest=10))
def test_each_suggestion_passes_the_draft_and_repeats_nothing(search: Search) -> None:
    """Over searches with every kind of knob, refusals, failures and promotions; twice the same."""
    suggestion = Surrogate().propose(search)

    if suggestion is not None:
        check(search, suggestion)
    assert Surrogate().propose(replace(search)) == suggestion


@pytest.mark.parametrize("knobs", [[STUCK], [COARSE], [SEED], []], ids=["stuck", "coarse", "seed", "none"])
def test_nothing_to_move_is_nothing_to_propose(knobs: list[Knob]) -> None:
    """A knob of one value, one whose step is smaller than its numbers, a seed alone, none at all."""
    assert Surrogate().propose(search_of({knob.name: knob for knob in knobs})) is None


def test_without_any_run_it_is_chance() -> None:
    """There is nothing to model before the baseline has run."""
    search = replace(search_of({"learning_rate": RATE}), value=None)
    suggestion = Surrogate().propose(search)
    assert suggestion is not None
    assert "model of 0 configs" in suggestion.rationale


def test_process_passes_near_what_it_has_seen_and_doubts_what_is_far() -> None:
    """Over a smooth curve with a little noise."""
    rng = np.random.default_rng(3)
    places = np.linspace(0.0, 0.6, 25)[:, None]
    worth = np.sin(6 * places[:, 0]) + rng.normal(size=25) * 0.02
    process = learn(places, worth, np.ones(25), np.array([False]))

    asked = np.linspace(0.05, 0.55, 11)[:, None]
    expected, deviation = process.expect(asked)
    _, far = process.expect(np.array([[1.0]]))

    assert np.max(np.abs(expected - np.sin(6 * asked[:, 0]))) < 0.05
    assert float(far[0]) > 3 * float(np.max(deviation))


def test_more_runs_count_more() -> None:
    """Of two values at one place the one over more runs is believed."""
    places = np.array([[0.2], [0.5], [0.5], [0.8]])
    worth = np.array([0.0, 1.0, -1.0, 0.0])
    process = learn(places, worth, np.array([1.0, 10.0, 0.1, 1.0]), np.array([False]))

    assert float(process.expect(np.array([[0.5]]))[0][0]) < 0


def test_choices_are_told_apart() -> None:
    """The values of a choice have no order: the third is as far from the first as the second."""
    places = np.array([[0.0], [0.0], [1.0], [1.0], [2.0], [2.0]])
    worth = np.array([1.0, 1.1, -2.0, -2.1, 1.0, 1.1])
    process = learn(places, worth, np.ones(6), np.array([True]))

    expected, _ = process.expect(np.array([[0.0], [1.0], [2.0]]))

    assert float(expected[1]) < -1 < 0.5 < float(expected[0])
    assert float(expected[0]) == pytest.approx(float(expected[2]), abs=0.01)


@pytest.mark.parametrize("score", [3.0, 0.5, 0.0, -0.9, -1.1, -4.0, -8.0])
def test_improvement_is_the_integral_that_defines_it(score: float) -> None:
    """On both sides of the place where its other form takes over."""
    area, _ = quad(lambda value: (score - value) * norm.pdf(value), score - 12, score, epsabs=0)
    found = log_improvement(np.array([0.0]), np.array([1.0]), score)
    assert float(found[0]) == pytest.approx(math.log(area), abs=1e-6)


def test_improvement_falls_with_every_step_away() -> None:
    """However far: there is always a best among hopeless places."""
    expected = np.concatenate([np.linspace(-5, 50, 400), [1e3, 1e4, 9e4]])
    found = log_improvement(expected, np.ones(403), 0.0)
    assert np.all(np.diff(found) < 0)


@pytest.mark.parametrize("direction", Direction)
def test_it_goes_where_the_values_are_better(direction: Direction) -> None:
    """After runs that were better the higher the rate was and the more so with muon, it goes up, with muon."""
    search = replace(search_of({"learning_rate": RATE, "optimiser": OPTIMISER}), direction=direction)
    for _ in range(12):
        drawn = RandomSearch().propose(search)
        assert drawn is not None
        rate = float(str(drawn.overrides.get("learning_rate", RATE.default)))
        worth = position(RATE, rate) + 0.5 * (drawn.overrides.get("optimiser") == "muon")
        search = after(search, tried(search, drawn, value=-worth if direction is Direction.MIN else worth, gain=0.0))

    suggestion = Surrogate().propose(replace(search, value=-0.5 if direction is Direction.MIN else 0.5))

    assert suggestion is not None
    assert suggestion.overrides["optimiser"] == "muon"
    assert float(str(suggestion.overrides["learning_rate"])) > 0.002
