"""Watching a running attempt: its signs of life, its lease, its memory, and the wish to stop it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pilothouse.factory.metrics import Metrics
from pilothouse.factory.renewal import Renewal
from pilothouse.ports.launcher import Handle
from pilothouse.trainer.folder import LOG_FILE, METRICS_FILE

TICK_SECONDS = 0.2
"""How often a running program is looked at; its end is noticed at once."""
MEMORY_EVERY_SECONDS = 1.0
LOG_BYTES_MAX = 32 << 20
"""A log beyond this length becomes `log.1.txt`, in place of the one before; two such lengths are kept at most."""


class Halt(StrEnum):
    """Why the watching ended."""

    EXITED = "exited"
    STOPPED = "stopped"
    WORRYING = "worrying"
    LEASE_LOST = "lease_lost"
    ENGINE_GONE = "engine_gone"


@dataclass(slots=True, kw_only=True)
class Watched:
    """What watching has seen so far; times are monotonic seconds."""

    metrics: Metrics
    log: Path
    began_at: float
    alive_at: float
    now: float
    log_bytes: int = 0
    memory_at: float = float("-inf")

    @property
    def elapsed_seconds(self) -> float:
        """How long the program has run."""
        return self.now - self.began_at

    @property
    def silent_seconds(self) -> float:
        """How long neither its metrics nor its log have grown."""
        return self.now - self.alive_at


def watch(
    handle: Handle,
    folder: Path,
    *,
    worries: Callable[[Watched], bool],
    renewal: Renewal,
    stop: threading.Event,
    gone: threading.Event,
    monotonic: Callable[[], float],
) -> tuple[Halt, Watched]:
    """Watch until the program has ended or has to be ended; ending it is the caller's part.

    `worries` says at every look whether something is wrong enough to end the attempt.
    """
    now = monotonic()
    watched = Watched(
        metrics=Metrics(path=folder / METRICS_FILE), log=folder / LOG_FILE, began_at=now, alive_at=now, now=now
    )
    watched.log_bytes = _size(watched.log)
    while True:
        exited = handle.wait(TICK_SECONDS)
        watched.now = monotonic()
        _look(watched, renewal)
        if gone.is_set():
            return Halt.ENGINE_GONE, watched
        if not renewal.held:
            return Halt.LEASE_LOST, watched
        if exited:
            return Halt.EXITED, watched
        if stop.is_set():
            return Halt.STOPPED, watched
        if worries(watched):
            return Halt.WORRYING, watched
        _weigh(watched, handle)


def tail(path: Path, *, bytes_max: int = 64 << 10) -> str:
    """Return the last part of a log as text; empty if there is none."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - bytes_max))
            return stream.read(bytes_max).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _look(watched: Watched, renewal: Renewal) -> None:
    reported = watched.metrics.read()
    size = _size(watched.log)
    if reported or size != watched.log_bytes:
        watched.alive_at = watched.now
    watched.log_bytes = size
    if reported:
        renewal.tell(watched.metrics.progress)
    else:
        renewal.touch()
    if size > LOG_BYTES_MAX:
        watched.log_bytes = _cut(watched.log)


def _weigh(watched: Watched, handle: Handle) -> None:
    if watched.now - watched.memory_at >= MEMORY_EVERY_SECONDS:
        watched.memory_at = watched.now
        handle.peak_memory_mb()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _cut(log: Path) -> int:
    """Move the log's content aside and go on with an empty file, which the program keeps appending to.

    Lines written between the copy and the cut are lost.
    """
    with suppress(OSError):  # a full disk must not end the watching; the next look tries again
        shutil.copyfile(log, log.with_name("log.1.txt"))
        os.truncate(log, 0)
    return _size(log)
