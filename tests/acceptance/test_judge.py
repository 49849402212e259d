"""The judge as its user has it: a noise floor through the engine, and the benchmark on a file of runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.acceptance.cli import Product

JITTER = ("config = {}", "config = { jitter = 0.05 }")


def test_calibration_trains_replicates_and_keeps_the_noise_floor(product: Product) -> None:
    """Each replicate is a job with a seed of its own; asking for more adds only what is missing."""
    file = str(product.file(JITTER, ('column = "regret"', 'column = "regret"\nsmallest_effect_of_interest = 0.01')))

    first = product.say("campaign", "calibrate", file, "--replicates", "3", "--json")
    trained = [job for job in product.json("job", "list") if job["kind"] == "calibrate-train"]
    second = product.say("campaign", "calibrate", file, "--replicates", "4", "--json")
    trained_again = [job for job in product.json("job", "list") if job["kind"] == "calibrate-train"]

    assert first.code == 0, first.err
    assert second.code == 0, second.err
    floor = first.json["noise_floors"][0]
    assert (floor["metric"], floor["replicates"], floor["failed"]) == ("gap", 3, 0)
    assert 0 < floor["sigma_low"] < floor["sigma"] < floor["sigma_high"]
    assert floor["detectable"] > floor["sigma"]
    assert second.json["noise_floors"][0]["replicates"] == 4
    assert (len(trained), len(trained_again)) == (3, 4)
    kept = product.json("judge", "floor")[0]
    assert (kept["sigma"], kept["replicates"]) == (second.json["noise_floors"][0]["sigma"], 4)
    assert kept["expired"] == "" or kept["expired"].startswith("the code changed")  # others may edit the folder
    page = product.say("logbook", "export").out
    assert page.count("calibration: ") == 2
    assert "seeds per arm find 0.01" in page


def test_a_campaign_goes_on_after_a_calibration_and_shares_its_data(product: Product) -> None:
    file = str(product.file(JITTER))

    assert product.say("campaign", "calibrate", file, "--replicates", "3").code == 0
    assert product.say("campaign", "run", file, "--once").code == 0

    kinds = [job["kind"] for job in product.json("job", "list")]
    assert kinds.count("generate") == kinds.count("tokenise") == kinds.count("golden-generate") == 1
    assert [row["number"] for row in product.json("campaign", "status")["iterations"]] == [1]


def test_a_proposal_that_only_moves_a_seed_is_refused(product: Product) -> None:
    """Exit 3, and it is said what a seed is."""
    seed = '[knobs.data_seed]\ntype = "int"\ndefault = 1\nmin = 0\nmax = 99\n\n[change_budget]'
    file = str(product.file(("[change_budget]", seed)))

    said = product.say("campaign", "run", file, "--once", "--set", "data_seed=2")

    assert said.code == 3
    assert "changes nothing but data_seed" in said.err
    assert "a seed is noise" in said.err


def test_the_benchmark_tells_every_rule_beside_ours(product: Product, tmp_path: Path) -> None:
    """A small replay on made runs; the shape is fixed, and the same seed tells the same story."""
    runs, curves = tmp_path / "runs.csv", tmp_path / "curves.csv"
    _write_runs(runs, curves)
    words = ("bench", "judge", "--runs", str(runs), "--curves", str(curves), "--scale", "0.02", "--json")

    first, second = product.run(*words), product.say(*words)

    assert first.code == 0, first.err
    figures = first.json
    assert set(figures["rules"]) >= {
        "ours_single",
        "ours_stream",
        "greedy",
        "mad_badge",
        "two_baselines",
        "percentile_bootstrap",
        "welch_fixed",
    }
    for rule in figures["rules"].values():
        assert set(rule["power"]) == {"0.5", "1", "2"}
        assert set(rule["mean_seeds"]) == {"0", "0.5", "1", "2"}
        assert {"false_promotion_single", "false_promotions_per_20", "false_promotions_per_100", "coverage"} <= set(
            rule
        )
    assert figures["rules"]["greedy"]["false_promotion_single"] > 0.4
    assert figures["rules"]["ours_single"]["false_promotion_single"] < 0.1
    assert figures["real_pairs"][0]["d"] > 2
    assert figures["early_stopping"]["same_configuration"]["winners_stopped_share"] <= 0.01
    assert second.json["rules"] == figures["rules"]


def _write_runs(runs: Path, curves: Path) -> None:
    """Write four groups of twelve runs, two of them a real pair, with curves whose late values foretell the end."""
    rng = np.random.default_rng(3)
    rows, points = ["group,steps,run,val_loss"], ["group,steps,run,step,val_loss"]
    names = ["a/2026-01-01/baseline", "a/2026-01-01/changed", "b/2026-01-02/x", "c/2026-01-03/x"]
    for place, name in enumerate(names):
        final = 3.28 - (0.006 if name.endswith("changed") else 0) + 0.0015 * rng.standard_normal(12)
        for run, value in enumerate(final):
            rows.append(f"{name},{100 + 10 * (place // 2)},{run},{value:.5f}")
            points += [
                f"{name},{100 + 10 * (place // 2)},{run},{round(share * (100 + 10 * (place // 2)))},"
                f"{value + 2 * (1 - share) + 0.002 * (1 - share) * rng.standard_normal():.5f}"
                for share in (0.2, 0.4, 0.6, 0.8, 1.0)
            ]
    runs.write_text("\n".join(rows), encoding="utf-8")
    curves.write_text("\n".join(points), encoding="utf-8")
