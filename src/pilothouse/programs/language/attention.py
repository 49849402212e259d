"""Causal attention with rotary positions: the fused kernel where the device has one, plain products elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from numpy.typing import NDArray

_UNSEEN: Final = -1e30
Kernel: TypeAlias = Literal["xla", "cudnn"]
_CUDNN_HEAD_SIZES: Final = 8
"""cuDNN's kernel takes head sizes that are multiples of this, up to 128 (256 on Hopper)."""
FUSED: Final = "dot_product_attention_fwd"
"""How the names begin that JAX gives to the forward pass of cuDNN's kernel."""
kept_as: Callable[[Array, str], Array] = checkpoint_name
"""Names a value for the choice of what the backward pass keeps. JAX types its own function not at all."""


def chosen_kernel(asked: str, *, platform: str, half: bool, head_size: int) -> Kernel:
    """Say which kernel to use; `auto` takes the fused one on an NVIDIA GPU in half precision."""
    if asked == "cudnn" or (
        asked == "auto" and platform in {"cuda", "gpu"} and half and head_size % _CUDNN_HEAD_SIZES == 0
    ):
        return "cudnn"
    return "xla"


def rotation(length: int, head_size: int, base: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return cosines and sines, float32[length, head_size / 2], of every position (RoPE, arXiv 2104.09864).

    They are drawn up in float64: at position 4,096 a float32 angle would be off by 2e-4.
    """
    frequencies = base ** (-np.arange(0, head_size, 2) / head_size)
    angles = np.arange(length)[:, None] * frequencies
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def rotate(heads: Array, cosines: Array, sines: Array) -> Array:
    """Turn the first half of each head against its second by the angle of its position; [n, t, heads, size]."""
    first, second = jnp.split(heads.astype(jnp.float32), 2, axis=-1)
    cosine, sine = cosines[:, None, :], sines[:, None, :]
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return turned.astype(heads.dtype)


def attend(query: Array, key: Array, value: Array, kernel: Kernel) -> Array:
    """Let each position look at itself and those before: [n, t, heads, size], keys and values may have fewer heads."""
    if kernel == "cudnn":
        return jax.nn.dot_product_attention(query, key, value, is_causal=True, implementation=kernel)
    return _attend_plainly(query, key, value)


def _attend_plainly(query: Array, key: Array, value: Array) -> Array:
    """Attend by two products and a softmax in float32; heads that share a key stand one below the other.

    On a CPU it takes a tenth less than the plain implementation that comes with JAX.
    """
    rows, length, heads, size = query.shape
    groups = heads // key.shape[2]
    query, key, value = (part.swapaxes(1, 2) for part in (query, key, value))
    query = query.reshape(rows, heads // groups, groups * length, size)
    scores = jnp.matmul(query, key.swapaxes(-1, -2), preferred_element_type=jnp.float32) * (1 / math.sqrt(size))
    seen = jnp.tile(jnp.tril(jnp.ones((length, length), bool)), (groups, 1))
    chances = jax.nn.softmax(jnp.where(seen, scores, _UNSEEN), axis=-1).astype(value.dtype)
    mixed = kept_as(chances, "chances") @ value
    return kept_as(mixed.reshape(rows, heads, length, size).swapaxes(1, 2), "mixed")
