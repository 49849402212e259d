"""AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) behind a clipped gradient, with a warmed-up cosine rate.

Rate and decay are arguments of each step rather than part of the transformation, so one compiled step serves every
learning rate and every length of training.
"""

import math
from typing import Any, Final, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array

from pilothouse.programs.forty_two.model import Weights

Moments: TypeAlias = Any
"""Optax's state: a pytree of the step count and two vectors as long as all weights."""

CLIP_NORM: Final = 1.0

# One vector for all weights: a few kernels to compile and run where a tree of seventy leaves needs hundreds.
_DIRECTION: Final = optax.flatten(optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.scale_by_adam()))


def begin(weights: Weights) -> Moments:
    """Give the moments before the first step."""
    return _DIRECTION.init(weights)


def learning_rate(*, peak: float, step: int, total: int, warmup: int) -> float:
    """Give the rate of step `step` of `total`: a straight rise over `warmup` steps, then half a cosine down to 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, total - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def update(gradient: Weights, moments: Moments, weights: Weights, rate: Array, decay: Array) -> tuple[Weights, Moments]:
    """Take one step against the gradient."""
    direction, moments = _DIRECTION.update(gradient, moments, weights)

    def move(weight: Array, way: Array) -> Array:
        return weight - rate * (way + decay * weight)

    return jax.tree_util.tree_map(move, weights, direction), moments


def scalar(value: float) -> Array:
    """Make a float32 argument of a compiled step."""
    return jnp.asarray(value, dtype=jnp.float32)
