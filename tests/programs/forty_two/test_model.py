"""The network, compared with a plain NumPy reading of it."""

import math
from typing import Any

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from pilothouse.programs.forty_two import learner_bench, model
from pilothouse.programs.forty_two.learner_bench import made_up_rows
from pilothouse.programs.forty_two.model import PRESETS, Weights

Floats = NDArray[np.float64]

ROWS = 12


def _plain_norm(norm: Any, state: Floats) -> Floats:
    mean = state.mean(axis=-1, keepdims=True)
    return np.asarray((state - mean) / np.sqrt(state.var(axis=-1, keepdims=True) + 1e-5) * norm.scale + norm.bias)


def _plain_layer(layer: Any, state: Floats, mask: NDArray[np.int8], heads: int) -> Floats:
    width = state.shape[-1]
    size = width // heads
    mixed = state @ layer.mix.weight + layer.mix.bias
    joined = np.empty_like(state)
    for head in range(heads):
        query, key, value = (mixed[:, part * width + head * size :][:, :size] for part in range(3))
        scores = query @ key.T / math.sqrt(size)
        scores[:, mask == 0] = -np.inf
        chances = np.exp(scores - scores.max(axis=-1, keepdims=True))
        joined[:, head * size : (head + 1) * size] = chances / chances.sum(axis=-1, keepdims=True) @ value
    state = _plain_norm(layer.norm_attention, state + joined @ layer.out.weight + layer.out.bias)
    hidden = np.maximum(state @ layer.expand.weight + layer.expand.bias, 0)
    return _plain_norm(layer.norm_hidden, state + hidden @ layer.contract.weight + layer.contract.bias)


def _plain_forward(
    weights: Any, tokens: NDArray[np.int8], mask: NDArray[np.int8], player: int, heads: int
) -> tuple[Floats, float]:
    """One position: embeddings joined, every layer in full for all 32 tokens, in float64."""
    features = [weights.embeddings[feature][tokens[:, feature]] for feature in range(12)]
    state = np.concatenate(features, axis=1) @ weights.project.weight + weights.project.bias
    for layer in weights.layers:
        state = _plain_layer(layer, state, mask, heads)
    hand = state[1 + 7 * player : 8 + 7 * player]
    action = (hand @ weights.action.weight + weights.action.bias)[:, 0]
    return action, (state[0] @ weights.value.weight + weights.value.bias).item()


@pytest.fixture(name="weights")
def _weights() -> Weights:
    return model.initial(PRESETS["tiny"], seed=5)


_apply = jax.jit(model.forward, static_argnames="heads")


def _forward(weights: Weights, tokens: Any, masks: Any, players: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    logits, value = _apply(weights, tokens, masks, players, heads=PRESETS["tiny"].heads)
    return np.asarray(logits), np.asarray(value)


@pytest.mark.parametrize(("preset", "count"), [("full", 816_904), ("large", 3_256_865), ("nano", 41_726)])
def test_presets_have_the_stated_number_of_weights(preset: str, count: int) -> None:
    """817 thousand for `full`, 3.3 million for `large`."""
    assert model.parameter_count(model.initial(PRESETS[preset], seed=0)) == count


def test_forward_equals_the_plain_reading(weights: Weights) -> None:
    """Folding the embeddings and cutting the last layer short change nothing but rounding."""
    rows = made_up_rows(ROWS)
    rows.masks[:, 29:] = np.random.default_rng(1).integers(0, 2, (ROWS, 3))
    logits, value = _forward(weights, rows.tokens, rows.masks, rows.players)

    plain = jax.tree_util.tree_map(lambda leaf: np.asarray(leaf, dtype=np.float64), weights)
    for row in range(ROWS):
        action, worth = _plain_forward(plain, rows.tokens[row], rows.masks[row], int(rows.players[row]), heads=2)
        np.testing.assert_allclose(logits[row], action, atol=2e-5)
        np.testing.assert_allclose(value[row], worth, atol=2e-5)


def test_masked_plays_are_not_seen(weights: Weights) -> None:
    """Whatever stands in a masked token has no effect on any answer."""
    rows = made_up_rows(ROWS)
    rows.masks[:, 29:] = 0
    other = rows.tokens.copy()
    other[:, 29:] = 1

    for one, two in zip(
        _forward(weights, rows.tokens, rows.masks, rows.players),
        _forward(weights, other, rows.masks, rows.players),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


def test_slots_of_a_hand_cannot_be_told_apart(weights: Weights) -> None:
    """Shuffling every hand shuffles the mover's logits alike and leaves the value."""
    rows = made_up_rows(ROWS)
    order = np.random.default_rng(2).permutation(7)
    shuffled = rows.tokens.copy()
    for seat in range(4):
        first = 1 + 7 * seat
        shuffled[:, first : first + 7] = rows.tokens[:, first : first + 7][:, order]

    logits, value = _forward(weights, rows.tokens, rows.masks, rows.players)
    moved, same = _forward(weights, shuffled, rows.masks, rows.players)

    np.testing.assert_allclose(moved, logits[:, order], atol=2e-5)
    np.testing.assert_allclose(same, value, atol=2e-5)


def test_weights_are_drawn_by_seed() -> None:
    """The same seed gives the same bits, another seed others."""
    one, two, other = (model.initial(PRESETS["tiny"], seed=seed) for seed in (1, 1, 2))

    for left, right in zip(jax.tree_util.tree_leaves(one), jax.tree_util.tree_leaves(two), strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(one.project.weight, other.project.weight)


def test_the_benchmark_measures_both_directions() -> None:
    """Speeds and compile times are there for a preset, and progress has a true total."""
    heard: list[tuple[int, int]] = []

    found = learner_bench.run(preset="tiny", progress=lambda done, total: heard.append((done, total)))

    assert heard == [(done, 20) for done in range(1, 21)]
    for name in ("train_samples_per_s", "eval_samples_per_s", "train_compile_seconds", "eval_compile_seconds"):
        speed = found[name]
        assert isinstance(speed, float)
        assert speed > 0
    assert found["parameters"] == model.parameter_count(model.initial(PRESETS["tiny"], seed=0))
