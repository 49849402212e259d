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

    `beside`: the state is copied where it lies, which takes its memory twice for a while, and a thread writes the copy
    while training goes on. A kill during the write goes back to the checkpoint before. Otherwise training waits.
    """

    def __init__(self, write: Write, *, beside: bool) -> None:
        self.longest_stall = 0.0
        """Seconds; the longest time that training waited."""
        self._write = write
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint") if beside else None
        self._pending: Future[Path] | None = None

    def save(self, step: int, learnt: Learnt) -> None:
        """Save a state, or begin to; an error of the write before it is raised here."""
        since = time.perf_counter()
        self.settle()
        if self._pool is None:
            self._write(step, learnt)
        else:
            copy = jax.tree_util.tree_map(jnp.copy, learnt)
            copy.progress.running_weight.block_until_ready()
            self._pending = self._pool.submit(self._write, step, copy)
        self.longest_stall = max(self.longest_stall, time.perf_counter() - since)

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
            if self._pool is not None:
                self._pool.shutdown(wait=True)
