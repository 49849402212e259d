"""Checkpoints written beside the training: one at a time, whole or not at all, and a failure is heard of at once."""

from __future__ import annotations

import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pilothouse.programs.language import learner, model
from pilothouse.programs.language.learner import Learnt
from pilothouse.programs.language.optimiser import Rule
from pilothouse.programs.language.presets import PRESETS
from pilothouse.programs.language.saver import Saver
from pilothouse.trainer import StorageFailed

_RULE = Rule(muon=False, beta1=0.9, beta2=0.95, epsilon=1e-8, momentum=0.95, clip_norm=1.0)
_PATIENCE_S = 30.0


@pytest.fixture(name="learnt", scope="module")
def _learnt() -> Learnt:
    return learner.begin(model.initial(PRESETS["tiny"].shape, 128, seed=1), _RULE)


def test_what_is_written_is_the_state_at_the_save_whatever_becomes_of_it(learnt: Learnt) -> None:
    """A step takes the state's memory over while the write has not even begun; two saves use one place in turn."""
    go, read = threading.Event(), list[float]()

    def write(step: int, state: Learnt) -> Path:
        assert go.wait(_PATIENCE_S)
        read.append(float(state.weights.norm.sum()))
        return Path(str(step))

    stepping = jax.jit(lambda state: jax.tree_util.tree_map(lambda leaf: leaf + 1, state), donate_argnums=0)
    state: Learnt = jax.tree_util.tree_map(jnp.copy, learnt)
    with Saver(write, beside=learnt) as saver:
        for step in (1, 2):
            saver.save(step, state)
            state = stepping(state)
            go.set()
            saver.settle()

    width = PRESETS["tiny"].shape.width
    assert read == [width, 2 * width]
    assert float(state.weights.norm.sum()) == 3 * width


def test_a_second_save_waits_for_the_first(learnt: Learnt) -> None:
    """However many are asked for, one is written at a time, in order; and the wait is told as a stall."""
    begun, go = threading.Semaphore(0), threading.Semaphore(0)
    at_work, most, done = 0, 0, list[int]()

    def write(step: int, _: Learnt) -> Path:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        begun.release()
        assert go.acquire(timeout=_PATIENCE_S)
        at_work -= 1
        done.append(step)
        return Path(str(step))

    with Saver(write, beside=learnt) as saver:
        saver.save(1, learnt)
        assert begun.acquire(timeout=_PATIENCE_S)
        asking = threading.Thread(target=saver.save, args=(2, learnt))
        asking.start()
        assert not begun.acquire(blocking=False)
        go.release(2)
        asking.join(_PATIENCE_S)
        assert not asking.is_alive()

    assert (most, done) == (1, [1, 2])
    assert saver.longest_stall > 0


def test_a_write_that_has_failed_is_told_by_the_next_step(learnt: Learnt) -> None:
    """Not by the next checkpoint, which may be hours away; and leaving the block does not tell it twice."""
    ended = threading.Event()

    def write(_step: int, _state: Learnt) -> Path:
        ended.set()
        raise StorageFailed("The disk is full.", fix="free some.")

    def steps(saver: Saver) -> None:
        saver.save(1, learnt)
        assert ended.wait(_PATIENCE_S)
        saver._pool.shutdown(wait=True)  # what the thread has raised is in its future when it has ended
        saver.check()

    with pytest.raises(StorageFailed, match="The disk is full"), Saver(write, beside=learnt) as saver:
        steps(saver)


def test_training_that_waits_hears_of_a_failure_in_the_save_itself(learnt: Learnt) -> None:
    """And its stall is as long as the write."""

    def write(_step: int, _state: Learnt) -> Path:
        raise StorageFailed("The disk is full.", fix="free some.")

    with pytest.raises(StorageFailed), Saver(write, beside=None) as saver:
        saver.save(1, learnt)


def test_the_copy_is_equal_to_the_last_bit(learnt: Learnt) -> None:
    """Types, shapes, and the numbers of every leaf, the count of steps among them."""
    found: list[Learnt] = []

    def write(_step: int, state: Learnt) -> Path:
        found.append(jax.tree_util.tree_map(np.array, state))
        return Path("there")

    with Saver(write, beside=learnt) as saver:
        saver.save(1, learnt)

    jax.tree_util.tree_map(np.testing.assert_array_equal, found[0], learnt)
    assert [leaf.dtype for leaf in jax.tree_util.tree_leaves(found[0])] == [
        leaf.dtype for leaf in jax.tree_util.tree_leaves(learnt)
    ]
