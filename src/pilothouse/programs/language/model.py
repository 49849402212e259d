"""The network: a decoder with RMS norms, rotary positions and gated hidden layers (Llama, arXiv 2302.13971).

The layers' weights stand stacked, one array for each of the nine matrices of a layer, and a loop goes over them: the
compiler sees one layer however many there are. Weights are float32; the arithmetic is in the precision of the plan,
with norms, softmax and rotations in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pilothouse.programs.language.attention import FUSED, Kernel, attend, kept_as, rotate, rotation
from pilothouse.programs.language.presets import Shape

_NORM_EPSILON: Final = 1e-5
_EMBEDDING_DEVIATION: Final = 0.02
_STREAM: Final = 0x11A3A
"""Keeps the draws of this program apart from another's with the same seed."""


class Layers(NamedTuple):
    """The layers' weights, each with the layers as its first axis."""

    norm_attention: Array
    query: Array
    key: Array
    value: Array
    out: Array
    norm_hidden: Array
    gate: Array
    up: Array
    down: Array


class Weights(NamedTuple):
    """All that is learnt."""

    embedding: Array
    layers: Layers
    norm: Array
    head: Array | None
    """One row a token, as the embedding has; None where that is the head."""


_Body: TypeAlias = Callable[[Array, Layers], tuple[Array, None]]
_KEPT: Final = ("query", "key", "value", "chances", "mixed", "between", "gate", "up")
"""What `light` keeps of a layer: the results of its products. All else follows from them number by number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """How the network is computed, which changes nothing but rounding, memory and speed."""

    half: bool = False
    """bfloat16 rather than float32."""
    kernel: Kernel = "xla"
    remat: str = "none"
    unroll: int = 1


form: Callable[..., Any] = jax.ShapeDtypeStruct
"""A shape and a type without numbers. JAX types its own constructor not at all."""


def initial(shape: Shape, vocabulary: int, *, seed: int) -> Weights:
    """Draw weights by seed: normal, by the root of the inputs, smaller where a layer writes back.

    NumPy draws them, so that no kernel has to be compiled for it.
    """
    draw = np.random.Generator(np.random.Philox(key=np.array([seed, _STREAM], dtype=np.uint64)))

    def normal(size: tuple[int, ...], deviation: float) -> Array:
        numbers = draw.standard_normal(size, dtype=np.float32)
        return jnp.asarray(numbers * np.float32(deviation))

    return _made(shape, vocabulary, normal, lambda size: jnp.ones(size, jnp.float32))


def abstract(shape: Shape, vocabulary: int) -> Weights:
    """Return the forms of the weights without a number in them: what can be lowered and counted on any machine."""

    def wide(size: tuple[int, ...], _: float = 1.0) -> Any:
        return form(size, jnp.float32)

    return _made(shape, vocabulary, wide, wide)


def _made(
    shape: Shape,
    vocabulary: int,
    normal: Callable[[tuple[int, ...], float], Array],
    ones: Callable[[tuple[int, ...]], Array],
) -> Weights:
    writing = 1 / math.sqrt(2 * shape.layers)

    def matrices(inputs: int, outputs: int, *, scale: float = 1.0) -> Array:
        return normal((shape.layers, inputs, outputs), scale / math.sqrt(inputs))

    inside, keys = shape.heads * shape.head_size, shape.key_heads * shape.head_size
    return Weights(
        embedding=normal((vocabulary, shape.width), _EMBEDDING_DEVIATION),
        layers=Layers(
            norm_attention=ones((shape.layers, shape.width)),
            query=matrices(shape.width, inside),
            key=matrices(shape.width, keys),
            value=matrices(shape.width, keys),
            out=matrices(inside, shape.width, scale=writing),
            norm_hidden=ones((shape.layers, shape.width)),
            gate=matrices(shape.width, shape.hidden),
            up=matrices(shape.width, shape.hidden),
            down=matrices(shape.hidden, shape.width, scale=writing),
        ),
        norm=ones((shape.width,)),
        head=None if shape.tied else normal((vocabulary, shape.width), _EMBEDDING_DEVIATION),
    )


def head_of(weights: Weights) -> Array:
    """Return the matrix that turns states into logits: [tokens, width]."""
    return weights.embedding if weights.head is None else weights.head


def forward(weights: Weights, tokens: Array, shape: Shape, arithmetic: Arithmetic) -> Array:
    """Return the states that the head reads, [n, t, width] in the plan's precision, for tokens int32[n, t]."""
    dtype = jnp.bfloat16 if arithmetic.half else jnp.float32
    cosines, sines = (jnp.asarray(part) for part in rotation(tokens.shape[1], shape.head_size, shape.rotary_base))
    layers: Layers = jax.tree_util.tree_map(lambda leaf: leaf.astype(dtype), weights.layers)

    def one(state: Array, layer: Layers) -> tuple[Array, None]:
        state = state + _attended(layer, _normalised(state, layer.norm_attention), shape, cosines, sines, arithmetic)
        state = kept_as(state, "between")
        return state + _transformed(layer, _normalised(state, layer.norm_hidden)), None

    state = weights.embedding[tokens].astype(dtype)
    state, _ = jax.lax.scan(_forgetting(one, arithmetic.remat), state, layers, unroll=arithmetic.unroll)
    return _normalised(state, weights.norm)


def _forgetting(one: _Body, remat: str) -> _Body:
    """Wrap a layer so that its backward pass computes again what is not worth keeping."""
    if remat == "none":
        return one
    policies = jax.checkpoint_policies
    match remat:
        case "light":
            policy = policies.save_from_both_policies(policies.save_only_these_names(*_KEPT), _is_fused_attention)
        case "dots":
            policy = policies.dots_with_no_batch_dims_saveable
        case _:
            policy = policies.nothing_saveable
    kept: _Body = jax.checkpoint(one, policy=policy, prevent_cse=False)
    return kept


def _is_fused_attention(primitive: Any, *_: Any, **__: Any) -> bool:
    """Tell whether an operation is the fused kernel, which gives its backward pass more than its result has."""
    return str(primitive).startswith(FUSED)


def _attended(layer: Layers, state: Array, shape: Shape, cosines: Array, sines: Array, arithmetic: Arithmetic) -> Array:
    def heads(matrix: Array, count: int) -> Array:
        return _apply(matrix, state).reshape(*state.shape[:2], count, shape.head_size)

    query = kept_as(rotate(heads(layer.query, shape.heads), cosines, sines), "query")
    key = kept_as(rotate(heads(layer.key, shape.key_heads), cosines, sines), "key")
    value = kept_as(heads(layer.value, shape.key_heads), "value")
    mixed = attend(query, key, value, arithmetic.kernel)
    return _apply(layer.out, mixed.reshape(*state.shape[:2], -1))


def _transformed(layer: Layers, state: Array) -> Array:
    """Apply the gated hidden layer (SwiGLU, arXiv 2002.05202)."""
    gate = kept_as(_apply(layer.gate, state), "gate")
    up = kept_as(_apply(layer.up, state), "up")
    return _apply(layer.down, jax.nn.silu(gate) * up)


def _apply(matrix: Array, state: Array) -> Array:
    """Map the last axis, over all others flattened to one: on the CPU the gradient then is one fast product."""
    return (state.reshape(-1, state.shape[-1]) @ matrix).reshape(*state.shape[:-1], -1)


def _normalised(state: Array, scale: Array) -> Array:
    """Divide by the root of the mean square (arXiv 1910.07467), in float32."""
    wide = state.astype(jnp.float32)
    root = jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + _NORM_EPSILON)
    return (wide * root).astype(state.dtype) * scale.astype(state.dtype)
