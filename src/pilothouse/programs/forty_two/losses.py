"""What the network is taught: the best move and the worth of each move, by exact values.

In `policy` mode the logits are a policy, and the loss is 0.3 of the cross entropy with the best move, 0.7 of that with
the softmax of the mover's values over 3 points, and half the squared error of the value. In `qvalue` mode the logits
are the mover's values in units of 42 points, compared over legal moves, beside the same share of the value.
Either way the largest legal logit is the move.
"""

from enum import StrEnum
from typing import Final, NamedTuple, assert_never

import jax
import jax.numpy as jnp
from jax import Array

from pilothouse.programs.forty_two.rules import HAND_POINTS

HARD_SHARE: Final = 0.3
SOFT_SHARE: Final = 0.7
VALUE_SHARE: Final = 0.5
TEMPERATURE_POINTS: Final = 3.0
_IMPOSSIBLE = -1e9


class Mode(StrEnum):
    """What the logits mean."""

    POLICY = "policy"
    QVALUE = "qvalue"


class Batch(NamedTuple):
    """Rows of a token set; see `tokens.TokenRows` for the columns."""

    tokens: Array
    masks: Array
    targets: Array
    legal: Array
    qvals: Array
    teams: Array
    players: Array
    values: Array


def mover_values(batch: Batch) -> Array:
    """Give each legal move's value to the mover in points, float32[n, 7]; illegal moves are 0."""
    sign = 1 - 2 * batch.teams.astype(jnp.float32)
    return jnp.where(batch.legal != 0, batch.qvals.astype(jnp.float32) * sign[:, None], 0.0)


def legal_logits(logits: Array, legal: Array) -> Array:
    """Put illegal moves out of reach."""
    return jnp.where(legal != 0, logits, jnp.float32(_IMPOSSIBLE))


def loss(mode: Mode, logits: Array, value: Array, batch: Batch) -> Array:
    """Compute the mean loss of a batch from the network's logits float32[n, 7] and value float32[n]."""
    match mode:
        case Mode.POLICY:
            moves = _policy_loss(logits, batch)
        case Mode.QVALUE:
            moves = _qvalue_loss(logits, batch)
        case _:
            assert_never(mode)
    points = batch.values.astype(jnp.float32) / HAND_POINTS
    return moves + VALUE_SHARE * jnp.mean(jnp.square(value - points))


def _policy_loss(logits: Array, batch: Batch) -> Array:
    chances = jax.nn.log_softmax(legal_logits(logits, batch.legal), axis=-1)
    slots = jnp.arange(logits.shape[1], dtype=batch.targets.dtype)
    best = (batch.targets[:, None] == slots).astype(jnp.float32)
    wanted = jax.nn.softmax(legal_logits(mover_values(batch) / TEMPERATURE_POINTS, batch.legal), axis=-1)
    target = HARD_SHARE * best + SOFT_SHARE * wanted
    return -jnp.mean(jnp.sum(jnp.where(batch.legal != 0, target * chances, 0.0), axis=-1))


def _qvalue_loss(logits: Array, batch: Batch) -> Array:
    legal = batch.legal.astype(jnp.float32)
    errors = jnp.square(logits - mover_values(batch) / HAND_POINTS) * legal
    return jnp.sum(errors) / jnp.sum(legal)
