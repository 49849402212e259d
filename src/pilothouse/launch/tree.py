"""The processes of an attempt, found by descent, by session and by cookie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from pilothouse.launch.environment import ATTEMPT, RUN_DIR


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What tells an attempt's processes: the leader's session, if it is known, and the cookie in its run folder."""

    session: int | None
    cookie: str
    folder: str


def environment_of(process: psutil.Process) -> Mapping[str, str]:
    """Return the environment a process was started with; empty if it is gone, a zombie, or another user's."""
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def members(marks: Marks) -> list[psutil.Process]:
    """Return every running process of the attempt but this one; zombies have ended."""
    found: dict[int, psutil.Process] = {}
    for pid in psutil.pids():
        process = _process(pid)
        if process is not None and _belongs(process, marks):
            found[pid] = process
    for process in list(found.values()):
        for child in _descendants(process):
            found.setdefault(child.pid, child)
    found.pop(os.getpid(), None)
    return [process for process in found.values() if _is_running(process)]


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


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def _belongs(process: psutil.Process, marks: Marks) -> bool:
    if marks.session is not None and _session(process.pid) == marks.session:
        return True
    environment = environment_of(process)
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


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
