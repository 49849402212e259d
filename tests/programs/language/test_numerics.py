"""The arithmetic of a step against its sources, in plain NumPy: half precision, Muon, and the original's schedule."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from pilothouse.programs.language import learner, loss, model, optimiser
from pilothouse.programs.language.learner import Learnt, Recipe
from pilothouse.programs.language.model import Arithmetic
from pilothouse.programs.language.optimiser import Rule, orthogonalised
from pilothouse.programs.language.placement import place
from pilothouse.programs.language.presets import PRESETS
from pilothouse.programs.language.schedule import Schedule

_OPTIONS: dict[str, bool | int | float | str] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
"""What is compiled here runs once."""
_quickly = partial(jax.jit, compiler_options=_OPTIONS)


Numbers = NDArray[np.float64]
_MUON = Rule(muon=True, beta1=0.9, beta2=0.95, epsilon=1e-8, momentum=0.95, clip_norm=0.0)
_SHAPE = replace(PRESETS["tiny"].shape, tied=False)
_MATRICES = {f"layers.{name}" for name in ("query", "key", "value", "out", "gate", "up", "down")}
_OTHERS = {"embedding", "head", "norm", "layers.norm_attention", "layers.norm_hidden"}


def _turned(matrix: Numbers) -> Numbers:
    """Do what github.com/KellerJordan/Muon does: five turns of its polynomial, on the matrix that is not tall."""
    state = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    state = state / (np.linalg.norm(state) + 1e-7)
    for _ in range(5):
        square = state @ state.T
        state = 3.4445 * state + (-4.7750 * square + 2.0315 * square @ square) @ state
    return state.T if matrix.shape[0] > matrix.shape[1] else state


@pytest.mark.parametrize("shape", [(24, 64), (64, 24), (48, 48)])
@pytest.mark.parametrize(("half", "most"), [(False, 1e-5), (True, 0.1)])
def test_muons_turns_are_those_of_its_author(shape: tuple[int, int], half: bool, most: float) -> None:
    """In float32 to five digits; in bfloat16, as the author has it, to one: the turns magnify what is rounded."""
    drawn = np.random.default_rng(7).standard_normal(shape)
    found = np.asarray(_quickly(orthogonalised, static_argnames="half")(jnp.asarray(drawn, jnp.float32), half=half))

    assert found.dtype == np.float32
    assert np.linalg.norm(found - _turned(drawn)) < most * np.linalg.norm(_turned(drawn))


def test_two_steps_of_muon_are_those_of_the_papers() -> None:
    """Nesterov's momentum, the turns, 0.2 times the root of the longer side (arXiv 2502.16982), decay by the rate."""
    weights = model.initial(_SHAPE, 128, seed=2)
    slopes = [np.random.default_rng(step).standard_normal(weights.layers.up.shape) for step in (1, 2)]
    moments, ours = optimiser.begin(weights, _MUON), weights
    update = _quickly(optimiser.update, static_argnums=3)
    for slope in slopes:
        gradient = ours._replace(layers=ours.layers._replace(up=jnp.asarray(slope, jnp.float32)))
        ours, moments, _ = update(gradient, moments, ours, _MUON, 0.02, 0.1)

    wanted, momentum = np.asarray(weights.layers.up, np.float64), np.zeros(slopes[0].shape)
    for slope in slopes:
        momentum = 0.95 * momentum + 0.05 * slope
        ahead = 0.95 * momentum + 0.05 * slope
        way = np.stack([_turned(matrix) for matrix in ahead]) * 0.2 * np.sqrt(max(slope.shape[1:]))
        wanted = wanted - 0.02 * (way + 0.1 * wanted)
    np.testing.assert_allclose(np.asarray(ours.layers.up), wanted, atol=2e-5)


def test_muon_moves_the_matrices_of_the_layers_and_adamw_the_rest() -> None:
    """Embedding, head and norms are AdamW's; each weight has one mover."""
    moments = optimiser.begin(model.initial(_SHAPE, 128, seed=2), _MUON)

    assert moments.momentum.keys() == _MATRICES
    assert moments.adam.mu.keys() == _OTHERS


