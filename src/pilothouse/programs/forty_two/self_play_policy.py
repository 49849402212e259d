"""The network that plays, and what it learns from a batch of its own games.

One small scorer is shared by the 28 dominoes, beside a summary of the position; a second head guesses how the rest of
the hand will go. All four seats play the same weights. Learning is the policy gradient of Williams 1992 (REINFORCE):
every play is weighed by the points that its team made from there to the end, less what the second head had expected.
"""

import math
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pilothouse.programs.forty_two.rules import HAND_POINTS
from pilothouse.programs.forty_two.self_play_game import (
    CONTEXT_FEATURES,
    DOMINO_FEATURES,
    PLAYS,
    Deals,
    Moment,
    Policy,
    Seen,
    Table,
    advance,
    first_table,
    look,
    moment,
)

_SMALLEST: Final = 1e-6


class Weights(NamedTuple):
    """All that is learnt; biases are folded in as one row more."""

    context: Array
    mix: Array
    domino: Array
    score: Array
    value: Array


class Aim(NamedTuple):
    """What the loss weighs."""

    entropy: Array
    value: Array


class Batch(NamedTuple):
    """Every play of every game, flattened: `m` is 28 times the games."""

    seen: Seen
    played: Array
    """int32[m]"""
    outcome: Array
    """float32[m]: what the mover's team made from this play to the end, less the others, in hands of 42 points."""


def initial(width: int, *, seed: int) -> Weights:
    """Draw weights by seed; the scores begin near nothing, so the first games are played by chance."""
    draw = np.random.Generator(np.random.Philox(key=np.array([seed, 0x5E1F], dtype=np.uint64)))

    def matrix(inputs: int, outputs: int, scale: float = 1.0) -> Array:
        bound = scale * math.sqrt(6 / (inputs + outputs))
        drawn = draw.uniform(-bound, bound, (inputs + 1, outputs))
        drawn[-1] = 0
        return jnp.asarray(drawn.astype(np.float32))

    return Weights(
        context=matrix(CONTEXT_FEATURES, width),
        mix=matrix(width, width),
        domino=matrix(DOMINO_FEATURES, width),
        score=matrix(width, 1, scale=0.1),
        value=matrix(width, 1, scale=0.1),
    )


def rate(weights: Weights, seen: Seen) -> tuple[Array, Array]:
    """Return the logits float32[n, 28], minus infinity where a domino may not be played, and the value float32[n]."""
    context = jax.nn.relu(_apply(weights.context, seen.context))
    mixed = _apply(weights.mix, context)
    hidden = jax.nn.relu(_apply(weights.domino, seen.dominoes) + mixed[:, None, :])
    logits = _apply(weights.score, hidden)[..., 0]
    value = _apply(weights.value, jax.nn.relu(mixed))[:, 0]
    return jnp.where(seen.legal, logits, -jnp.inf), value


def sampled(weights: Weights) -> Policy:
    """Return the policy that plays by chance, as likely as the network says."""

    def play(now: Moment, key: Array) -> Array:
        return jax.random.categorical(key, rate(weights, look(now))[0])

    return play


def best(weights: Weights) -> Policy:
    """Return the policy that plays what the network rates highest."""

    def play(now: Moment, key: Array) -> Array:
        del key
        return jnp.argmax(rate(weights, look(now))[0], axis=1)

    return play


def play_batch(weights: Weights, deals: Deals, key: Array) -> tuple[Batch, Array]:
    """Play every game by chance with these weights; return all plays, and the margin of team 0 in each game."""
    policy = sampled(weights)

    def one_play(table: Table, play: Array) -> tuple[Table, tuple[Seen, Array, Array, Array]]:
        now = moment(table, deals.declarations, play)
        domino = policy(now, jax.random.fold_in(key, play))
        table, gained = advance(now, domino)
        return table, (look(now), domino, now.mover, gained)

    _, (seen, played, mover, gained) = jax.lax.scan(one_play, first_table(deals), jnp.arange(PLAYS))
    to_come = jnp.cumsum(gained[::-1], axis=0)[::-1].astype(jnp.float32) / HAND_POINTS
    outcome = jnp.where(mover % 2 == 0, to_come, -to_come)
    flat = jax.tree_util.tree_map(lambda each: each.reshape(-1, *each.shape[2:]), Batch(seen, played, outcome))
    return flat, jnp.sum(gained, axis=0).astype(jnp.float32)


def loss(weights: Weights, batch: Batch, aim: Aim) -> tuple[Array, tuple[Array, Array]]:
    """Return what is made smaller, with the entropy of the plays and the squared error of the values beside it."""
    logits, value = rate(weights, batch.seen)
    surprise = batch.outcome - value
    advantage = jax.lax.stop_gradient(surprise)
    advantage = (advantage - jnp.mean(advantage)) / (jnp.std(advantage) + _SMALLEST)
    chances = jax.nn.log_softmax(logits)
    chosen = jnp.take_along_axis(chances, batch.played[:, None], axis=1)[:, 0]
    safe = jnp.where(batch.seen.legal, chances, 0.0)
    entropy = -jnp.mean(jnp.sum(jnp.where(batch.seen.legal, jnp.exp(safe) * safe, 0.0), axis=1))
    error = jnp.mean(jnp.square(surprise))
    return -jnp.mean(advantage * chosen) + aim.value * error - aim.entropy * entropy, (entropy, error)


def _apply(matrix: Array, values: Array) -> Array:
    flat = values.reshape(-1, values.shape[-1]) @ matrix[:-1] + matrix[-1]
    return flat.reshape(*values.shape[:-1], -1)
