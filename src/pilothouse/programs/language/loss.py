"""The loss of the next token, a piece at a time, so that the logits of a whole batch are never in memory.

Cross entropy plus `z` times the squared logarithm of the partition function, which keeps the logits near their natural
scale (PaLM, arXiv 2204.02311, section 5). Logits are float32 whatever the precision of the states. The gradient is made
in the same pass as the loss: what it needs of the logits is there, so the head is multiplied three times and not four.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

Losses: TypeAlias = tuple[Array, Array]
"""What is minimised, and the cross entropy in it; sums over tokens, float32."""


def chunk_positions(*, rows: int, length: int, tokens: int) -> int:
    """Return how many positions of every row make a piece of at most about `tokens`; a divisor of `length`."""
    wanted = max(1, tokens // rows)
    return max(size for size in range(1, length + 1) if length % size == 0 and (size <= wanted or size == 1))


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def summed(states: Array, head: Array, targets: Array, z: float, positions: int) -> Losses:
    """Sum the loss of states [n, t, width] for targets int32[n, t] under a head [tokens, width].

    Only the first of the two results has a gradient. `positions` is the size of a piece, see `chunk_positions`.
    """

    def piece(sums: Losses, part: tuple[Array, Array]) -> tuple[Losses, None]:
        state, target = part
        _, partition, entropy = _measured(state, head, target)
        return (sums[0] + jnp.sum(entropy + z * jnp.square(partition)), sums[1] + jnp.sum(entropy)), None

    zero = jnp.zeros((), jnp.float32)
    sums, _ = jax.lax.scan(piece, (zero, zero), _pieces(states, targets, positions))
    return sums


def token_nats(states: Array, head: Array, targets: Array, positions: int) -> Array:
    """Return the cross entropy of every target, float32[n, t]."""

    def piece(part: tuple[Array, Array]) -> Array:
        state, target = part
        return _measured(state, head, target)[2].reshape(target.shape)

    nats = jax.lax.map(piece, _pieces(states, targets, positions))
    return jnp.moveaxis(nats, 0, 1).reshape(targets.shape)


def _measured(states: Array, head: Array, targets: Array) -> tuple[Array, Array, Array]:
    """Return logits [m, tokens], logarithms of the partition function [m] and cross entropies [m], m = n * t."""
    flat = states.reshape(-1, states.shape[-1])
    logits = jnp.matmul(flat, head.astype(flat.dtype).T, preferred_element_type=jnp.float32)
    partition = jax.nn.logsumexp(logits, axis=-1)
    told = jnp.take_along_axis(logits, targets.reshape(-1, 1), axis=-1)[:, 0]
    return logits, partition, partition - told


def _pieces(states: Array, targets: Array, positions: int) -> tuple[Array, Array]:
    """Cut along the sequence, not along the rows: those may lie on several devices."""
    rows, length, width = states.shape
    count = length // positions
    cut = jnp.moveaxis(states.reshape(rows, count, positions, width), 1, 0)
    return cut, jnp.moveaxis(targets.reshape(rows, count, positions), 1, 0)


def _summed_forward(
    states: Array, head: Array, targets: Array, z: float, positions: int
) -> tuple[Losses, tuple[Array, Array]]:
    def piece(carried: tuple[Array, Array, Array], part: tuple[Array, Array]) -> tuple[Any, Array]:
        objective, entropies, pull = carried
        state, target = part
        logits, partition, entropy = _measured(state, head, target)
        chances = jnp.exp(logits - partition[:, None]) * (1 + 2 * z * partition)[:, None]
        hit = target.reshape(-1, 1) == jnp.arange(head.shape[0], dtype=target.dtype)
        error = jnp.where(hit, chances - 1, chances).astype(state.dtype)
        flat = state.reshape(-1, state.shape[-1])
        pull = pull + jnp.matmul(error.T, flat, preferred_element_type=jnp.float32)
        push = jnp.matmul(error, head.astype(state.dtype)).reshape(state.shape)
        sums = objective + jnp.sum(entropy + z * jnp.square(partition)), entropies + jnp.sum(entropy)
        return (*sums, pull), push

    zero = jnp.zeros((), jnp.float32)
    start = (zero, zero, jnp.zeros(head.shape, jnp.float32))
    (objective, entropies, pull), pushes = jax.lax.scan(piece, start, _pieces(states, targets, positions))
    push = jnp.moveaxis(pushes, 0, 1).reshape(states.shape)
    return (objective, entropies), (push, pull)


def _summed_backward(
    _z: float, _positions: int, kept: tuple[Array, Array], wanted: Losses
) -> tuple[Array, Array, None]:
    push, pull = kept
    share = wanted[0]
    return push * share.astype(push.dtype), pull * share, None


summed.defvjp(_summed_forward, _summed_backward)
