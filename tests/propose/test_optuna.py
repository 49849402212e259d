"""Optuna's samplers are asked over the history alone, and what they answer is brought within reach."""

from __future__ import annotations

import importlib.util
import statistics
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from tests.proposals.searches import (
    COARSE,
    COMPILE,
    OPTIMISER,
    RATE,
    SEED,
    STUCK,
    TRAINING,
    after,
    check,
    search_of,
    searches,
    tried,
)

from pilothouse.errors import UsageError
from pilothouse.evidence.verdict import Direction, Outcome
from pilothouse.knobs.knob import Knob
from pilothouse.proposals.random_search import RandomSearch
from pilothouse.proposals.reach import position
from pilothouse.proposals.search import Search, Suggestion
from pilothouse.propose.optuna import OptunaProposer, Sampler

HERE = [Sampler.TPE, Sampler.CMA_ES]
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.parametrize("sampler", HERE)
@settings(max_examples=12, deadline=None, suppress_health_check=SLOW)
@given(search=searches(longest=10))
def test_each_suggestion_passes_the_draft_and_repeats_nothing(sampler: Sampler, search: Search) -> None:
    """Over searches with every kind of knob, refusals, failures and promotions; twice the same."""
    suggestion = OptunaProposer(sampler).propose(search)

    if suggestion is not None:
        check(search, suggestion)
        assert suggestion.source == sampler.value
    assert OptunaProposer(sampler).propose(replace(search)) == suggestion


@pytest.mark.parametrize("sampler", HERE)
@pytest.mark.parametrize("knobs", [[STUCK], [COARSE], [SEED], []], ids=["stuck", "coarse", "seed", "none"])
def test_nothing_to_move_is_nothing_to_propose(sampler: Sampler, knobs: list[Knob]) -> None:
    """A knob of one value, one whose step is smaller than its numbers, a seed alone, none at all."""
    assert OptunaProposer(sampler).propose(search_of({knob.name: knob for knob in knobs})) is None


@pytest.mark.parametrize("sampler", HERE)
def test_another_seed_is_another_proposal(sampler: Sampler) -> None:
    """A refused proposal is asked for again with another seed."""
    found = {str(OptunaProposer(sampler).propose(search_of(TRAINING, seed=seed))) for seed in range(6)}
    assert len(found) > 3


def test_switches_alone_can_be_sampled() -> None:
    """CMA-ES knows numbers only, and hands the rest over."""
    for sampler in HERE:
        suggestion = OptunaProposer(sampler).propose(search_of({"compile": COMPILE, "optimiser": OPTIMISER}))
        assert suggestion is not None


@pytest.mark.parametrize("direction", Direction)
def test_the_sampler_goes_where_the_values_are_better(direction: Direction) -> None:
    """After a history in which only a high rate was good, nearly every proposal moves the rate up."""
    search = replace(search_of({"learning_rate": RATE}, seed=5), direction=direction)
    for seed in range(12):
        place = seed / 12
        rate = round(1e-5 * 10 ** (4 * place), 9)
        worth = abs(place - 0.95)
        one = tried(
            replace(search, parent={"learning_rate": rate}),
            _moved(rate),
            value=worth if direction is Direction.MIN else -worth,
            gain=0.0,
        )
        search = after(search, one)

    places = []
    for seed in range(9):
        suggestion = OptunaProposer().propose(replace(search, seed=seed))
        assert suggestion is not None
        places.append(position(RATE, float(str(suggestion.overrides["learning_rate"]))))

    assert statistics.median(places) > position(RATE, 1e-3)


def test_what_failed_is_left_alone() -> None:
    """Where every step up ran out of memory, the proposals go down, but for the exploring ones."""
    search = search_of({"learning_rate": RATE})
    for rate in (0.002, 0.0025, 0.003, 0.0035, 0.0039):
        one = tried(search, _moved(rate), failure="out_of_memory", outcome=None)
        search = after(search, one)

    ups = 0
    for seed in range(20):
        suggestion = OptunaProposer().propose(replace(search, seed=seed))
        assert suggestion is not None
        ups += float(str(suggestion.overrides["learning_rate"])) > 0.002

    assert ups <= 4


def test_missing_packages_are_named_with_what_to_install() -> None:
    """Optuna's Gaussian process is written in torch, which no extra brings."""
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("torch is here, so nothing is missing")
    with pytest.raises(UsageError, match="gp needs torch") as refusal:
        OptunaProposer(Sampler.GP)
    assert "surrogate" in refusal.value.fix


def _moved(rate: float) -> Suggestion:
    """Return a suggestion that sets the rate, made from one that chance drew."""
    drawn = RandomSearch().propose(search_of({"learning_rate": RATE}))
    assert drawn is not None
    return replace(drawn, overrides={"learning_rate": rate * 1.01})


def test_improved_is_not_needed_to_learn() -> None:
    """Values count, verdicts do not: an inconclusive run says where it ran."""
    search = search_of(TRAINING)
    suggestion = OptunaProposer().propose(search)
    assert suggestion is not None
    told = after(search, tried(search, suggestion, value=0.5, outcome=Outcome.INCONCLUSIVE))
    again = OptunaProposer().propose(told)
    assert again is not None
    assert "over 1 configs that ran" in again.rationale


@pytest.mark.parametrize("sampler", HERE)
def test_numbers_and_switches_are_sampled_together(sampler: Sampler) -> None:
    """Long after the first random ones: CMA-ES once took no history that had a switch in it."""
    search = search_of(TRAINING)
    for number in range(13):
        drawn = RandomSearch().propose(search)
        assert drawn is not None
        failure = "out_of_memory" if number == 4 else ""
        search = after(search, tried(search, drawn, value=None if failure else number % 5, failure=failure))

    suggestion = OptunaProposer(sampler).propose(search)

    assert suggestion is not None
    check(search, suggestion)


def test_a_sampler_that_breaks_is_told_and_chance_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library's bug over one history must not end a night."""

    def broken(*_: object, **__: object) -> object:
        raise AssertionError("no solution\nat all")

    monkeypatch.setattr("optuna.samplers.TPESampler.sample_independent", broken)
    suggestion = OptunaProposer().propose(search_of(TRAINING))

    assert suggestion is not None
    check(search_of(TRAINING), suggestion)
    assert suggestion.rationale.startswith(
        "by chance, as tpe over 0 configs that ran broke (AssertionError: no solution"
    )
