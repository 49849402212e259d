"""The processes of an attempt, found by descent, by session and by cookie."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from pilothouse.launch.environment import ATTEMPT, RUN_DIR


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What tells an attempt's processes: the leader's session, if it is known, and the cookie in its run folder."""

    session: int | None
    cookie: str
    folder: str


def environment_of(pid: int) -> Mapping[str, str]:
    """Return the environment a process was started with; empty if it is gone, a zombie, or another user's."""
    try:
        return _environment(pid)
    except (psutil.Error, OSError):
        return {}


if sys.platform == "linux":

    def _environment(pid: int) -> Mapping[str, str]:
        # The same bytes that psutil would read, without building an object for each process of the machine.
        text = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", errors="surrogateescape")
        return dict(word.split("=", 1) for word in text.split("\0") if "=" in word)

else:

    def _environment(pid: int) -> Mapping[str, str]:
        return psutil.Process(pid).environ()


def members(marks: Marks) -> list[psutil.Process]:
    """Return every running process of the attempt but this one; zombies have ended."""
    found: dict[int, psutil.Process] = {}
    for pid in psutil.pids():
        process = _running(pid) if _belongs(pid, marks) else None
        if process is not None:
            found[pid] = process
    for process in list(found.values()):
        for child in _descendants(process):
            found.setdefault(child.pid, child)
    found.pop(os.getpid(), None)
    return [process for process in found.values() if is_running(process)]


def is_running(process: psutil.Process) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kill(processes: list[psutil.Process]) -> None:
    """Send SIGKILL to each; one that is gone already, or whose number has passed on, is left alone."""
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue


def resident_mb(processes: list[psutil.Process]) -> float:
    """Return the summed resident memory in MiB; pages shared between the processes count once for each."""
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total / 2**20


def _running(pid: int) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
    except psutil.Error:
        return None
    return process if is_running(process) else None


def _belongs(pid: int, marks: Marks) -> bool:
    if marks.session is not None and _session(pid) == marks.session:
        return True
    environment = environment_of(pid)
    return environment.get(ATTEMPT) == marks.cookie and environment.get(RUN_DIR) == marks.folder


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []
