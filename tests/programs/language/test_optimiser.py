"""Muon and AdamW against what is published, and the schedule step by step."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pilothouse.programs.language import model, optimiser
from pilothouse.programs.language.model import Weights
from pilothouse.programs.language.optimiser import Rule, orthogonalised
from pilothouse.programs.language.presets import PRESETS
from pilothouse.programs.language.schedule import Schedule

_OPTIONS: dict[str, bool | int | float | str] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
"""What is compiled here runs once."""
_quickly = partial(jax.jit, compiler_options=_OPTIONS)


_update = _quickly(optimiser.update, static_argnums=3)
_RULE = Rule(muon=False, beta1=0.9, beta2=0.95, epsilon=1e-8, momentum=0.95, clip_norm=1.0)


def _like(weights: Weights, change: Callable[[Any], Any]) -> Weights:
    changed: Weights = jax.tree_util.tree_map(lambda leaf: change(np.asarray(leaf)), weights)
    return changed


def _norm(tree: Any) -> float:
    return float(np.sqrt(sum(np.square(np.asarray(leaf)).sum() for leaf in jax.tree_util.tree_leaves(tree))))


@pytest.mark.parametrize("shape", [(2, 6, 10), (2, 10, 6)])
def test_muon_makes_singular_values_equal_and_keeps_the_vectors(shape: tuple[int, ...]) -> None:
    """Between 0.68 and 1.13, as the polynomial's authors state, on the singular vectors of the matrix it was given."""
    drawn = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    found = np.asarray(_quickly(orthogonalised)(jnp.asarray(drawn)))

    for matrix, turned in zip(drawn, found, strict=True):
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        inside = left.T @ turned @ right.T
        spread = values / np.linalg.norm(values) > 0.02
        assert np.all((np.diag(inside)[spread] > 0.68) & (np.diag(inside)[spread] < 1.135))
        np.testing.assert_allclose(inside - np.diag(np.diag(inside)), 0, atol=1e-4)


def test_muons_direction_is_optaxs() -> None:
    """For a first step, where momentum has not yet a past, Optax's Muon gives the same matrix."""
    matrix = np.random.default_rng(6).standard_normal((8, 12)).astype(np.float32)
    theirs = optax.contrib.scale_by_muon(weight_dimension_numbers={"it": optax.contrib.MuonDimensionNumbers()})
    way, _ = _quickly(theirs.update)({"it": matrix}, theirs.init({"it": matrix}))

    ours = np.asarray(_quickly(orthogonalised)(matrix[None]))[0]

    np.testing.assert_allclose(ours * max(1.0, 8 / 12) ** 0.5, np.asarray(way["it"]), atol=2e-3)


def test_adamw_is_what_its_paper_says_and_spares_the_norms() -> None:
    """Two steps by the formula, in NumPy: matrices decay, norms do not."""
    weights = model.initial(PRESETS["tiny"].shape, 128, seed=2)
    gradient = _like(weights, lambda leaf: np.cos(7 * leaf) * np.float32(1e-3))
    ours, moments = weights, optimiser.begin(weights, _RULE)
    for _ in range(2):
        ours, moments, _ = _update(gradient, moments, ours, _RULE, 0.01, 0.1)

    for name, decay in (("query", 0.1), ("norm_hidden", 0.0)):
        wanted = np.asarray(getattr(weights.layers, name), np.float64)
        slope = np.asarray(getattr(gradient.layers, name), np.float64)
        for step in (1, 2):
            first = slope * (1 - 0.9**step) / (1 - 0.9**step)
            second = np.square(slope) * (1 - 0.95**step) / (1 - 0.95**step)
            wanted = wanted - 0.01 * (first / (np.sqrt(second) + 1e-8) + decay * wanted)
        np.testing.assert_allclose(np.asarray(getattr(ours.layers, name)), wanted, atol=1e-6)


def test_a_long_gradient_is_shortened_and_its_norm_told() -> None:
    """The norm is the one before; a gradient a thousand times as long then moves the moments just as far."""
    weights = model.initial(PRESETS["tiny"].shape, 128, seed=3)
    steep = _like(weights, np.ones_like)

    def moments_of(scale: float) -> tuple[float, float]:
        gradient = _like(steep, lambda leaf: leaf * np.float32(scale))
        _, moments, norm = _update(gradient, optimiser.begin(weights, _RULE), weights, _RULE, 0.0, 0.0)
        return float(norm), _norm(moments.adam.mu)

    size = _norm(steep)
    np.testing.assert_allclose(moments_of(1.0), (size, 0.1), rtol=1e-4)
    np.testing.assert_allclose(moments_of(1000.0), (1000 * size, 0.1), rtol=1e-4)


def _schedule(kind: str, *, total: int = 100) -> Schedule:
    return Schedule(kind=kind, peak=2.0, total=total, warmup=0.1, decay=0.2, final=0.1)


@pytest.mark.parametrize(
    ("kind", "rates"),
    [
        ("cosine", {0: 0.2, 9: 2.0, 10: 2.0, 99: 0.2}),
        ("linear", {0: 0.2, 9: 2.0, 10: 2.0, 99: 0.2}),
        ("wsd", {9: 2.0, 50: 2.0, 80: 2.0, 99: 0.2}),
        ("constant", {9: 2.0, 50: 2.0, 99: 2.0}),
    ],
)
def test_rates_at_the_corners(kind: str, rates: dict[int, float]) -> None:
    """The rise ends at the peak, the fall at the final rate, and what stays stays."""
    for step, rate in rates.items():
        assert _schedule(kind).rate(step) == pytest.approx(rate)


@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd"])
@pytest.mark.parametrize("total", [1, 2, 3, 37])
def test_rates_never_rise_after_the_warm_up(kind: str, total: int) -> None:
    """However few the steps: above 0, never above the peak, and falling once they fall."""
    rates = [_schedule(kind, total=total).rate(step) for step in range(total)]

    assert all(0 < rate <= 2.0 for rate in rates)
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(rates[round(0.1 * total) :]))
