"""The losses, compared with sums written out row by row."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from pilothouse.programs.forty_two import augment
from pilothouse.programs.forty_two.losses import Batch, Mode, loss, mover_values

_ROWS = 40


def _batch() -> Batch:
    draw = np.random.default_rng(3)
    legal = draw.integers(0, 2, (_ROWS, 7))
    legal[np.arange(_ROWS), draw.integers(0, 7, _ROWS)] = 1
    q = np.where(legal == 1, draw.integers(-5, 6, (_ROWS, 7)) * 2, -128)
    teams = draw.integers(0, 2, _ROWS)
    signed = np.where(legal == 1, q * (1 - 2 * teams[:, None]), -1000)
    columns = {
        "tokens": draw.integers(0, 8, (_ROWS, 32, 12)),
        "masks": np.ones((_ROWS, 32)),
        "targets": signed.argmax(axis=1),
        "legal": legal,
        "qvals": q,
        "teams": teams,
        "players": draw.integers(0, 4, _ROWS),
        "values": draw.integers(-42, 43, _ROWS),
    }
    return Batch(**{name: jnp.asarray(column, dtype=jnp.int8) for name, column in columns.items()})


def _answers() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    draw = np.random.default_rng(4)
    return draw.standard_normal((_ROWS, 7), dtype=np.float32), draw.standard_normal(_ROWS, dtype=np.float32)


def _log_softmax(numbers: list[float]) -> list[float]:
    total = math.log(sum(math.exp(number) for number in numbers))
    return [number - total for number in numbers]


def _rows(batch: Batch) -> list[tuple[list[int], list[float], int, float]]:
    """Legal slots, their values to the mover, the target and the value in hands, by row."""
    found = []
    for row in range(_ROWS):
        slots = [slot for slot in range(7) if batch.legal[row, slot]]
        sign = 1 if int(batch.teams[row]) == 0 else -1
        worth = [sign * float(batch.qvals[row, slot]) for slot in slots]
        found.append((slots, worth, int(batch.targets[row]), float(batch.values[row]) / 42))
    return found


def test_policy_loss_is_the_stated_mixture() -> None:
    """0.3 hard and 0.7 soft cross entropy at 3 points, and half the squared error of the value."""
    batch, (logits, value) = _batch(), _answers()
    total = 0.0
    for row, (slots, worth, target, points) in enumerate(_rows(batch)):
        chances = _log_softmax([float(logits[row, slot]) for slot in slots])
        wanted = [math.exp(number) for number in _log_softmax([number / 3 for number in worth])]
        soft = -sum(want * chance for want, chance in zip(wanted, chances, strict=True))
        hard = -chances[slots.index(target)]
        total += 0.3 * hard + 0.7 * soft + 0.5 * (float(value[row]) - points) ** 2

    found = float(loss(Mode.POLICY, jnp.asarray(logits), jnp.asarray(value), batch))
    assert found == pytest.approx(total / _ROWS, rel=1e-5)


def test_qvalue_loss_is_the_error_over_legal_moves() -> None:
    """Mean squared error of Q/42 over all legal moves of the batch, and half that of the value."""
    batch, (logits, value) = _batch(), _answers()
    errors = [
        (float(logits[row, slot]) - number / 42) ** 2
        for row, (slots, worth, _, _) in enumerate(_rows(batch))
        for slot, number in zip(slots, worth, strict=True)
    ]
    values = [(float(value[row]) - points) ** 2 for row, (_, _, _, points) in enumerate(_rows(batch))]

    found = float(loss(Mode.QVALUE, jnp.asarray(logits), jnp.asarray(value), batch))
    assert found == pytest.approx(sum(errors) / len(errors) + 0.5 * sum(values) / len(values), rel=1e-5)


@pytest.mark.parametrize("mode", list(Mode))
def test_illegal_moves_teach_nothing(mode: Mode) -> None:
    """No gradient reaches the logit of an illegal move, and every gradient is finite."""
    batch, (logits, value) = _batch(), _answers()

    gradient = jax.grad(lambda given: loss(mode, given, jnp.asarray(value), batch))(jnp.asarray(logits))

    illegal: Any = np.asarray(batch.legal) == 0
    assert np.all(np.asarray(gradient)[illegal] == 0)
    assert np.all(np.isfinite(gradient))
    assert np.any(np.asarray(gradient) != 0)


def test_shuffled_hands_draw_the_target_among_the_best() -> None:
    """Every best move is drawn at some step, and never another; the draw follows from the step."""
    batch = _batch()
    worth = np.where(np.asarray(batch.legal) == 1, np.asarray(mover_values(batch)), -np.inf)
    best = worth == worth.max(axis=1, keepdims=True)
    seen = np.zeros_like(best)
    for step in range(60):
        key = augment.step_key(jnp.uint32(1), jnp.uint32(step))
        targets = np.asarray(augment.shuffle_hands(batch, key).targets)
        np.testing.assert_array_equal(targets, augment.shuffle_hands(batch, key).targets)
        seen[np.arange(_ROWS), targets] = True

    np.testing.assert_array_equal(seen, best)


def test_turned_tables_keep_what_the_mover_sees() -> None:
    """Seats move together, odd turns swap the teams' value, and the mover's values stay."""
    batch = _batch()
    turned = augment.rotate_seats(batch, augment.step_key(jnp.uint32(1), jnp.uint32(0)))

    before, after = np.asarray(batch.tokens)[..., 9], np.asarray(turned.tokens)[..., 9]
    turns = set()
    for row in range(_ROWS):
        seats = (before[row] >= 1) & (before[row] <= 4)
        turn = set(((after[row][seats] - before[row][seats]) % 4).tolist())
        assert len(turn) == 1
        assert np.array_equal(after[row][~seats], before[row][~seats])
        sign = -1 if turn & {1, 3} else 1
        assert int(turned.values[row]) == sign * int(batch.values[row])
        turns |= turn
    assert turns == {0, 1, 2, 3}
    np.testing.assert_array_equal(np.delete(np.asarray(turned.tokens), 9, -1), np.delete(batch.tokens, 9, -1))
    np.testing.assert_array_equal(mover_values(turned), mover_values(batch))
