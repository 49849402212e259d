"""The interval covers what it says, mirrors, moves and scales with the scores, and refuses what cannot be compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pilothouse.errors import BadValue
from pilothouse.evidence.clustered import paired_clustered

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REPEATS = 1500
"""At a true coverage of 95 % the standard deviation of the observed one is 0.56 %."""


def sizes_of(clusters: int, shape: str) -> Ints:
    """Sizes of the clusters: alike, spread, or with one that dominates."""
    if shape == "equal":
        return np.full(clusters, 12)
    if shape == "mixed":
        return np.linspace(3, 40, clusters).astype(np.int64)
    return np.array([8 * clusters] + [8] * (clusters - 1))  # one cluster holds half of the examples


@pytest.mark.parametrize("shape", ["equal", "mixed", "one holds half"])
@pytest.mark.parametrize("clusters", [3, 10, 40])
def test_interval_covers_the_true_difference(clusters: int, shape: str) -> None:
    """Cluster effects as large as the noise of an example; seeded, with bounds 4 standard deviations wide."""
    generator = np.random.default_rng(20_26)
    cluster = np.repeat(np.arange(clusters), sizes_of(clusters, shape))
    covered = 0
    for _ in range(REPEATS):
        baseline = generator.standard_normal(len(cluster))
        effect = generator.standard_normal(clusters)[cluster]
        candidate = baseline + 0.3 + effect + generator.standard_normal(len(cluster))
        interval = paired_clustered(baseline, candidate, cluster, alpha=0.05).interval
        covered += interval.low <= 0.3 <= interval.high
    assert 0.925 <= covered / REPEATS <= 0.98


def test_the_simpler_estimator_would_not_cover() -> None:
    """CR1 with G - 1 degrees of freedom, on the same data with one dominant cluster: the reason for CR2."""
    generator = np.random.default_rng(20_26)
    clusters = 10
    sizes = sizes_of(clusters, "one holds half")
    reach = stats.t.ppf(0.975, clusters - 1)
    covered = 0
    for _ in range(REPEATS):
        sums = sizes * generator.standard_normal(clusters) + np.sqrt(sizes) * generator.standard_normal(clusters)
        mean = sums.sum() / sizes.sum()
        error = np.sqrt(clusters / (clusters - 1) * ((sums - sizes * mean) ** 2).sum()) / sizes.sum()
        covered += abs(mean) <= reach * error
    assert covered / REPEATS < 0.85


def test_equal_sizes_are_the_t_interval_of_the_cluster_means() -> None:
    """Against scipy, the textbook case that the estimator must reduce to."""
    generator = np.random.default_rng(3)
    baseline, candidate = generator.standard_normal((2, 7, 5))
    cluster = np.repeat(np.arange(7), 5)
    found = paired_clustered(baseline.ravel(), candidate.ravel(), cluster, alpha=0.1)
    means = (candidate - baseline).mean(axis=1)
    low, high = stats.t.interval(0.9, 6, loc=means.mean(), scale=stats.sem(means))
    assert found.degrees_of_freedom == pytest.approx(6)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert (found.examples, found.clusters, found.doubt) == (35, 7, "")


def test_freedom_is_the_matrix_formula() -> None:
    """Satterthwaite's 2 E² / Var of the variance estimate, from its full matrix, against the closed form."""
    sizes = np.array([3, 50, 7, 12, 1])
    examples = sizes.sum()
    share = sizes / examples
    map_to_sums = np.eye(5) - np.outer(share, np.ones(5))
    scaled = map_to_sums / np.sqrt(1 - share)[:, None] / examples
    matrix = scaled @ np.diag(sizes) @ scaled.T
    expected = np.trace(matrix) ** 2 / np.trace(matrix @ matrix)
    cluster = np.repeat(np.arange(5), sizes)
    scores = np.random.default_rng(1).standard_normal((2, examples))
    found = paired_clustered(scores[0], scores[1], cluster, alpha=0.05)
    assert found.degrees_of_freedom == pytest.approx(expected)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Floats, Floats, Ints]:
    """Whole numbers, so that moving and doubling are exact."""
    count = draw(st.integers(2, 30))
    score = st.lists(st.integers(-1000, 1000), min_size=count, max_size=count)
    labels = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    return np.array(draw(score), float), np.array(draw(score), float), np.array(labels)


@given(pairs())
def test_swapped_arms_mirror_the_interval(arms: tuple[Floats, Floats, Ints]) -> None:
    """Neither arm is favoured."""
    baseline, candidate, cluster = arms
    there = paired_clustered(baseline, candidate, cluster, alpha=0.05)
    back = paired_clustered(candidate, baseline, cluster, alpha=0.05)
    assert back.difference == -there.difference
    assert (back.interval.low, back.interval.high) == (-there.interval.high, -there.interval.low)


@given(pairs(), st.integers(-500, 500))
def test_a_common_shift_changes_nothing(arms: tuple[Floats, Floats, Ints], shift: int) -> None:
    """Only differences count."""
    baseline, candidate, cluster = arms
    there = paired_clustered(baseline, candidate, cluster, alpha=0.05)
    moved = paired_clustered(baseline + shift, candidate + shift, cluster, alpha=0.05)
    assert (moved.interval, moved.difference, moved.doubt) == (there.interval, there.difference, there.doubt)


