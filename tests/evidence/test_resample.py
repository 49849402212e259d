"""The clustered bootstrap: the same seed gives the same interval, and it covers what it says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pilothouse.errors import BadValue
from pilothouse.evidence.arms import Floats
from pilothouse.evidence.clustered import paired_clustered
from pilothouse.evidence.resample import clustered_bootstrap


def _scores(rng: np.random.Generator, clusters: int, *, gain: float) -> tuple[Floats, Floats, NDArray[np.int64]]:
    cluster = np.repeat(np.arange(clusters), rng.integers(5, 20, clusters))
    baseline = rng.standard_normal(len(cluster))
    effect = gain + 0.3 * rng.standard_normal(clusters)[cluster]
    return baseline, baseline + effect + 0.2 * rng.standard_normal(len(cluster)), cluster


def test_it_agrees_with_the_closed_form_at_many_clusters() -> None:
    baseline, candidate, cluster = _scores(np.random.default_rng(1), 400, gain=0.1)

    found = clustered_bootstrap(baseline, candidate, cluster, alpha=0.05, resamples=4000, seed=3)
    closed = paired_clustered(baseline, candidate, cluster, alpha=0.05)

    assert found.difference == pytest.approx(closed.difference)
    width = closed.interval.high - closed.interval.low
    assert found.interval.low == pytest.approx(closed.interval.low, abs=0.1 * width)
    assert found.interval.high == pytest.approx(closed.interval.high, abs=0.1 * width)


def test_the_same_seed_gives_the_same_interval_whatever_the_labels() -> None:
    baseline, candidate, cluster = _scores(np.random.default_rng(2), 30, gain=0.0)
    first = clustered_bootstrap(baseline, candidate, cluster, alpha=0.05, resamples=500, seed=3)
    sparse = clustered_bootstrap(baseline, candidate, cluster * 10**9, alpha=0.05, resamples=500, seed=3)

    assert sparse == first
    assert clustered_bootstrap(baseline, candidate, cluster, alpha=0.05, resamples=500, seed=4) != first


def test_it_covers_the_truth_at_twenty_clusters() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for seed in range(400):
        baseline, candidate, cluster = _scores(rng, 20, gain=0.0)
        found = clustered_bootstrap(baseline, candidate, cluster, alpha=0.05, resamples=400, seed=seed)
        covered += found.interval.low <= 0 <= found.interval.high

    assert 0.91 <= covered / 400 <= 0.985


@pytest.mark.parametrize(("clusters", "named"), [(4, "4 clusters are too few")])
def test_too_few_clusters_are_refused(clusters: int, named: str) -> None:
    with pytest.raises(BadValue, match=named):
        clustered_bootstrap(*_scores(np.random.default_rng(1), clusters, gain=0.0), alpha=0.05, resamples=10, seed=1)
