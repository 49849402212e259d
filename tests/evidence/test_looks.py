"""The state machine over looks: symmetric, scale-free, and never impressed by a failed run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.errors import BadValue
from pilothouse.evidence.looks import Step, decide_look, outcome_of_look, replay_looks, single_design, stream_design
from pilothouse.evidence.replay import replay_single
from pilothouse.evidence.stream import ledger
from pilothouse.evidence.verdict import Direction, Outcome

DESIGN = single_design(0.05)
VALUES = st.lists(st.floats(-100, 100).map(lambda value: round(value, 3)), min_size=16, max_size=16)


@given(VALUES, VALUES)
def test_the_scalar_machine_takes_the_steps_of_the_replay(baseline: list[float], candidate: list[float]) -> None:
    ended = replay_single(DESIGN, np.array([baseline]), np.array([candidate]))

    found = replay_looks(DESIGN, baseline=baseline, candidate=candidate, direction=Direction.MIN)

    assert (found.step is Step.PROMOTE) == bool(ended.promoted[0])
    assert found.seeds == ended.seeds[0]


@given(VALUES, VALUES, st.sampled_from([2, 5, 16]))
def test_a_metric_to_be_raised_is_the_mirror_of_one_to_be_lowered(
    baseline: list[float], candidate: list[float], runs: int
) -> None:
    lowered = decide_look(DESIGN, baseline=baseline[:runs], candidate=candidate[:runs], direction=Direction.MIN)
    raised = decide_look(
        DESIGN,
        baseline=[-value for value in baseline[:runs]],
        candidate=[-value for value in candidate[:runs]],
        direction=Direction.MAX,
    )

    assert lowered == raised


@given(VALUES, VALUES, st.integers(-3, 3), st.sampled_from([2, 5, 16]))
def test_the_unit_of_the_metric_does_not_matter(
    baseline: list[float], candidate: list[float], power: int, runs: int
) -> None:
    """Scaling by powers of two is exact in floats, so the p-value must not move at all."""
    scale = 2.0**power
    plain = decide_look(DESIGN, baseline=baseline[:runs], candidate=candidate[:runs], direction=Direction.MIN)
    scaled = decide_look(
        DESIGN,
        baseline=[scale * value for value in baseline[:runs]],
        candidate=[scale * value for value in candidate[:runs]],
        direction=Direction.MIN,
    )

    assert scaled.p == plain.p
    assert scaled.step is plain.step
    assert scaled.gain == plain.gain * scale


@given(st.lists(st.integers(0, 1000), min_size=8, max_size=8), st.lists(st.integers(0, 1000), min_size=8, max_size=8))
def test_where_zero_lies_does_not_matter(baseline: list[int], candidate: list[int]) -> None:
    """Integers, shifted by an integer, have exact means up to rounding, so the step is the same."""
    plain = decide_look(DESIGN, baseline=baseline, candidate=candidate, direction=Direction.MIN)
    moved = decide_look(
        DESIGN,
        baseline=[value + 4096 for value in baseline],
        candidate=[value + 4096 for value in candidate],
        direction=Direction.MIN,
    )

    assert moved.p == pytest.approx(plain.p, rel=1e-6, abs=1e-12)


@given(VALUES, VALUES, st.sampled_from([math.nan, math.inf, -math.inf]), st.integers(0, 15))
def test_a_failed_run_is_never_better(
    baseline: list[float], candidate: list[float], failure: float, place: int
) -> None:
    broken = [*candidate[:place], failure, *candidate[place + 1 :]]

    found = decide_look(DESIGN, baseline=baseline, candidate=broken, direction=Direction.MIN)

    assert found.step is Step.GIVE_UP
    assert outcome_of_look(found) is not Outcome.IMPROVED


@given(VALUES, VALUES)
def test_more_data_never_widens_the_promise(baseline: list[float], candidate: list[float]) -> None:
    """What is spent only grows, what is left only falls, and their sum is the design's alpha at every look."""
    found = [
        decide_look(DESIGN, baseline=baseline[:runs], candidate=candidate[:runs], direction=Direction.MIN)
        for runs in DESIGN.looks
    ]

    spent = [each.alpha_spent for each in found]
    assert spent == sorted(spent)
    assert all(each.alpha_spent + each.alpha_left == pytest.approx(DESIGN.alpha) for each in found)
    assert spent[-1] <= DESIGN.alpha * (1 + 1e-12)


def test_the_next_seeds_are_launched_only_while_they_can_change_the_decision() -> None:
    worse, same, better = [2.0, 2.2, 1.8], [1.0, 1.2, 0.7], [-9.0, -9.1, -8.9]
    baseline = [1.0, 1.1, 0.9]

    steps = [
        decide_look(DESIGN, baseline=baseline, candidate=each, direction=Direction.MIN).step
        for each in (worse, same, better)
    ]

    assert steps == [Step.GIVE_UP, Step.LAUNCH, Step.PROMOTE]


def test_runs_that_are_missing_are_asked_for() -> None:
    found = decide_look(DESIGN, baseline=[1.0, 1.1], candidate=[0.9], direction=Direction.MIN)

    assert (found.step, found.seeds) == (Step.LAUNCH, 2)
    with pytest.raises(BadValue, match="1 finished runs"):
        decide_look(DESIGN, baseline=[1.0], candidate=[0.9, 0.8], direction=Direction.MIN)


def test_runs_without_any_spread_are_not_certain_after_two() -> None:
    found = decide_look(DESIGN, baseline=[1.0, 1.0], candidate=[0.9, 0.9], direction=Direction.MIN)

    assert found.step is Step.LAUNCH
    assert found.p == pytest.approx(1 / 6)


def test_a_wild_candidate_does_not_pass_because_its_baseline_is_calm() -> None:
    """A null candidate with three times the spread, against sixteen calm runs, at the level of a stream."""
    rng = np.random.default_rng(5)
    design = stream_design(ledger().grant())
    promoted = 0
    for _ in range(3000):
        baseline, candidate = rng.standard_normal(16), 3 * rng.standard_normal(24)
        steps = (
            decide_look(
                design, baseline=baseline.tolist(), candidate=candidate[:seeds].tolist(), direction=Direction.MIN
            )
            for seeds in design.looks
        )
        promoted += next(each for each in steps if each.step is not Step.LAUNCH).step is Step.PROMOTE

    assert promoted <= 24  # 0.8 %; with the baseline's spread alone it is 5 %
