"""The network: an encoder over 32 tokens that rates the mover's seven dominoes and the position.

Twelve embeddings, one per feature, are joined and projected to `width`; post-norm encoder layers with ReLU follow, as
in Vaswani et al. 2017 (arXiv 1706.03762); one linear head reads the mover's seven hand tokens, another the context.
There is no position embedding: which seat and which play a token is, its features say, so the network cannot tell the
slots of a hand apart. Plays that have not happened are masked out of the attention; played dominoes stay visible.
There is no dropout: each sample is seen a few times only, and a step stays a pure function of weights and batch.

Weights are float32 and so is all arithmetic. Of the last layer only what the two heads read is computed.
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pilothouse.programs.forty_two.rules import HAND
from pilothouse.programs.forty_two.tokens import VOCABULARY

_WIDE: Final = frozenset({0, 1, 4, 9, 10})
"""Pips, trump rank, kind and declaration carry most of a token, so they get twice the room."""

_NORM_EPSILON = 1e-5
_MASKED = -1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of an encoder."""

    width: int
    heads: int
    layers: int
    hidden: int

    @property
    def feature_widths(self) -> tuple[int, ...]:
        """How many numbers each feature's embedding has."""
        return tuple(self.width // 6 if feature in _WIDE else self.width // 12 for feature in range(len(VOCABULARY)))


PRESETS: Final = {
    "nano": Shape(width=48, heads=4, layers=2, hidden=96),
    "full": Shape(width=128, heads=8, layers=4, hidden=512),
    "large": Shape(width=256, heads=8, layers=6, hidden=512),
    "tiny": Shape(width=24, heads=2, layers=2, hidden=32),
}
"""`nano` for a demo on two cores, `full` with 817 thousand weights, `large` with 3.3 million, `tiny` to try things."""


class Linear(NamedTuple):
    """An affine map of the last axis."""

    weight: Array
    bias: Array


class Norm(NamedTuple):
    """Layer normalisation of the last axis."""

    scale: Array
    bias: Array


class Layer(NamedTuple):
    """One encoder layer; `mix` makes queries, keys and values in this order."""

    mix: Linear
    out: Linear
    norm_attention: Norm
    expand: Linear
    contract: Linear
    norm_hidden: Norm


class Weights(NamedTuple):
    """All that is learnt."""

    embeddings: tuple[Array, ...]
    project: Linear
    layers: tuple[Layer, ...]
    action: Linear
    value: Linear


def initial(shape: Shape, *, seed: int) -> Weights:
    """Draw weights by seed: standard normal embeddings, Glorot-uniform maps, zero biases.

    NumPy draws them, so that no kernel has to be compiled for it.
    """
    draw = np.random.Generator(np.random.Philox(key=np.array([seed, 0x42], dtype=np.uint64)))

    def linear(inputs: int, outputs: int, *, blocks: int = 1) -> Linear:
        bound = math.sqrt(6 / (inputs + outputs / blocks))
        weight = draw.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
        return Linear(jnp.asarray(weight), jnp.zeros(outputs, jnp.float32))

    def norm() -> Norm:
        return Norm(jnp.ones(shape.width, jnp.float32), jnp.zeros(shape.width, jnp.float32))

    def layer() -> Layer:
        return Layer(
            mix=linear(shape.width, 3 * shape.width, blocks=3),
            out=linear(shape.width, shape.width),
            norm_attention=norm(),
            expand=linear(shape.width, shape.hidden),
            contract=linear(shape.hidden, shape.width),
            norm_hidden=norm(),
        )

    sizes = zip(VOCABULARY, shape.feature_widths, strict=True)
    return Weights(
        embeddings=tuple(jnp.asarray(draw.standard_normal(size).astype(np.float32)) for size in sizes),
        project=linear(sum(shape.feature_widths), shape.width),
        layers=tuple(layer() for _ in range(shape.layers)),
        action=linear(shape.width, 1),
        value=linear(shape.width, 1),
    )


def parameter_count(weights: Weights) -> int:
    """Count the learnt numbers."""
    return sum(leaf.size for leaf in jax.tree_util.tree_leaves(weights))


def forward(weights: Weights, tokens: Array, masks: Array, players: Array, *, heads: int) -> tuple[Array, Array]:
    """Rate the mover's slots and the position.

    `tokens` int8[n, 32, 12], `masks` int8[n, 32], `players` int8[n] give logits float32[n, 7], one per slot of the
    mover's hand and blind to legality, and the value float32[n] in units of 42 points, team 0 minus team 1.
    """
    state = _embed(weights, tokens)
    bias = jnp.where(masks[:, None, None, :] == 0, jnp.float32(_MASKED), jnp.float32(0))
    for layer in weights.layers[:-1]:
        state = _encode(layer, state, state, bias, heads=heads)
    read = _read_by_heads(state, players)
    read = _encode(weights.layers[-1], read, state, bias, heads=heads)
    action = _apply(weights.action, read[:, 1:])[..., 0]
    value = _apply(weights.value, read[:, 0])[..., 0]
    return action, value


def _read_by_heads(state: Array, players: Array) -> Array:
    """Pick the context and the mover's seven tokens: [n, 8, width]."""
    context, hands = state[:, :1], state[:, 1 : 1 + 4 * HAND]
    hands = hands.reshape(len(state), 4, HAND, -1)
    # A sum over the four hands under a one-hot choice: its gradient is a product, where a gather's is a scatter.
    chosen = (players[:, None] == jnp.arange(4, dtype=players.dtype)).astype(state.dtype)
    return jnp.concatenate([context, jnp.sum(hands * chosen[:, :, None, None], axis=1)], axis=1)


def _embed(weights: Weights, tokens: Array) -> Array:
    """Look up, join and project the features of every token: [n, 32, width].

    Each embedding is first multiplied with its rows of the projection, a matter of 59 rows in all; joining and
    projecting then is one product of the tokens' one-hot features with that table.
    """
    widths = [embedding.shape[1] for embedding in weights.embeddings]
    ends = np.cumsum(widths)[:-1].tolist()
    rows = jnp.split(weights.project.weight, ends)
    table = jnp.concatenate([embedding @ row for embedding, row in zip(weights.embeddings, rows, strict=True)])
    feature = np.repeat(np.arange(len(VOCABULARY)), VOCABULARY)
    code = np.concatenate([np.arange(size) for size in VOCABULARY]).astype(np.int8)
    hot = (tokens[..., feature] == code).astype(table.dtype)
    return _apply(Linear(table, weights.project.bias), hot)


def _encode(layer: Layer, queries: Array, keys: Array, bias: Array, *, heads: int) -> Array:
    """One encoder layer for `queries` [n, q, width], which attend to `keys` [n, k, width]."""
    attended = _attend(layer, queries, keys, bias, heads=heads)
    state = _normalise(layer.norm_attention, queries + attended)
    hidden = jax.nn.relu(_apply(layer.expand, state))
    return _normalise(layer.norm_hidden, state + _apply(layer.contract, hidden))


def _apply(linear: Linear, state: Array) -> Array:
    """Map the last axis, over all others flattened to one: on the CPU the gradient then is one fast product."""
    flat = state.reshape(-1, state.shape[-1]) @ linear.weight + linear.bias
    return flat.reshape(*state.shape[:-1], -1)


def _attend(layer: Layer, queries: Array, keys: Array, bias: Array, *, heads: int) -> Array:
    width = queries.shape[-1]
    size = width // heads
    weight, bias_ = layer.mix
    query = _apply(Linear(weight[:, :width], bias_[:width]), queries)
    key, value = jnp.split(_apply(Linear(weight[:, width:], bias_[width:]), keys), 2, axis=-1)
    query, key, value = (_by_head(part, heads) for part in (query, key, value))
    scores = query @ key.swapaxes(-1, -2) * jnp.float32(1 / math.sqrt(size)) + bias
    mixed = (jax.nn.softmax(scores, axis=-1) @ value).swapaxes(1, 2).reshape(queries.shape)
    return _apply(layer.out, mixed)


def _by_head(part: Array, heads: int) -> Array:
    """Split the last axis by head: [n, t, width] to [n, heads, t, width / heads]."""
    return part.reshape(*part.shape[:2], heads, -1).swapaxes(1, 2)


def _normalise(norm: Norm, state: Array) -> Array:
    centred = state - jnp.mean(state, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + _NORM_EPSILON) * norm.scale + norm.bias
