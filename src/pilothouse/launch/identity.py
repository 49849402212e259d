"""Which process is meant: a number alone may have passed to another."""

from __future__ import annotations

import psutil

START_TOLERANCE_SECONDS = 2.0
"""Start times derive from the boot time, which moves a little when the wall clock is corrected."""


def started_at(pid: int) -> float | None:
    """Return when the process began, in seconds since 1970, or None if there is no such process."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def is_alive(pid: int, *, started: float) -> bool:
    """Whether the process of that number and that start time still runs; a zombie does not."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) <= START_TOLERANCE_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def spell(pid: int, *, started: float) -> str:
    """Return `<pid>:<start time>`."""
    return f"{pid}:{started:.2f}"


def read(text: str) -> tuple[int, float] | None:
    """Read what `spell` wrote; None if it is anything else."""
    pid, _, started = text.partition(":")
    try:
        return int(pid), float(started)
    except ValueError:
        return None
