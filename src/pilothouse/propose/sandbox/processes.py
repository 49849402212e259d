"""The processes of a confined run, found by descent from its supervisor, which adopts every orphan."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
_KILL_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 0.005
_STATE, _PARENT, _THREADS, _RESIDENT = 0, 1, 17, 21
"""Places in `/proc/<pid>/stat`, after the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Every running descendant, with how many tasks and how much memory they have together."""

    pids: Sequence[int]
    tasks: int
    resident_mb: float


def family(root: int) -> Family:
    """Return the running descendants of a process, itself left out; zombies have ended."""
    table = _table()
    children: dict[int, list[int]] = {}
    for pid, row in table.items():
        children.setdefault(int(row[_PARENT]), []).append(pid)
    found: list[int] = []
    waiting = [root]
    while waiting:
        for pid in children.get(waiting.pop(), []):
            waiting.append(pid)
            found.append(pid)
    living = [pid for pid in found if table[pid][_STATE] not in {"Z", "X"}]
    return Family(
        pids=living,
        tasks=sum(int(table[pid][_THREADS]) for pid in living),
        resident_mb=sum(int(table[pid][_RESIDENT]) for pid in living) * _PAGE_MB,
    )


def end(root: int) -> int:
    """Kill every descendant, reap what is this process's own, and return how many there were.

    All are stopped before any is killed, until a look finds nobody new: what is stopped forks no more.
    """
    seen: set[int] = set()
    while fresh := [pid for pid in family(root).pids if pid not in seen]:
        seen.update(fresh)
        for pid in fresh:
            _signal(pid, signal.SIGSTOP)
    deadline = time.monotonic() + _KILL_SECONDS
    while (left := family(root).pids) and time.monotonic() < deadline:
        seen.update(left)
        for pid in left:
            _signal(pid, signal.SIGKILL)
        reap()
        select.select([], [], [], _LOOK_AGAIN_SECONDS)
    reap()
    return len(seen)


def reap() -> None:
    """Take the ends of all children that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue


def _table() -> Mapping[int, Sequence[str]]:
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  thousands of entries, several times a second
        if name.isdigit():
            with suppress(OSError, ValueError):
                text = Path("/proc", name, "stat").read_bytes().decode("ascii", errors="replace")
                found[int(name)] = text.rpartition(")")[2].split()
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
