"""The loss and its gradient against JAX's own log-softmax."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from pilothouse.programs.language.loss import chunk_positions, summed, token_nats

_OPTIONS: dict[str, bool | int | float | str] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
"""What is compiled here runs once."""
_quickly = partial(jax.jit, compiler_options=_OPTIONS)


_Z = 0.01


def _drawn() -> tuple[Array, Array, Array]:
    draw = np.random.default_rng(1)
    states = jnp.asarray(draw.standard_normal((3, 8, 6)), jnp.float32)
    head = jnp.asarray(draw.standard_normal((11, 6)), jnp.float32)
    return states, head, jnp.asarray(draw.integers(0, 11, (3, 8)), jnp.int32)


def _plain(states: Array, head: Array, targets: Array) -> Array:
    logits = states @ head.T
    told = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], axis=-1)[..., 0]
    return jnp.sum(-told + _Z * jnp.square(jax.nn.logsumexp(logits, axis=-1)))


@pytest.mark.parametrize("positions", [2])
def test_loss_and_gradient_are_those_of_log_softmax(positions: int) -> None:
    """However the sequence is cut: the sum, the gradient of the states, and that of the head."""
    states, head, targets = _drawn()
    wanted, pulls = _quickly(jax.value_and_grad(_plain, argnums=(0, 1)))(states, head, targets)

    def objective(states: Array, head: Array) -> Array:
        return summed(states, head, targets, _Z, positions)[0]

    found, found_pulls = _quickly(jax.value_and_grad(objective, argnums=(0, 1)))(states, head)

    np.testing.assert_allclose(float(found), float(wanted), rtol=1e-6)
    for ours, theirs in zip(found_pulls, pulls, strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=2e-6)


def test_the_entropy_beside_the_objective_has_no_z_loss() -> None:
    """The second sum is the plain cross entropy, and the nats of single tokens add up to it."""
    states, head, targets = _drawn()
    objective, entropy = _quickly(summed, static_argnums=(3, 4))(states, head, targets, _Z, 4)
    nats = np.asarray(_quickly(token_nats, static_argnums=3)(states, head, targets, 4))

    logits = np.asarray(states, np.float64) @ np.asarray(head, np.float64).T
    told = np.take_along_axis(logits, np.asarray(targets)[..., None], axis=-1)[..., 0]
    wanted = np.log(np.exp(logits).sum(axis=-1)) - told

    np.testing.assert_allclose(nats, wanted, atol=2e-6)
    np.testing.assert_allclose(float(entropy), wanted.sum(), rtol=1e-6)
    assert float(objective) > float(entropy)


@pytest.mark.parametrize(("rows", "length", "tokens", "positions"), [(4, 32, 64, 16), (4, 32, 1, 1), (2, 30, 1000, 30)])
def test_pieces_divide_the_sequence(rows: int, length: int, tokens: int, positions: int) -> None:
    """As many positions as fit, at least one, at most all."""
    assert chunk_positions(rows=rows, length=length, tokens=tokens) == positions
