"""The designs keep their promise under t with few seeds, and their intervals cover what they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from pilothouse.errors import BadValue
from pilothouse.evidence.looks import custom_design, single_design, stream_design
from pilothouse.evidence.replay import Ended, replay_single
from pilothouse.evidence.sequential import invert, make_design, t_of_z, z_of_t

COMPARISONS = 20_000


def _replayed(alpha: float, effect: float, *, spread: float = 1.0, looks: tuple[int, ...] | None = None) -> Ended:
    design = single_design(alpha) if looks is None else custom_design(looks, alpha=alpha)
    rng = np.random.default_rng(7)
    shape = (COMPARISONS, design.looks[-1])
    return replay_single(design, rng.standard_normal(shape), spread * rng.standard_normal(shape) - effect)


def test_a_single_look_is_the_ordinary_test() -> None:
    design = make_design((8,), alpha=0.05, shares=(1.0,), futility=(1.0,))

    assert design.efficacy[0] == pytest.approx(0.05, rel=1e-3)


def test_equal_shares_over_two_looks_agree_with_the_bivariate_normal() -> None:
    """P(Z1 >= u1) = 0.025, and P(Z1 < u1, Z2 >= u2) = 0.025 with correlation sqrt(1/2), by direct simulation."""
    design = make_design((4, 8), alpha=0.05, shares=(1.0, 1.0), futility=(1.0, 1.0))
    rng = np.random.default_rng(3)
    first = rng.standard_normal(2_000_000)
    second = np.sqrt(0.5) * first + np.sqrt(0.5) * rng.standard_normal(2_000_000)
    upper = [float(norm.isf(level)) for level in design.efficacy]

    found = ((first < upper[0]) & (second >= upper[1])).mean()

    assert design.efficacy[0] == pytest.approx(0.025, rel=1e-3)
    assert found == pytest.approx(0.025, abs=4e-4)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_noise_is_promoted_no_more_often_than_alpha(alpha: float) -> None:
    ended = _replayed(alpha, 0.0)

    margin = 3 * np.sqrt(alpha / COMPARISONS)
    assert ended.promoted.mean() <= alpha + margin
    assert ended.promoted.mean() >= 0.6 * alpha


@pytest.mark.parametrize("looks", [(3, 5, 8), (3, 6, 12), (4, 8, 16)])
def test_looks_of_the_owners_choice_keep_alpha(looks: tuple[int, ...]) -> None:
    assert _replayed(0.05, 0.0, looks=looks).promoted.mean() <= 0.05 + 3 * np.sqrt(0.05 / COMPARISONS)


@pytest.mark.parametrize("spread", [0.33, 3.0])
def test_unequal_spreads_keep_the_rate_within_a_third_of_it(spread: float) -> None:
    """Equal arms, spreads as three to one: the pooled error is Welch's, only its degrees of freedom are too many."""
    assert _replayed(0.05, 0.0, spread=spread).promoted.mean() <= 0.0667


def test_power_and_cost_of_one_question() -> None:
    two, one = _replayed(0.05, 2.0), _replayed(0.05, 1.0)

    assert two.promoted.mean() >= 0.95
    assert two.seeds.mean() <= 5
    assert one.promoted.mean() >= 0.5


@pytest.mark.parametrize("effect", [0.0, 0.5, 1.0])
def test_intervals_after_a_stop_cover_the_truth(effect: float) -> None:
    ended = _replayed(0.05, effect)

    covered = ((ended.low <= effect) & (effect <= ended.high)).mean()

    assert 0.935 <= covered <= 0.965


def test_the_shrunk_gain_of_the_promoted_is_nearer_the_truth() -> None:
    ended = _replayed(0.05, 1.0)
    plain, shrunk = ended.gain[ended.promoted].mean(), ended.shrunk[ended.promoted].mean()

    assert abs(shrunk - 1.0) < abs(plain - 1.0)


def test_the_inversion_of_one_look_is_the_ordinary_interval() -> None:
    design = make_design((8,), alpha=0.05, shares=(1.0,), futility=(1.0,))

    offsets = invert(design).at(np.zeros(5, dtype=np.intp), np.array([-3.0, -1.0, 0.0, 1.0, 3.0]))

    assert np.allclose(offsets, np.array([[-1.96], [0.0], [1.96]]), atol=0.02)


def test_t_and_z_with_the_same_tail_are_each_others_inverse() -> None:
    t = np.array([-40.0, -2.0, 0.0, 1.0, 12.0])
    freedom = np.full(5, 4.0)

    assert np.allclose(t_of_z(z_of_t(t, freedom), freedom), t)


def test_the_levels_of_a_stream_are_tighter_than_those_of_one_question() -> None:
    assert max(stream_design(0.0009).efficacy) < min(level for level in single_design(0.05).efficacy if level > 0)


@pytest.mark.parametrize(
    ("looks", "alpha", "shares", "futility", "named"),
    [
        ((1, 2), 0.05, (1.0, 1.0), (0.5, 1.0), "looks"),
        ((5, 3), 0.05, (1.0, 1.0), (0.5, 1.0), "looks"),
        ((3, 5), 0.6, (1.0, 1.0), (0.5, 1.0), "alpha"),
        ((3, 5), 0.05, (1.0,), (0.5, 1.0), "shares"),
        ((3, 5), 0.05, (1.0, 0.0), (0.5, 1.0), "shares"),
        ((3, 5), 0.05, (1.0, 1.0), (0.0, 1.0), "futility"),
    ],
)
def test_a_design_that_cannot_be_is_refused_by_name(
    looks: tuple[int, ...], alpha: float, shares: tuple[float, ...], futility: tuple[float, ...], named: str
) -> None:
    with pytest.raises(BadValue, match=named):
        make_design(looks, alpha=alpha, shares=shares, futility=futility)
