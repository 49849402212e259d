"""How fast a preset trains on this machine, on made-up tokens, beside what the machine can do at most.

The limit is a plain matrix product measured in the same run, before and after; on an accelerator it stands beside the
maker's figure. Presets that are made for accelerators are told as not measured where there is none.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import jax
import numpy as np

from pilothouse.programs.language import checkpoint, flops, learner, model
from pilothouse.programs.language.checkpoint import Training
from pilothouse.programs.language.learner import Learnt
from pilothouse.programs.language.meter import Cost, Meter
from pilothouse.programs.language.options import Options
from pilothouse.programs.language.placement import place
from pilothouse.programs.language.plan import padded, recipe_of, settled_preset
from pilothouse.programs.language.presets import PRESETS
from pilothouse.programs.language.saver import Saver
from pilothouse.trainer import JSON, tree

Progress = Callable[[int, int], None]
"""Hears how many timed steps are done, of how many."""

_FOR_ACCELERATORS: Final = frozenset({"canary", "daily-125m", "original-150m"})
_STEPS: Final = 20
_SECONDS: Final = 60.0
"""Steps are timed no longer than this, but for the first three."""
_LEAST_STEPS: Final = 3
_SECONDS_PER_HOUR: Final = 3600


def run(*, preset: str, progress: Progress | None = None) -> dict[str, JSON]:
    """Time training steps of one preset: tokens a second, MFU, compiling, and how long a checkpoint stops it."""
    assert preset in PRESETS, f"preset {preset!r} is none of {', '.join(PRESETS)}"
    device = jax.devices()[0]
    about: dict[str, JSON] = {"preset": preset, "device": device.device_kind, "device_count": jax.device_count()}
    if device.platform == "cpu" and preset in _FOR_ACCELERATORS:
        return {**about, "measured": False, "why": "not measured: this preset needs an accelerator"}
    limit = flops.measured_peak()
    figures = _measured(preset, progress or (lambda _done, _total: None))
    stated = flops.stated_peak(device.device_kind)
    return {
        **about,
        "measured": True,
        **figures,
        "matrix_product_tflops_before": limit,
        "matrix_product_tflops_after": flops.measured_peak(),
        "stated_tflops": stated,
    }


def _measured(name: str, progress: Progress) -> dict[str, JSON]:
    options = Options(preset=name)
    preset = settled_preset(options)
    placement = place(0, preset.batch)
    vocabulary = padded(preset.vocabulary)
    recipe = recipe_of(options, preset, placement)
    learnt: Learnt = placement.replicate(learner.begin(model.initial(preset.shape, vocabulary, seed=0), recipe.rule))
    rows = np.random.default_rng(0).integers(0, preset.vocabulary, (preset.batch, preset.sequence + 1), dtype=np.int32)
    tokens = placement.scatter(rows.shape, lambda first, end: rows[first:end])
    since = time.perf_counter()
    step = learner.compile_step(recipe, placement, learnt, tokens)
    compile_seconds = time.perf_counter() - since

    by_token = flops.true_flops_per_token(preset.shape, vocabulary, preset.sequence)
    parameters = flops.parameter_count(preset.shape, vocabulary)
    count = preset.batch * preset.sequence
    peak, origin = flops.peak_tflops(0.0)
    cost = Cost(
        tokens=count,
        true_flops=by_token * count,
        nominal_flops=6.0 * parameters * count,
        peak_tflops=peak * placement.count,
    )
    meter = Meter(cost, trailing=_STEPS)
    pace = learner.pace(rate=1e-3, decay=0.1)
    learnt, told = step(learnt, tokens, pace)
    told.loss.block_until_ready()
    begun = time.perf_counter()
    meter.resumed(begun)
    for done in range(1, _STEPS + 1):
        learnt, told = step(learnt, tokens, pace)
        told.loss.block_until_ready()
        meter.step_done(time.perf_counter())
        progress(done, _STEPS)
        if done >= _LEAST_STEPS and time.perf_counter() - begun > _SECONDS:
            break
    speeds = meter.summary()
    hours = 1e19 / (6 * parameters) / speeds["tokens_per_s"] / _SECONDS_PER_HOUR
    return {
        "parameters": parameters,
        "parameters_without_embeddings": flops.body_parameter_count(preset.shape),
        "true_flops_per_token": by_token,
        "tokens_per_step": count,
        "steps_timed": meter.steps,
        **speeds,
        "peak_tflops": peak,
        "peak_origin": origin,
        "true_tflops": speeds["mfu_p50"] * peak * placement.count,
        "compile_seconds": compile_seconds,
        **_stalls(learnt, name),
        "hours_for_1e19_nominal_flops": hours,
    }


def _stalls(learnt: Learnt, name: str) -> dict[str, JSON]:
    """Return how long training waits for a checkpoint, and how long one takes to be written and sealed."""
    training = Training(preset=name, vocabulary=0, tokeniser="none", step=1, identity="bench")
    stalls: dict[str, JSON] = {}
    with tempfile.TemporaryDirectory(prefix="pilothouse-bench-") as root:

        def write(step: int, state: Learnt) -> Path:
            folder = Path(root) / str(step)
            folder.mkdir()
            checkpoint.save(folder, state, training)
            tree.seal(folder)
            return folder

        for number, how in enumerate(("waiting", "beside")):
            since = time.perf_counter()
            with Saver(write, beside=how == "beside") as saver:
                saver.save(number, learnt)
                stalls[f"checkpoint_stall_seconds_{how}"] = saver.longest_stall
            stalls[f"checkpoint_write_seconds_{how}"] = time.perf_counter() - since
        stalls["checkpoint_megabytes"] = sum(path.stat().st_size for path in (Path(root) / "0").iterdir()) / 1e6
    return stalls