def test_muons_updates_are_as_large_as_adamws() -> None:
    """About 0.2 a number by the root of the mean square, whatever the sides: so one rate serves both."""
    for sides in ((64, 64), (64, 160), (160, 64)):
        drawn = np.random.default_rng(3).standard_normal(sides)
        way = _turned(drawn) * 0.2 * np.sqrt(max(sides))
        assert np.sqrt(np.mean(np.square(way))) == pytest.approx(0.2, abs=0.06)


def test_the_loss_of_half_precision_states_is_measured_in_float32() -> None:
    """Logits, softmax and sums have the digits of float32: beside float64 of the same halves a hundred-thousandth."""
    draw = np.random.default_rng(4)
    states, head = (draw.standard_normal(size).astype(ml_dtypes.bfloat16) for size in ((2, 8, 32), (300, 32)))
    targets = draw.integers(0, 300, (2, 8)).astype(np.int32)
    wide_head = jnp.asarray(head, jnp.float32)
    objective, entropy = _quickly(loss.summed, static_argnums=(3, 4))(jnp.asarray(states), wide_head, targets, 1e-4, 4)

    logits = np.asarray(states, np.float64) @ np.asarray(head, np.float64).T
    partition = np.log(np.exp(logits).sum(axis=-1))
    nats = partition - np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    assert objective.dtype == entropy.dtype == jnp.float32
    assert float(entropy) == pytest.approx(nats.sum(), rel=1e-5)
    assert float(objective) == pytest.approx((nats + 1e-4 * partition**2).sum(), rel=1e-5)


def _trained_in_half() -> tuple[Learnt, list[float], float]:
    """Train eight steps on one batch; also return what the first would have lost in float32."""
    rule, shape = replace(_MUON, muon=False, clip_norm=1.0), replace(_SHAPE, layers=1)
    recipe = Recipe(
        shape=shape, rule=rule, arithmetic=Arithmetic(half=True), z_loss=1e-4, loss_tokens=64, micro_batch=0
    )
    rows = np.random.default_rng(5).integers(0, 128, (4, 17)).astype(np.int32)
    placement = place(1, len(rows))
    learnt: Any = placement.replicate(learner.begin(model.initial(shape, 128, seed=1), rule))
    reading = partial(learner._read, replace(recipe, arithmetic=Arithmetic()))
    wide = float(jnp.mean(_quickly(reading)(learnt.weights, rows)))
    tokens = placement.scatter(rows.shape, lambda first, end: rows[first:end])
    step: Any = learner.trace_step(recipe, placement, learnt, tokens).lower().compile(compiler_options=_OPTIONS)
    losses = []
    for _ in range(8):
        learnt, told = step(learnt, tokens, learner.pace(rate=5e-4, decay=0.1))
        losses.append(float(told.loss))
    return learnt, losses, wide


def test_half_precision_trains_float32_weights() -> None:
    """Every array of the state stays float32; norms move by less than bfloat16 can tell; the loss is float32's."""
    learnt, losses, wide = _trained_in_half()
    moved = np.asarray(learnt.weights.norm, np.float64) - 1

    assert {leaf.dtype.name for leaf in jax.tree_util.tree_leaves(learnt)} == {"float32", "int32"}
    assert np.all(moved != 0)
    assert np.max(np.abs(moved)) < 2.0**-7, "the step to the next bfloat16 above 1"
    assert losses[-1] < losses[0] - 0.01
    assert losses[0] == pytest.approx(wide, rel=2e-3)


def test_the_original_ferrys_schedule_is_wsd_of_these_numbers() -> None:
    """1,000 of 5,155 steps up to 0.003, then level, then down over the last fifth to a tenth."""
    schedule = Schedule(kind="wsd", peak=3e-3, total=5155, warmup=PRESETS["original-150m"].warmup, decay=0.2, final=0.1)

    assert schedule.warmup_steps == 1000
    assert schedule.rate(0) == pytest.approx(3e-6)
    assert {schedule.rate(step) for step in (999, 1000, 3000, 4123)} == {3e-3}
    assert schedule.rate(4124 + 515) == pytest.approx(3e-3 * 0.55, rel=2e-3)
    assert schedule.rate(5154) == pytest.approx(3e-4)
