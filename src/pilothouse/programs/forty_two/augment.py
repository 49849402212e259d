"""Changes of a batch that leave the game the same, drawn from (seed, step) and so never twice alike.

The network cannot tell the slots of a hand apart (it has no position embedding), so shuffling a hand would change one
thing only: which of several equally good moves counts as the first and best. That is what `shuffle_hands` draws.
Seats are told by the kinds 1 to 4; turning the table by some seats turns the kinds, and by an odd number of seats also
the sign of the value. Everything else is said relative to the mover already.
"""

import jax
import jax.numpy as jnp
from jax import Array

from pilothouse.programs.forty_two.losses import Batch, legal_logits, mover_values
from pilothouse.programs.forty_two.rules import SEATS
from pilothouse.programs.forty_two.tokens import KIND


def step_key(seed: Array, step: Array) -> Array:
    """Make the random key of a step."""
    return jax.random.fold_in(jax.random.key(seed), step)


def shuffle_hands(batch: Batch, key: Array) -> Batch:
    """Choose each target among all best moves, as if the slots of the mover's hand had been shuffled."""
    chance = jax.random.uniform(key, batch.legal.shape)
    # Values are whole points, so less than one point decides between equals only.
    best = jnp.argmax(legal_logits(mover_values(batch) + 0.5 * chance, batch.legal), axis=-1)
    return batch._replace(targets=best.astype(batch.targets.dtype))


def rotate_seats(batch: Batch, key: Array) -> Batch:
    """Turn the table of each sample by 0 to 3 seats."""
    turns = jax.random.randint(key, batch.values.shape, 0, SEATS, dtype=jnp.int8)
    kinds = batch.tokens[:, :, KIND]
    turned = (kinds - 1 + turns[:, None]) % SEATS + 1
    kinds = jnp.where((kinds >= 1) & (kinds <= SEATS), turned, kinds).astype(jnp.int8)
    return batch._replace(
        tokens=batch.tokens.at[:, :, KIND].set(kinds),
        values=jnp.where(turns % 2 == 1, -batch.values, batch.values),
    )
