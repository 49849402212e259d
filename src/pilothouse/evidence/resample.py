"""A clustered bootstrap of a paired difference that costs clusters, not examples.

Resampling whole clusters needs of each cluster only its size and its sum of differences; a resample is then a row of
multinomial counts, and all resamples are two matrix products. Millions of rows are read once. The interval is the
studentised one (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 12), with a cluster-robust
error in each resample: the plain percentile interval promises too much at few clusters. `clustered.paired_clustered`
decides verdicts without any resampling; this stands beside it where the effect may be skewed and clusters are many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pilothouse.errors import BadValue
from pilothouse.evidence.arms import Floats
from pilothouse.evidence.interval import Interval

CLUSTERS_LEAST = 10
"""Clusters below which a bootstrap has too few distinct resamples to be trusted in its tails."""
CHUNK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrapped:
    """The mean difference, candidate minus baseline, with its studentised interval."""

    difference: float
    interval: Interval
    clusters: int
    resamples: int


def clustered_bootstrap(
    baseline: Floats, candidate: Floats, cluster: NDArray[np.int64], *, alpha: float, resamples: int, seed: int
) -> Bootstrapped:
    """Compare scores of the same n examples in the same order; the same seed gives the same interval."""
    if not len(baseline) == len(candidate) == len(cluster):
        raise BadValue(
            f"the scores are unpaired: {len(baseline)}, {len(candidate)} and {len(cluster)} cluster labels",
            fix="evaluate both on the same examples, in the same order",
        )
    place, clusters = _places(cluster)
    if clusters < CLUSTERS_LEAST:
        raise BadValue(
            f"{clusters} clusters are too few for a bootstrap",
            fix=f"give {CLUSTERS_LEAST - clusters} more, or use the t interval of the paired comparison",
        )
    differences = candidate - baseline
    sizes = np.bincount(place, minlength=clusters).astype(np.float64)
    sums: Floats = np.bincount(place, weights=differences, minlength=clusters).astype(np.float64)
    if not np.isfinite(sums).all():
        raise BadValue("a score is no finite number", fix="evaluate again: NaN is a failure, not a result")
    mean = float(sums.sum() / sizes.sum())
    table = np.stack([sums, sizes, sums**2, sums * sizes, sizes**2], axis=1)
    error = float(_errors(table.sum(axis=0)[None, :], clusters)[0])
    t = _studentised(table, mean, rng=np.random.default_rng(seed), resamples=resamples)
    low, high = np.quantile(t, [alpha / 2, 1 - alpha / 2])
    return Bootstrapped(
        difference=mean,
        interval=Interval(low=mean - float(high) * error, high=mean - float(low) * error),
        clusters=clusters,
        resamples=resamples,
    )


def _places(cluster: NDArray[np.int64]) -> tuple[NDArray[np.intp], int]:
    """Return each example's cluster as 0, 1, …; labels in a dense range are counted, which is faster than sorting."""
    lowest, highest = int(cluster.min()), int(cluster.max())
    if highest - lowest < 4 * len(cluster):
        used = np.bincount(cluster - lowest, minlength=highest - lowest + 1) > 0
        names = np.cumsum(used) - 1
        return names[cluster - lowest], int(used.sum())
    labels, place = np.unique(cluster, return_inverse=True)
    return place, len(labels)


def _studentised(table: Floats, mean: float, *, rng: np.random.Generator, resamples: int) -> Floats:
    """Return (resampled mean - mean) / its error, float64 [resamples]; `table` holds each cluster's five sums."""
    clusters = len(table)
    found = np.empty(resamples)
    rows = np.arange(CHUNK, dtype=np.int32)[:, None] * clusters
    for start in range(0, resamples, CHUNK):
        count = min(CHUNK, resamples - start)
        picks = rng.integers(0, clusters, (count, clusters), dtype=np.int32)
        picks += rows[:count]
        counts = np.bincount(picks.ravel(), minlength=count * clusters).reshape(count, clusters)
        totals = counts.astype(np.float64) @ table
        errors = _errors(totals, clusters)
        found[start : start + count] = (totals[:, 0] / totals[:, 1] - mean) / np.where(errors > 0, errors, np.inf)
    return found


def _errors(totals: Floats, clusters: int) -> Floats:
    """Return the standard error of each resample's mean from its totals: float64 [resamples, 5]."""
    sums, sizes, sums_squared, products, sizes_squared = totals.T
    means = sums / sizes
    squares = sums_squared - 2 * means * products + means**2 * sizes_squared
    errors: Floats = np.sqrt(np.maximum(squares, 0.0) * clusters / (clusters - 1)) / sizes
    return errors
