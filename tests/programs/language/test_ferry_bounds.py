"""The bounds that the ferries' examples state follow from the presets, so that neither changes without the other."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

import pytest

from pilothouse import trainer
from pilothouse.programs.language import flops
from pilothouse.programs.language.options import Options
from pilothouse.programs.language.plan import padded, settled_preset

_SECONDS_PER_HOUR = 3600


def _example(name: str) -> dict[str, Any]:
    text = (files("pilothouse.programs.language.campaigns") / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _options(name: str) -> Options:
    example = _example(name)
    knobs = {knob: each["default"] for knob, each in example.get("knobs", {}).items()}
    return trainer.read_options(Options, {**example["trainer"]["modes"][example["trainer"]["mode"]], **knobs})


def _steps(options: Options) -> tuple[int, float]:
    """Return the steps of a whole run, and its tokens by what a token costs in true FLOPs."""
    preset = settled_preset(options)
    vocabulary = padded(preset.vocabulary)
    steps = flops.step_count(
        flops_target=preset.flops_target,
        parameters=flops.parameter_count(preset.shape, vocabulary),
        batch=preset.batch,
        sequence=preset.sequence,
    )
    by_token = flops.true_flops_per_token(preset.shape, vocabulary, preset.sequence)
    return steps, steps * preset.batch * preset.sequence * by_token


def _hours(true_flops: float, share: float) -> float:
    return true_flops / (share * 989.4e12) / _SECONDS_PER_HOUR


def test_the_canarys_bounds_can_be_met_and_are_not_met_by_less() -> None:
    """940 steps of which 900 must be; and at the least MFU that passes the hour is long enough."""
    steps, true_flops = _steps(_options("ferry-canary"))
    bounds = _example("ferry-canary")["ferry"]["validators"]

    assert steps == 940
    assert 0.9 * steps < bounds["steps"]["at_least"] <= steps
    assert _hours(true_flops, bounds["mfu_p50"]["at_least"]) * _SECONDS_PER_HOUR == pytest.approx(260, abs=5)
    assert bounds["seconds"]["at_most"] == _SECONDS_PER_HOUR


def test_the_dailys_time_is_long_enough_for_the_slowest_that_passes() -> None:
    """At 20 % it takes 14.7 hours, at the aim 6.5."""
    example, options = _example("ferry-daily"), _options("ferry-daily")
    steps, true_flops = _steps(options)
    slowest = example["ferry"]["validators"]["mfu_p50"]["at_least"]

    assert steps == 16_587
    assert _hours(true_flops, 0.45) == pytest.approx(6.5, abs=0.05)
    assert _hours(true_flops, slowest) == pytest.approx(14.7, abs=0.1)
    assert _hours(true_flops, slowest) < float(example["trainer"]["timeout"].removesuffix("h"))


def test_the_daily_has_the_originals_schedule() -> None:
    """Up over 1,000 steps to 0.003, level, down over the last fifth to a tenth; decay, z-loss and clipping as well."""
    options = _options("ferry-daily")
    steps, _ = _steps(options)

    assert (options.schedule, options.decay, options.final_rate) == ("wsd", 0.2, 0.1)
    assert round(options.warmup * steps) == pytest.approx(1000, abs=10)
    assert (options.learning_rate, options.weight_decay, options.z_loss) == (3e-3, 0.1, 1e-4)
