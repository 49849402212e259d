"""The judge measured on recorded runs: every rule's false promotions, power, cost and coverage."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pilothouse.canonical import Json
from pilothouse.cli.context import say
from pilothouse.cli.csv_files import read_text
from pilothouse.cli.table import print_table, shown
from pilothouse.errors import BadValue
from pilothouse.evidence.real_pairs import on_curves, on_pairs, on_splits
from pilothouse.evidence.replay import noise_of
from pilothouse.evidence.resample import clustered_bootstrap
from pilothouse.evidence.runs_file import Group, grouped, read_curves, read_runs, without_copies
from pilothouse.evidence.scorecard import Sizes, scorecard

RUNS_LEAST = 8
"""Runs of a group from which it stands for a distribution."""
GROUPS_LEAST = 3
ROWS = 2_000_000
CLUSTERS = 3_000
RESAMPLES = 10_000

Progress = Callable[[str], None]


def measure(
    runs: Path, curves: Path | None, *, metric: str, seed: int, alpha: float, sizes: Sizes, progress: Progress
) -> dict[str, Json]:
    """Return every figure of the benchmark; all but the seconds are the same for the same seed and file."""
    began = time.perf_counter()
    groups, copies = without_copies(grouped(read_runs(read_text(runs), file=runs.name, metric=metric), file=runs.name))
    usable = noise_groups(groups, file=runs.name, metric=metric)
    noise = noise_of([np.array(group.finite()) for group in usable])
    rng = np.random.default_rng(seed)
    figures: dict[str, Json] = {"rules": scorecard(noise, seed=seed, alpha=alpha, sizes=sizes, progress=progress)}
    progress("real pairs")
    figures["real_pairs"] = on_pairs(groups, rng, alpha=alpha)
    progress("splits of real groups")
    figures["splits"] = on_splits(usable, rng, alpha=alpha)
    if curves is not None:
        progress("curves")
        figures["early_stopping"] = on_curves(read_curves(read_text(curves), file=curves.name, metric=metric))
    progress("paired rows")
    figures["paired_rows"] = time_bootstrap(seed=seed)
    return figures | {
        "alpha": alpha,
        "seed": seed,
        "groups": len(usable),
        "runs": sum(len(group.finite()) for group in usable),
        "copies_left_out": copies,
        "replays": {"comparisons": sizes.comparisons, "nights": sizes.nights, "with_gains": sizes.nights_with_gains},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seconds": time.perf_counter() - began,
    }


def noise_groups(groups: list[Group], *, file: str, metric: str) -> list[Group]:
    """Return the groups that stand for a distribution, or refuse the file and say what is missing."""
    many = [group for group in groups if len(group.finite()) >= RUNS_LEAST]
    usable = [group for group in many if len(set(group.finite())) > 1]
    if many and not usable:
        raise BadValue(f"{metric} is constant in every group of {file}", fix="name another metric with --metric")
    if len(usable) < GROUPS_LEAST:
        largest = max((len(group.finite()) for group in groups), default=0)
        raise BadValue(
            f"{file} has {len(usable)} groups of at least {RUNS_LEAST} runs (the largest has {largest}); "
            f"{GROUPS_LEAST - len(usable)} more are needed",
            fix=f"add runs: {max(0, RUNS_LEAST - largest)} more in the largest group, for example",
        )
    return usable


def time_bootstrap(*, seed: int) -> dict[str, Json]:
    """Return the seconds of one comparison of two million paired rows with ten thousand resamples."""
    rng = np.random.default_rng(seed)
    cluster = np.sort(rng.integers(0, CLUSTERS, ROWS))
    baseline = rng.standard_normal(ROWS)
    candidate = baseline + 0.1 * rng.standard_normal(ROWS) + 0.02 * rng.standard_normal(CLUSTERS)[cluster]
    began = time.perf_counter()
    found = clustered_bootstrap(baseline, candidate, cluster, alpha=0.05, resamples=RESAMPLES, seed=seed)
    seconds = time.perf_counter() - began
    return {"rows": ROWS, "clusters": found.clusters, "resamples": RESAMPLES, "seconds": seconds}


def sizes_at(scale: float) -> Sizes:
    """Return the usual numbers of replays times `scale`."""
    usual = Sizes()
    return Sizes(
        comparisons=max(1, round(usual.comparisons * scale)),
        nights=max(1, round(usual.nights * scale)),
        nights_with_gains=max(1, round(usual.nights_with_gains * scale)),
    )


def show(figures: Mapping[str, Json]) -> None:
    """Print the rules side by side, then the rest by name."""
    rules = figures["rules"]
    assert isinstance(rules, Mapping)
    rows = [{"rule": name, **_row(each)} for name, each in rules.items() if isinstance(each, Mapping)]
    print_table(list(rows[0]), rows)
    pairs = figures["real_pairs"]
    assert isinstance(pairs, Sequence)
    assert not isinstance(pairs, str)
    for pair in pairs:
        if isinstance(pair, Mapping):
            say(f"{pair['baseline']} → {pair['candidate']}: d {shown(pair['d'])}")
            for rule in ("ours_single", "ours_stream", "welch_fixed"):
                say(f"  {rule:<12} {pair[rule]}")
    for name, value in figures.items():
        if name not in {"rules", "real_pairs"}:
            say(f"{name:<18} {value}")


def _row(rule: Mapping[str, Json]) -> dict[str, Json]:
    power, seeds = rule["power"], rule["mean_seeds"]
    assert isinstance(power, Mapping)
    assert isinstance(seeds, Mapping)
    return {
        "false": rule["false_promotion_single"],
        "per 20": rule["false_promotions_per_20"],
        "per 100": rule["false_promotions_per_100"],
        **{f"power d={name}": value for name, value in power.items()},
        **{f"seeds d={name}": value for name, value in seeds.items()},
        "coverage": rule["coverage"],
    }
