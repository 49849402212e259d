"""Checkpoints off the training thread, and how long training waited for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import jax
import jax.numpy as jnp

from pilothouse.programs.language.learner import Learnt

_WRITE_TIMEOUT_S: Final = 3600.0
"""A checkpoint that takes an hour is lost: the disk has gone."""

Write = Callable[[int, Learnt], Path]
"""Writes and seals a checkpoint of a step, and returns its folder."""


class Saver:
    """Saves states one at a time; use it as a context manager, which waits for the last write.

    With `beside`, a state of the same form as those that will be saved, the state is copied where it lies and a thread
    writes the copy while training goes on: one write at a time, and the next save waits for it. The copy takes the
    state's memory once more, from the start to the end: memory that is new to the process would have to be cleared in
    the middle of the run, which takes longer than the copying. A kill during the write goes back to the checkpoint
    before. Without it training waits.
    """

    def __init__(self, write: Write, *, beside: Learnt | None) -> None:
        self.longest_stall = 0.0
        """Seconds; the longest time that training waited."""
        self._write = write
        self._twin = None if beside is None else _Twin(beside)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[Path] | None = None

    def save(self, step: int, learnt: Learnt) -> None:
        """Save a state, or begin to; an error of the write before it is raised here at the latest."""
        since = time.perf_counter()
        self.settle()
        if self._twin is None:
            self._write(step, learnt)
        else:
            self._pending = self._pool.submit(self._write, step, self._twin.of(learnt))
        self.longest_stall = max(self.longest_stall, time.perf_counter() - since)

    def check(self) -> None:
        """Raise the error of a write that has failed; costs nothing, so that every step can ask."""
        if self._pending is not None and self._pending.done():
            self.settle()

    def save_now(self, step: int, learnt: Learnt) -> Path:
        """Save a state and return its folder when it is on the disk."""
        self.settle()
        return self._write(step, learnt)

    def settle(self) -> None:
        """Wait for a write that is under way."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result(timeout=_WRITE_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.settle()
        finally:
            self._pool.shutdown(wait=True)


class _Twin:
    """A second place for a state, on the same devices; all is compiled and all memory taken before the first save."""

    def __init__(self, learnt: Learnt) -> None:
        self._place: Learnt = jax.jit(_copied)(learnt)
        over = jax.jit(lambda state, _place: _copied(state), donate_argnums=1, keep_unused=True)
        self._copy = over.lower(learnt, self._place).compile()

    def of(self, learnt: Learnt) -> Learnt:
        """Copy a state over the one that was copied last, whose readers must have done."""
        self._place = self._copy(learnt, self._place)
        self._place.progress.running_weight.block_until_ready()
        return self._place


def _copied(learnt: Learnt) -> Learnt:
    copied: Learnt = jax.tree_util.tree_map(jnp.copy, learnt)
    return copied
