"""The network's sizes and costs, and a step on two devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pilothouse.programs.language import flops, learner, model
from pilothouse.programs.language.learner import Recipe
from pilothouse.programs.language.model import Arithmetic
from pilothouse.programs.language.optimiser import Rule
from pilothouse.programs.language.presets import PRESETS, Shape

_RULE = Rule(muon=False, beta1=0.9, beta2=0.95, epsilon=1e-8, momentum=0.95, clip_norm=1.0)
_WIDE = Shape(width=64, heads=4, key_heads=2, layers=2, hidden=160, tied=True)


def _recipe(shape: Shape, **changes: Any) -> Recipe:
    plain = Recipe(shape=shape, rule=_RULE, arithmetic=Arithmetic(), z_loss=1e-4, loss_tokens=10_000, micro_batch=0)
    return replace(plain, **changes)


@pytest.mark.parametrize("name", ["nano", "micro", "tiny"])
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_counted_as_they_are_drawn(name: str, tied: bool) -> None:
    """By the formula and by the arrays, with one matrix for both ends and with two."""
    shape = replace(PRESETS[name].shape, tied=tied)
    weights = model.initial(shape, 256, seed=1)

    assert sum(leaf.size for leaf in jax.tree_util.tree_leaves(weights)) == flops.parameter_count(shape, 256)
    assert (weights.head is None) is tied


def test_the_named_presets_have_the_sizes_they_are_named_for() -> None:
    """30 million; 125 besides the embeddings; and the ferry this one follows: 154.1, of which 131.3 are embeddings."""
    canary, daily, original = (PRESETS[name] for name in ("canary", "daily-125m", "original-150m"))

    assert flops.parameter_count(canary.shape, canary.vocabulary) == pytest.approx(30e6, rel=0.02)
    assert flops.body_parameter_count(daily.shape) == pytest.approx(125e6, rel=0.01)
    whole = flops.parameter_count(original.shape, original.vocabulary)
    assert whole == pytest.approx(154.1e6, rel=0.001)
    assert whole - flops.body_parameter_count(original.shape) == pytest.approx(131.3e6, rel=0.001)
    steps = flops.step_count(flops_target=1e19, parameters=whole, batch=original.batch, sequence=original.sequence)
    assert steps == pytest.approx(5155, abs=10)
    true = flops.true_flops_per_token(original.shape, original.vocabulary, original.sequence)
    assert true == pytest.approx(606e6, rel=0.01)


def test_a_target_buys_at_least_one_step() -> None:
    """Tokens are rounded down, and nothing is not a ferry."""
    assert flops.step_count(flops_target=6e6, parameters=1000, batch=10, sequence=10) == 10
    assert flops.step_count(flops_target=1.0, parameters=1000, batch=10, sequence=10) == 1


def test_true_flops_agree_with_the_compilers_count() -> None:
    """Plain products compute attention in full; the compiler counts sums and roots too, a few in a hundred here."""
    recipe = _recipe(_WIDE, arithmetic=Arithmetic(unroll=_WIDE.layers))
    weights = model.initial(_WIDE, 512, seed=1)
    tokens = jnp.zeros((4, 65), jnp.int32)

    lowered = jax.jit(lambda weights, tokens: learner._gradient(recipe, weights, tokens)).lower(weights, tokens)
    costs = lowered.cost_analysis()

    assert costs is not None
    wanted = 4 * 64 * flops.true_flops_per_token(_WIDE, 512, 64, causal=False)
    assert wanted <= costs["flops"] <= 1.15 * wanted


def test_peaks_are_stated_for_known_devices_only() -> None:
    """A part of the device's name decides."""
    assert flops.stated_peak("NVIDIA H200") == flops.stated_peak("NVIDIA H100 80GB HBM3") == 989.4
    assert flops.stated_peak("NVIDIA H200 NVL") == flops.stated_peak("NVIDIA H100 NVL") == 835.5
    assert flops.stated_peak("TPU v5p") == 459.0
    assert flops.stated_peak("cpu") is None


@pytest.mark.parametrize(
    ("asked", "kind", "platform", "found"),
    [
        (3.5, "cpu", "cpu", (3.5, "configured")),
        (0.0, "NVIDIA H200", "gpu", (989.4, "stated for NVIDIA H200")),
        (0.0, "Some New GPU", "gpu", (None, "not known for Some New GPU")),
        (7.0, "Some New GPU", "gpu", (7.0, "configured")),
    ],
)
def test_a_peak_that_is_not_known_is_not_made_up(
    asked: float, kind: str, platform: str, found: tuple[float | None, str]
) -> None:
    """The config, then the maker; a new accelerator has none until somebody configures it."""
    device: Any = SimpleNamespace(device_kind=kind, platform=platform)

    assert flops.peak_tflops(asked, device) == found


def test_a_processors_peak_is_measured() -> None:
    """By a product, whose speed is a number above 0."""
    device: Any = SimpleNamespace(device_kind="cpu", platform="cpu")

    peak, origin = flops.peak_tflops(0.0, device)

    assert peak is not None
    assert peak > 0
    assert origin == "measured on cpu"


_TWO_DEVICES = """
import json
import numpy as np
from dataclasses import replace
from pilothouse.programs.language import learner, model
from pilothouse.programs.language.learner import Recipe, Reader
from pilothouse.programs.language.model import Arithmetic
from pilothouse.programs.language.optimiser import Rule
from pilothouse.programs.language.placement import place
from pilothouse.programs.language.presets import PRESETS

rule = Rule(muon=True, beta1=0.9, beta2=0.95, epsilon=1e-8, momentum=0.95, clip_norm=1.0)
shape = replace(PRESETS["tiny"].shape, layers=1)
recipe = Recipe(shape=shape, rule=rule, arithmetic=Arithmetic(), z_loss=1e-4, loss_tokens=32, micro_batch=0)
rows = np.random.default_rng(1).integers(0, 128, (4, 17)).astype(np.int32)
told = {}
for name, devices, micro in (("one", 1, 0), ("two", 2, 1)):
    recipe = replace(recipe, micro_batch=micro, arithmetic=Arithmetic(remat="full" if micro else "none"))
    placement = place(devices, 4)
    learnt = placement.replicate(learner.begin(model.initial(shape, 128, seed=1), rule))
    tokens = placement.scatter(rows.shape, lambda first, end: rows[first:end])
    step = learner.compile_step(recipe, placement, learnt, tokens)
    told[name] = []
    for _ in range(4):
        learnt, heard = step(learnt, tokens, learner.pace(rate=0.02, decay=0.1))
        told[name].append([float(heard.loss), float(heard.gradient_norm)])
told["devices"] = len(tokens.sharding.device_set)
told["read"] = float(Reader(recipe, placement, rows=4).nats(learnt.weights, rows).mean())
told["next"] = float(step(learnt, tokens, learner.pace(rate=0.0, decay=0.0))[1].loss)
print(json.dumps(told))
"""
_QUICKLY = (
    "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)


def test_two_devices_that_take_micro_batches_learn_what_one_device_learns() -> None:
    """Losses and norms of four steps agree within rounding; so does what is read of the weights afterwards."""
    environment = {**os.environ, "XLA_FLAGS": _QUICKLY}  # noqa: TID251  the child's PATH
    ended = subprocess.run(
        [sys.executable, "-c", _TWO_DEVICES], env=environment, capture_output=True, text=True, timeout=110, check=False
    )

    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["devices"] == 2
    np.testing.assert_allclose(told["two"], told["one"], rtol=2e-4)
    assert told["one"][-1][0] < told["one"][0][0]
    assert told["read"] == pytest.approx(told["next"], rel=1e-5)
