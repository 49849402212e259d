"""How fast a preset trains on this machine, on made-up tokens, beside what the machine can do at most.

On a processor the limit is a plain matrix product measured in the same run, before and after; on an accelerator it is
the maker's figure. A preset that is made for accelerators is told as not measured where there is none: only what needs
none is measured then, with its real sizes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import jax

from pilothouse import trainer
from pilothouse.programs.language import flops, learner, model
from pilothouse.programs.language.bench_host import checkpoints, drawn_batches, loading, tracing
from pilothouse.programs.language.learner import Learnt, Recipe
from pilothouse.programs.language.meter import Cost, Meter
from pilothouse.programs.language.options import Options
from pilothouse.programs.language.placement import Placement, place
from pilothouse.programs.language.plan import padded, recipe_of, settled_preset
from pilothouse.programs.language.presets import PRESETS, Preset
from pilothouse.trainer import JSON

Progress = Callable[[int, int], None]
"""Hears how many timed steps are done, of about how many."""

_FOR_ACCELERATORS: Final = frozenset({"canary", "daily-125m", "original-150m"})
_LEAST_STEPS: Final = 3
_MOST_STEPS: Final = 100_000
_SECONDS_PER_MINUTE: Final = 60
_SECONDS_PER_HOUR: Final = 3600
_TARGET: Final = 1e19
"""What the projected hours are for, in nominal FLOPs."""


def run(
    *, preset: str, minutes: float = 1.0, settings: Mapping[str, JSON] | None = None, progress: Progress | None = None
) -> dict[str, JSON]:
    """Time training steps of one preset for some minutes: tokens a second, MFU, compiling, checkpoints, the loader.

    `settings` are options of the program, such as `unroll`. Raises OptionRefused for one that there is not.
    """
    assert preset in PRESETS, f"preset {preset!r} is none of {', '.join(PRESETS)}"
    options = trainer.read_options(Options, {**(settings or {}), "preset": preset})
    sizes = settled_preset(options)
    placement = place(options.devices, sizes.batch)
    recipe = recipe_of(options, sizes, placement)
    device = placement.first
    about: dict[str, JSON] = {
        "preset": preset,
        "device": device.device_kind,
        "device_count": placement.count,
        **_chosen(recipe),
        **_counted(sizes),
    }
    if device.platform == "cpu" and preset in _FOR_ACCELERATORS:
        return {
            **about,
            "measured": False,
            "why": "not measured: this preset needs an accelerator",
            **_here(sizes, recipe),
        }
    bench = _Bench(sizes, recipe, placement, minutes=minutes, progress=progress or (lambda _done, _total: None))
    return {**about, "measured": True, **_limits(device, bench, options.peak_tflops)}


def _limits(device: jax.Device, bench: _Bench, peak: float) -> dict[str, JSON]:
    """Measure, on a processor with a plain matrix product before and after: other processes slow down both."""
    stated = flops.stated_peak(device.device_kind)
    if device.platform != "cpu":
        return {**bench.figures(peak), "stated_tflops": stated}
    before = flops.measured_peak()
    figures = bench.figures(peak)
    after = flops.measured_peak()
    return {
        **figures,
        "matrix_product_tflops_before": before,
        "matrix_product_tflops_after": after,
        "stated_tflops": stated,
    }


def _chosen(recipe: Recipe) -> dict[str, JSON]:
    """Return what stood in the place of `auto` and 0."""
    return {
        "attention": recipe.arithmetic.kernel,
        "precision": "bfloat16" if recipe.arithmetic.half else "float32",
        "remat": recipe.arithmetic.remat,
        "unroll": recipe.arithmetic.unroll,
        "micro_batch": recipe.micro_batch,
        "loss_chunk": recipe.loss_tokens,
        "optimizer": "muon" if recipe.rule.muon else "adamw",
    }


def _counted(sizes: Preset) -> dict[str, JSON]:
    """Return what a pencil would tell, and the speed that the aim asks of one H200."""
    vocabulary = padded(sizes.vocabulary)
    by_token = flops.true_flops_per_token(sizes.shape, vocabulary, sizes.sequence)
    return {
        "parameters": flops.parameter_count(sizes.shape, vocabulary),
        "parameters_without_embeddings": flops.body_parameter_count(sizes.shape),
        "true_flops_per_token": by_token,
        "tokens_per_step": sizes.batch * sizes.sequence,
        "tokens_per_s_of_the_aim": flops.aimed_tokens_per_s(by_token),
    }


def _here(sizes: Preset, recipe: Recipe) -> dict[str, JSON]:
    """Measure what an accelerator would share with this machine: state, loader, tracing, at their real sizes."""
    return {
        **checkpoints(learner.blank(sizes.shape, padded(sizes.vocabulary), recipe.rule)),
        **loading(sizes),
        **tracing(sizes),
    }


class _Bench:
    """One preset on one placement."""

    def __init__(
        self, sizes: Preset, recipe: Recipe, placement: Placement, *, minutes: float, progress: Progress
    ) -> None:
        self.sizes, self.recipe, self.placement = sizes, recipe, placement
        self.seconds = minutes * _SECONDS_PER_MINUTE
        self.progress = progress
        self.vocabulary = padded(sizes.vocabulary)
        self.rows = drawn_batches(sizes)

    def figures(self, asked_peak: float) -> dict[str, JSON]:
        """Compile, train for the time that is given, and save; `asked_peak` is the option `peak_tflops`."""
        learnt: Learnt = self.placement.replicate(
            learner.begin(model.initial(self.sizes.shape, self.vocabulary, seed=0), self.recipe.rule)
        )
        since = time.perf_counter()
        lowered = learner.trace_step(self.recipe, self.placement, learnt, self._tokens(0)).lower()
        traced = time.perf_counter()
        step = learner.compile_lowered(lowered, self.placement)
        compiled = time.perf_counter()
        peak, origin = flops.peak_tflops(asked_peak, self.placement.first)
        meter = Meter(self._cost(peak), trailing=_MOST_STEPS)
        learnt, loss = self._train(learnt, step, meter)
        told = meter.summary()
        hours = _TARGET / (6 * self._parameters) / told["tokens_per_s"] / _SECONDS_PER_HOUR
        shares = {} if peak is None else {"true_tflops": told["mfu_p50"] * peak * self.placement.count}
        return {
            "steps_timed": meter.steps,
            **told,
            **shares,
            "peak_tflops": peak,
            "peak_origin": origin,
            "last_loss": loss,
            "trace_and_lower_seconds": traced - since,
            "compile_seconds": compiled - since,
            "hours_for_1e19_nominal_flops": hours,
            **_memory(step, self.placement),
            **checkpoints(learnt),
            **loading(self.sizes),
        }

    def _train(self, learnt: Learnt, step: Any, meter: Meter) -> tuple[Learnt, float]:
        """Train as a run does: the next step is sent off before the one before it is heard of."""
        pace = learner.pace(rate=1e-3, decay=0.1)
        learnt, told = step(learnt, self._tokens(0), pace)
        told.loss.block_until_ready()
        begun = time.perf_counter()
        meter.resumed(begun)
        learnt, pending = step(learnt, self._tokens(1), pace)
        for done in range(1, _MOST_STEPS):
            learnt, told = step(learnt, self._tokens(done + 1), pace)
            pending.loss.block_until_ready()
            now = time.perf_counter()
            meter.step_done(now)
            pending = told
            self.progress(done, max(done, _LEAST_STEPS, round(done * self.seconds / (now - begun))))
            if done >= _LEAST_STEPS and now - begun > self.seconds:
                break
        return learnt, float(told.loss)

    @property
    def _parameters(self) -> int:
        return flops.parameter_count(self.sizes.shape, self.vocabulary)

    def _cost(self, peak: float | None) -> Cost:
        count = self.sizes.batch * self.sizes.sequence
        by_token = flops.true_flops_per_token(self.sizes.shape, self.vocabulary, self.sizes.sequence)
        return Cost(
            tokens=count,
            true_flops=by_token * count,
            nominal_flops=6.0 * self._parameters * count,
            peak_tflops=None if peak is None else peak * self.placement.count,
        )

    def _tokens(self, step: int) -> Any:
        first = step * self.sizes.batch
        shape = (self.sizes.batch, self.sizes.sequence + 1)
        return self.placement.scatter(shape, lambda low, high: self.rows.rows(first + low, first + high))


def _memory(step: Any, placement: Placement) -> dict[str, JSON]:
    """Return what the compiler has planned for a step, and the most that the device has held so far where it counts."""
    planned = step.memory_analysis()
    stats = placement.first.memory_stats() or {}
    most = stats.get("peak_bytes_in_use")
    return {
        "planned_memory_gb": None
        if planned is None
        else (planned.argument_size_in_bytes + planned.temp_size_in_bytes) / 1e9,
        "peak_memory_gb": None if most is None else most / 1e9,
    }
