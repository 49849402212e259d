"""Watching a running attempt: its signs of life, its lease, its memory, and the wish to stop it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pilothouse.factory.heart import Hold
from pilothouse.factory.metrics import Metrics
from pilothouse.factory.plain_file import open_plain
from pilothouse.fleet.job import Progress
from pilothouse.monitoring.quoted import plain
from pilothouse.ports.launcher import Handle
from pilothouse.trainer.checkpoints import steps_in
from pilothouse.trainer.folder import LOG_FILE, METRICS_FILE
from pilothouse.trainer.tree import MANIFEST

TICK_SECONDS = 0.2
"""How often a running program is looked at; its end is noticed at once."""
LOOK_CLOSER_SECONDS = 1.0
"""How often its memory and its checkpoints are, where that is cheap."""
CLOSER_SHARE = 0.01
"""The share of time that may go into it: every look at memory walks all processes of the machine."""
CHECKPOINTS = "checkpoints"
EVIDENCE_LINES = 20
EVIDENCE_CHARACTERS = 400
LOG_BYTES_MAX = 32 << 20
"""A log beyond this length becomes `log.1.txt`, in place of the one before; two such lengths are kept at most."""


class Halt(StrEnum):
    """Why the watching ended."""

    EXITED = "exited"
    STOPPED = "stopped"
    WORRYING = "worrying"
    LEASE_OVER = "lease_over"
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
    look_closer_at: float = float("-inf")
    checkpoints: Path
    checkpoint_step: int | None = None

    @property
    def elapsed_seconds(self) -> float:
        """How long the program has run."""
        return self.now - self.began_at

    @property
    def silent_seconds(self) -> float:
        """How long neither its metrics nor its log have grown."""
        return self.now - self.alive_at

    @property
    def progress(self) -> Progress | None:
        """The sign of life to tell, or None while there is nothing to say."""
        if not self.metrics.lines and self.checkpoint_step is None:
            return None
        return dataclasses.replace(self.metrics.progress, checkpoint_step=self.checkpoint_step)

    def read_last(self) -> bool:
        """Read what the program wrote before its end, and say whether there was anything new."""
        reported = self.metrics.read()
        return self.look_for_checkpoint() or reported

    def look_for_checkpoint(self) -> bool:
        """Look for a newer complete checkpoint, which has its manifest, and say whether there is one."""
        for step, path in reversed(steps_in(self.checkpoints).items()):
            if self.checkpoint_step is not None and step <= self.checkpoint_step:
                return False
            if (path / MANIFEST).exists():
                self.checkpoint_step = step
                return True
        return False


def watch(
    handle: Handle,
    folder: Path,
    *,
    worries: Callable[[Watched], bool],
    hold: Hold,
    stop: threading.Event,
    gone: threading.Event,
    monotonic: Callable[[], float],
    resume_step: int | None = None,
) -> tuple[Halt, Watched]:
    """Watch until the program has ended or has to be ended; ending it is the caller's part.

    `worries` says at every look whether something is wrong enough to end the attempt.
    """
    now = monotonic()
    watched = Watched(
        metrics=Metrics(path=folder / METRICS_FILE),
        log=folder / LOG_FILE,
        began_at=now,
        alive_at=now,
        now=now,
        checkpoints=folder / CHECKPOINTS,
        checkpoint_step=resume_step,
    )
    watched.log_bytes = _size(watched.log)
    while True:
        exited = handle.wait(TICK_SECONDS)
        watched.now = monotonic()
        _look(watched, hold)
        if gone.is_set():
            return Halt.ENGINE_GONE, watched
        if not hold.good:
            return Halt.LEASE_OVER, watched
        if exited:
            return Halt.EXITED, watched
        if stop.is_set() or hold.stop_order is not None:
            return Halt.STOPPED, watched
        if worries(watched):
            return Halt.WORRYING, watched
        _look_closer(watched, handle, hold, monotonic)


def tail(path: Path, *, bytes_max: int = 64 << 10) -> str:
    """Return the last part of a log as text; empty if there is none."""
    try:
        with open_plain(path) as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - bytes_max))
            return stream.read(bytes_max).decode("utf-8", errors="replace")
    except OSError:
        return ""


def last_lines(text: str) -> str:
    """Return the end of a log, a few lines of bounded length, as evidence."""
    return "\n".join(plain(line)[:EVIDENCE_CHARACTERS] for line in text.splitlines()[-EVIDENCE_LINES:])


def _look(watched: Watched, hold: Hold) -> None:
    reported = watched.metrics.read()
    size = _size(watched.log)
    if reported or size != watched.log_bytes:
        watched.alive_at = watched.now
    watched.log_bytes = size
    _tell(watched, hold, news=reported)
    if size > LOG_BYTES_MAX:
        watched.log_bytes = _cut(watched.log)


def _look_closer(watched: Watched, handle: Handle, hold: Hold, monotonic: Callable[[], float]) -> None:
    if watched.now < watched.look_closer_at:
        return
    began = monotonic()
    handle.peak_memory_mb()
    _tell(watched, hold, news=watched.look_for_checkpoint())
    took = monotonic() - began
    watched.look_closer_at = watched.now + max(LOOK_CLOSER_SECONDS, took / CLOSER_SHARE)


def _tell(watched: Watched, hold: Hold, *, news: bool) -> None:
    if news and watched.progress is not None:
        hold.tell(watched.progress)
    else:
        hold.touch()


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