@given(pairs(), st.integers(-8, 8))
def test_another_unit_scales_the_interval(arms: tuple[Floats, Floats, Ints], power: int) -> None:
    """Nats or bits, the answer is the same."""
    baseline, candidate, cluster = arms
    unit = 2.0**power
    there = paired_clustered(baseline, candidate, cluster, alpha=0.05)
    scaled = paired_clustered(baseline * unit, candidate * unit, cluster, alpha=0.05)
    assert scaled.difference == there.difference * unit
    assert (scaled.interval.low, scaled.interval.high) == (there.interval.low * unit, there.interval.high * unit)


@given(pairs(), st.integers(0, 1000))
def test_names_and_order_do_not_matter(arms: tuple[Floats, Floats, Ints], seed: int) -> None:
    """Labels of clusters and the order of examples carry no meaning."""
    baseline, candidate, cluster = arms
    order = np.random.default_rng(seed).permutation(len(cluster))
    there = paired_clustered(baseline, candidate, cluster, alpha=0.05)
    mixed = paired_clustered(baseline[order], candidate[order], 1000 - cluster[order], alpha=0.05)
    assert mixed.interval.low == pytest.approx(there.interval.low, rel=1e-9, abs=1e-9)
    assert mixed.interval.high == pytest.approx(there.interval.high, rel=1e-9, abs=1e-9)


@given(pairs())
def test_difference_lies_in_its_interval_which_narrows_with_alpha(arms: tuple[Floats, Floats, Ints]) -> None:
    """A laxer error rate excludes more."""
    strict = paired_clustered(*arms, alpha=0.01)
    loose = paired_clustered(*arms, alpha=0.2)
    for found in (strict, loose):
        assert found.interval.low <= found.difference <= found.interval.high
    assert strict.interval.low <= loose.interval.low
    assert loose.interval.high <= strict.interval.high


def same_change(clusters: int, change: float) -> tuple[Floats, Floats, Ints]:
    """Scores whose every example changes by the same amount."""
    cluster = np.repeat(np.arange(clusters), 4)
    baseline = np.random.default_rng(5).uniform(0, 40, len(cluster))
    return baseline, baseline + change, cluster


def test_no_difference_at_all_is_the_interval_zero() -> None:
    """Equal models are not a division by zero."""
    found = paired_clustered(*same_change(10, 0.0), alpha=0.05)
    assert (found.interval.low, found.interval.high) == (0.0, 0.0)
    assert "same" in found.doubt


def test_a_difference_of_rounding_is_no_difference() -> None:
    """One unit in the last place everywhere is not an effect."""
    baseline, _, cluster = same_change(10, 0.0)
    found = paired_clustered(baseline, np.nextafter(baseline, np.inf), cluster, alpha=0.05)
    assert not found.interval.excludes_zero()


@pytest.mark.parametrize(("clusters", "certain"), [(2, False), (5, False), (6, True), (40, True)])
def test_equal_changes_count_by_their_sign_only(clusters: int, certain: bool) -> None:
    """Two clusters that agree exactly are not a certainty; six equal signs are 1 in 32."""
    found = paired_clustered(*same_change(clusters, 0.1), alpha=0.05)
    assert found.interval.excludes_zero() is certain
    assert math.isinf(found.interval.low) is not certain
    assert f"all {clusters} clusters" in found.doubt


def test_one_cluster_excludes_nothing() -> None:
    """Forty examples of one deal are one observation."""
    baseline, candidate, cluster = same_change(10, 3.0)
    found = paired_clustered(baseline, candidate, np.zeros_like(cluster), alpha=0.05)
    assert (found.interval.low, found.interval.high) == (-math.inf, math.inf)
    assert "one cluster" in found.doubt


GOOD = np.array([1.0, 2.0, 3.0])
LABELS = np.array([0, 1, 2])


@pytest.mark.parametrize(
    ("baseline", "candidate", "cluster", "why"),
    [
        (GOOD, GOOD[:2], LABELS, "unpaired: 3 of the baseline, 2 of the candidate, 3 cluster"),
        (GOOD, GOOD, LABELS[:1], "unpaired"),
        (GOOD, np.array([1.0, math.nan, 2.0]), LABELS, "candidate has 1 scores .* example 1"),
        (np.array([math.inf, 1.0, 2.0]), GOOD, LABELS, "baseline has 1 scores .* example 0"),
        (GOOD[:0], GOOD[:0], LABELS[:0], "no examples"),
        (GOOD, GOOD, GOOD, "float64"),
        (GOOD.astype(str), GOOD, LABELS, "baseline's scores have the type"),
        (GOOD[None], GOOD[None], LABELS[None], "shape"),
        (np.array([1e308, 0.0, 0.0]), np.array([-1e308, 0.0, 0.0]), LABELS, "too large"),
    ],
)
def test_what_cannot_be_compared_is_named(baseline: Floats, candidate: Floats, cluster: Ints, why: str) -> None:
    """Each refusal says what is wrong with which input."""
    with pytest.raises(BadValue, match=why):
        paired_clustered(baseline, candidate, cluster, alpha=0.05)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_alpha_outside_is_refused(alpha: float) -> None:
    """An error rate is a probability."""
    with pytest.raises(BadValue, match="alpha"):
        paired_clustered(GOOD, GOOD, LABELS, alpha=alpha)
