"""The benchmark counts what it says it counts, and ours keeps its promise on noise that it was not chosen on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from pilothouse.canonical import Json
from pilothouse.evidence.arms import Floats
from pilothouse.evidence.real_pairs import record_of, same_record
from pilothouse.evidence.replay import Noise, noise_of
from pilothouse.evidence.rivals import Greedy, MadBadge, PercentileBootstrap, TwoBaselines, Welch
from pilothouse.evidence.runs_file import Group
from pilothouse.evidence.scorecard import Sizes, ours_single, ours_stream, scorecard


def _noise(seed: int) -> Noise:
    """Return groups of skewed and of heavy-tailed runs, as recorded ones are a little of both."""
    rng = np.random.default_rng(seed)
    groups: list[Floats] = [
        rng.normal(3.28, 0.001, 12),
        rng.gamma(30.0, 0.001, 15),
        rng.standard_t(8, 20),
        rng.normal(0, 1, 40),
    ]
    return noise_of(groups)


def _figure(figures: Json, *names: str) -> float:
    """Return one figure by its names."""
    for name in names:
        assert isinstance(figures, Mapping)
        figures = figures[name]
    assert isinstance(figures, float)
    return figures


def test_draws_have_the_mean_and_variance_of_the_group() -> None:
    noise = _noise(1)
    drawn = noise.draw(np.random.default_rng(2), np.full(4000, 2), 50)

    assert drawn.mean() == pytest.approx(0.0, abs=0.01)
    assert drawn.std() == pytest.approx(1.0, abs=0.01)
    assert len(np.unique(drawn)) == drawn.size


def test_greedy_keeps_as_many_nulls_as_records_have_new_bests() -> None:
    """The k-th of independent values is the best so far with probability 1/k, so 20 proposals keep H(21) - 1."""
    nights = np.random.default_rng(3).standard_normal((20_000, 21))

    assert Greedy().night(nights).mean() == pytest.approx(sum(1 / k for k in range(2, 22)), abs=0.04)


def test_two_baselines_and_the_badge_count_by_hand() -> None:
    night = np.array([[1.0, 1.1, 0.95, 0.7, 0.6, 0.4]])

    assert TwoBaselines().night(night).tolist() == [2.0]  # 0.7 < 1.0 - 0.2, then 0.4 < 0.7 - 0.2
    assert MadBadge().night(np.array([[1.0, 1.2, 0.9, 0.4]])).tolist() == [1.0]


def test_the_usual_tests_have_the_rates_that_are_known_of_them() -> None:
    rng = np.random.default_rng(4)
    left, right = rng.standard_normal((2, 20_000, 5))

    welch = Welch(seeds=5, alpha=0.05).compare(left, right, rng)
    bootstrap = PercentileBootstrap(seeds=3).compare(left[:, :3], right[:, :3], rng)

    assert 0.04 <= welch.promoted.mean() <= 0.052
    assert 0.08 <= bootstrap.promoted.mean() <= 0.13


def test_one_question_keeps_its_rate_on_noise_it_was_not_chosen_on() -> None:
    figures = ours_single(_noise(5), np.random.default_rng(6), alpha=0.05, sizes=Sizes(comparisons=8000))

    assert _figure(figures, "false_promotion_single") <= 0.05 + 3 * np.sqrt(0.05 / 8000)
    assert _figure(figures, "power", "2") >= 0.95
    assert _figure(figures, "mean_seeds", "2") <= 5.1
    assert 0.935 <= _figure(figures, "coverage") <= 0.97


def test_a_night_of_a_hundred_nulls_keeps_its_promise() -> None:
    sizes = Sizes(nights=600, nights_with_gains=100)
    figures = ours_stream(_noise(7), np.random.default_rng(8), sizes=sizes)

    assert _figure(figures, "false_promotions_per_100") <= 0.1 + 3 * np.sqrt(0.1 / 600)
    assert _figure(figures, "false_promotions_per_100_after_confirmation") <= _figure(
        figures, "false_promotions_per_100"
    )
    assert _figure(figures, "power", "2") >= 0.96
    assert _figure(figures, "mean_seeds", "0") <= 4.5
    assert _figure(figures, "mean_seeds", "2") <= 8.2


def test_the_same_seed_tells_the_same_story() -> None:
    sizes = Sizes(comparisons=100, nights=5, nights_with_gains=2)
    first, second = (scorecard(_noise(9), seed=3, alpha=0.05, sizes=sizes, progress=lambda _: None) for _ in range(2))

    assert first == second


def test_pairs_are_of_one_record_and_step_count_and_the_baseline_is_first() -> None:
    def group(name: str, steps: int) -> Group:
        return Group(name=name, steps=steps, values={str(run): run / 10 for run in range(6)})

    groups = [
        group("track/2026-01-01_X/change", 100),
        group("track/2026-01-01_X/baseline", 100),
        group("track/2026-01-01_X/other", 200),
        group("track/2026-02-02_Y", 100),
    ]

    found = [(first.name, second.name) for first, second in same_record(groups)]

    assert found == [("track/2026-01-01_X/baseline", "track/2026-01-01_X/change")]
    assert record_of("track/2026-01-01_X/change/logs") == "track/2026-01-01_X"
    assert record_of("mine/a") == "mine/a"
