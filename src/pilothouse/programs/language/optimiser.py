"""AdamW, and Muon for the matrices of the layers, behind a clipped gradient.

Rate and decay are arguments of each step, so one compiled step serves every schedule. Muon (Jordan et al. 2024,
kellerjordan.github.io/posts/muon) replaces the momentum of a matrix by the nearest matrix whose singular values are
equal, found by five turns of a quintic polynomial. The result is scaled by 0.2 times the root of the longer side, which
gives it the size of AdamW's updates (Liu et al. 2025, arXiv 2502.16982), so that one learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from pilothouse.programs.language.model import Weights

Scalar: TypeAlias = Array | NDArray[np.float32] | float
_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
_TURNS: Final = 5
_LIKE_ADAM: Final = 0.2
_SMALL: Final = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the compiled update depends on."""

    muon: bool
    beta1: float
    beta2: float
    epsilon: float
    momentum: float
    clip_norm: float
    half: bool = False
    """Whether Muon's turns are in bfloat16; they bear it."""


class Moments(NamedTuple):
    """What the optimiser remembers, by the name of the weight."""

    adam: Any
    """Optax's state: a count and two moments of every weight that AdamW moves."""
    momentum: Mapping[str, Array]
    """Of every matrix that Muon moves."""


def begin(weights: Weights, rule: Rule) -> Moments:
    """Return the moments before the first step."""
    named = _by_name(weights)
    adam = {name: weight for name, weight in named.items() if not _by_muon(name, weight, rule)}
    muon = {name: jnp.zeros_like(weight) for name, weight in named.items() if name not in adam}
    return Moments(adam=_adam(rule).init(adam), momentum=muon)


def update(
    gradient: Weights, moments: Moments, weights: Weights, rule: Rule, rate: Scalar, decay: Scalar
) -> tuple[Weights, Moments, Array]:
    """Take one step against the gradient; also returns the gradient's norm before it is clipped."""
    named, steep = _by_name(weights), _by_name(gradient)
    norm = jnp.sqrt(sum((jnp.sum(jnp.square(part)) for part in steep.values()), start=jnp.zeros(())))
    if rule.clip_norm:
        shrink = jnp.minimum(1.0, rule.clip_norm / (norm + _SMALL))
        steep = {name: part * shrink for name, part in steep.items()}
    left = {name: part for name, part in steep.items() if name not in moments.momentum}
    ways, adam = _adam(rule).update(left, moments.adam)
    momentum = {}
    for name, before in moments.momentum.items():
        momentum[name] = rule.momentum * before + (1 - rule.momentum) * steep[name]
        ahead = rule.momentum * momentum[name] + (1 - rule.momentum) * steep[name]
        ways[name] = orthogonalised(ahead, half=rule.half) * (_LIKE_ADAM * max(ahead.shape[-2:]) ** 0.5)
    moved = [
        weight - rate * (ways[name] + (decay * weight if _decays(name) else 0.0)) for name, weight in named.items()
    ]
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(weights), moved), Moments(adam, momentum), norm


def orthogonalised(matrices: Array, *, half: bool = False) -> Array:
    """Bring the singular values of matrices [..., m, n] near 1 (between 0.68 and 1.13 but for very small ones)."""
    state = matrices.astype(jnp.bfloat16) if half else matrices
    tall = state.shape[-2] > state.shape[-1]
    state = state.swapaxes(-1, -2) if tall else state
    state = state / (jnp.linalg.norm(state, axis=(-2, -1), keepdims=True) + _SMALL)
    first, second, third = _COEFFICIENTS
    for _ in range(_TURNS):
        square = state @ state.swapaxes(-1, -2)
        state = first * state + (second * square + third * (square @ square)) @ state
    back: Array = state.swapaxes(-1, -2) if tall else state
    return back.astype(matrices.dtype)


def _adam(rule: Rule) -> optax.GradientTransformation:
    return optax.scale_by_adam(b1=rule.beta1, b2=rule.beta2, eps=rule.epsilon)


def _by_name(weights: Weights) -> dict[str, Array]:
    leaves = jax.tree_util.tree_leaves_with_path(weights)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _by_muon(name: str, weight: Array, rule: Rule) -> bool:
    return rule.muon and name.startswith("layers.") and weight.ndim == 3


def _decays(name: str) -> bool:
    """Norms are spared: pulling a scale to 0 is no regularisation."""
    return "norm" not in name
