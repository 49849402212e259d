"""Comparing two arms of runs: symmetric, invariant, and careful with few or failed runs."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pilothouse.errors import BadValue
from pilothouse.evidence.runs_file import Group
from pilothouse.evidence.seeds import compare_seeds, exact_p, outcome_of, shrunk
from pilothouse.evidence.trial_verdict import Arms, Question, TrialVerdict, held_back, judge_trials
from pilothouse.evidence.verdict import Confidence, Direction, Outcome

RUNS = st.lists(st.floats(-100, 100).map(lambda value: round(value, 3)), min_size=3, max_size=9)


def _named(values: list[float], prefix: str = "r") -> dict[str, float]:
    return {f"{prefix}{place}": value for place, value in enumerate(values)}


def _judged(baseline: list[float], candidate: list[float], **asked: float) -> TrialVerdict:
    arms = Arms(
        baseline=Group(name="a", steps=None, values=_named(baseline, "a")),
        candidate=Group(name="b", steps=None, values=_named(candidate, "b")),
    )
    return judge_trials(Question(metric="loss", direction=Direction.MIN, **asked), arms)


def test_the_interval_and_p_are_welchs() -> None:
    left, right = [3.281, 3.279, 3.280, 3.284], [3.276, 3.2755, 3.279]
    expected = stats.ttest_ind(right, left, equal_var=False)

    found = compare_seeds(_named(left, "a"), _named(right, "b"), alpha=0.05)

    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))


def test_the_exact_p_is_that_of_listing_every_exchange() -> None:
    left, right = [1.0, 2.5, 3.1, 0.2], [4.0, 5.5, 2.9, 7.0]
    pooled, seen = left + right, abs(sum(right) / 4 - sum(left) / 4)
    gaps = [
        abs(sum(pooled[i] for i in chosen) / 4 - sum(pooled[i] for i in range(8) if i not in chosen) / 4)
        for chosen in combinations(range(8), 4)
    ]

    assert exact_p(np.array(left), np.array(right)) == sum(gap >= seen - 1e-12 for gap in gaps) / len(gaps)


@given(RUNS, RUNS)
def test_swapped_arms_mirror_the_verdict(left: list[float], right: list[float]) -> None:
    one = compare_seeds(_named(left, "a"), _named(right, "b"), alpha=0.05)
    other = compare_seeds(_named(right, "b"), _named(left, "a"), alpha=0.05)
    mirrored = {Outcome.IMPROVED: Outcome.REGRESSED, Outcome.REGRESSED: Outcome.IMPROVED}

    assert other.difference == -one.difference
    assert (other.interval.low, other.interval.high) == (-one.interval.high, -one.interval.low)
    first, second = (outcome_of(each, direction=Direction.MIN)[0] for each in (one, other))
    assert second is mirrored.get(first, first)


@given(RUNS, RUNS, st.integers(-4, 4))
def test_the_unit_does_not_matter(left: list[float], right: list[float], power: int) -> None:
    scale = 2.0**power
    plain = compare_seeds(_named(left, "a"), _named(right, "b"), alpha=0.05)
    scaled = compare_seeds(
        _named([scale * value for value in left], "a"), _named([scale * value for value in right], "b"), alpha=0.05
    )

    assert scaled.p == plain.p
    assert scaled.difference == scale * plain.difference
    assert outcome_of(scaled, direction=Direction.MIN)[0] is outcome_of(plain, direction=Direction.MIN)[0]


@given(st.lists(st.integers(0, 500), min_size=3, max_size=8), st.lists(st.integers(0, 500), min_size=3, max_size=8))
def test_where_zero_lies_does_not_matter(left: list[int], right: list[int]) -> None:
    plain = compare_seeds(_named([float(v) for v in left], "a"), _named([float(v) for v in right], "b"), alpha=0.05)
    moved = compare_seeds(_named([v + 512.0 for v in left], "a"), _named([v + 512.0 for v in right], "b"), alpha=0.05)

    assert moved.difference == pytest.approx(plain.difference, abs=1e-9)
    assert moved.p == pytest.approx(plain.p, rel=1e-6, abs=1e-9)


@given(RUNS, RUNS, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_candidate_with_a_failed_run_is_never_better(left: list[float], right: list[float], failure: float) -> None:
    if len({*left, *right}) == 1:
        return
    found = _judged(left, [*right, failure], no_worse_by=1000.0)

    assert found.outcome in {Outcome.REGRESSED, Outcome.INCONCLUSIVE}
    assert found.failed == (0, 1)


def test_one_outlier_does_not_carry_a_verdict() -> None:
    """Where Welch and the exact test disagree, nothing is decided."""
    rng = np.random.default_rng(11)
    disagreements = 0
    for _ in range(400):
        left, right = rng.standard_t(2, 5).tolist(), (rng.standard_t(2, 5) - 1.5).tolist()
        found = compare_seeds(_named(left, "a"), _named(right, "b"), alpha=0.05)
        assert found.exact_p is not None
        if found.p <= 0.05 < found.exact_p:
            disagreements += 1
            assert outcome_of(found, direction=Direction.MIN)[0] is Outcome.INCONCLUSIVE

    assert disagreements > 0


def test_noise_is_called_a_change_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(2)
    called = 0
    for _ in range(4000):
        found = compare_seeds(
            _named(rng.standard_normal(5).tolist()), _named(rng.standard_normal(5).tolist()), alpha=0.05
        )
        called += outcome_of(found, direction=Direction.MIN)[0] is not Outcome.INCONCLUSIVE

    assert called / 4000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)


def test_runs_are_paired_only_where_the_seeds_truly_go_together() -> None:
    rng = np.random.default_rng(4)
    shared = rng.standard_normal(8)
    left = _named(shared.tolist())
    together = _named((shared - 0.2 + 0.05 * rng.standard_normal(8)).tolist())
    apart = _named(rng.standard_normal(8).tolist())

    found = compare_seeds(left, together, alpha=0.05, same_seeds=True)
    assert found.paired
    assert outcome_of(found, direction=Direction.MIN)[0] is Outcome.IMPROVED
    assert not compare_seeds(left, apart, alpha=0.05, same_seeds=True).paired
    assert not compare_seeds(left, together, alpha=0.05).paired


def test_no_worse_by_more_than_a_margin_is_an_outcome_of_its_own() -> None:
    same = [3.280, 3.281, 3.279, 3.2805, 3.2795]
    nearly = [3.2802, 3.2811, 3.2791, 3.2804, 3.2797]

    assert _judged(same, nearly, no_worse_by=0.005).outcome is Outcome.EQUIVALENT
    assert _judged(same, nearly, no_worse_by=0.0001).outcome is Outcome.INCONCLUSIVE
    assert _judged(same, nearly).outcome is Outcome.INCONCLUSIVE


def test_a_real_but_tiny_difference_is_inconclusive_and_says_so() -> None:
    found = _judged([3.2801, 3.2802, 3.2803], [3.2791, 3.2792, 3.2793], smallest_effect=0.01)

    assert found.outcome is Outcome.INCONCLUSIVE
    assert "smaller than the smallest effect" in found.reason


def test_the_label_follows_the_runs() -> None:
    assert _judged([1.0, 1.1], [0.5, 0.6]).confidence is Confidence.EXPLORATORY
    assert _judged([1.0, 1.1, 1.2], [0.5, 0.6, 0.7]).confidence is Confidence.REPLICATED


def test_a_selected_difference_is_shrunk_and_another_is_not() -> None:
    assert 0 < shrunk(2.5, 1.0, 20.0, alpha=0.05) < 2.5
    assert shrunk(-2.5, 1.0, 20.0, alpha=0.05) == -shrunk(2.5, 1.0, 20.0, alpha=0.05)
    assert shrunk(1.0, 1.0, 20.0, alpha=0.05) == 1.0
    assert shrunk(9.0, 1.0, 20.0, alpha=0.05) == pytest.approx(9.0, abs=1e-3)


def test_guards_hold_back_what_regresses_and_holm_pays_for_their_number() -> None:
    calm, worse = [1.0, 1.1, 0.9, 1.05], [1.24, 1.3, 1.12, 1.35]
    guard = _judged(calm, worse)
    quiet = _judged(calm, [1.02, 1.08, 0.93, 1.01])
    assert guard.outcome is Outcome.REGRESSED

    assert held_back([guard], alpha=0.05) == ["loss"]
    assert held_back([quiet], alpha=0.05) == []
    assert held_back([guard, *[quiet] * 40], alpha=0.05) == []


def test_a_guard_with_a_margin_must_prove_that_it_is_no_worse() -> None:
    calm = [1.0, 1.1, 0.9, 1.05]

    assert held_back([_judged(calm, [1.5, 0.5, 1.2, 0.9], no_worse_by=0.1)], alpha=0.05) == ["loss"]
    assert held_back([_judged(calm, [1.0, 1.1, 0.9, 1.05], no_worse_by=0.5)], alpha=0.05) == []


@pytest.mark.parametrize(
    ("left", "right", "named"),
    [
        ([1.0], [1.0, 2.0], "baseline has 1 finished runs; 1 are missing"),
        ([1.0, 2.0], [], "candidate has 0 finished runs; 2 are missing"),
        ([1.0, 2.0], [math.nan, 1.0], "candidate has 1 finished runs"),
        ([1.0, 1.0], [1.0, 1.0], "loss is constant"),
    ],
)
def test_runs_that_cannot_be_judged_are_named(left: list[float], right: list[float], named: str) -> None:
    with pytest.raises(BadValue, match=named):
        _judged(left, right)


@pytest.mark.parametrize("asked", [{"alpha": 0.7}, {"smallest_effect": -1.0}, {"no_worse_by": 0.0}])
def test_a_question_that_cannot_be_is_refused(asked: dict[str, float]) -> None:
    with pytest.raises(BadValue):
        _judged([1.0, 1.1], [0.9, 0.8], **asked)
