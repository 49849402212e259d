"""Processes that an engine left behind when it was killed."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from pilothouse.errors import OperationFailed
from pilothouse.launch import identity, tree
from pilothouse.launch.environment import ATTEMPT, FACTORY, RUN_DIR

MODULE = "pilothouse.factory"
PATIENCE_SECONDS = 8.0
"""A factory whose engine is gone gives its job 5 seconds to save itself; waiting keeps that work."""
_KILL_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 0.05

log = logging.getLogger(__name__)


def sweep_orphans(home: Path, *, patience_seconds: float = PATIENCE_SECONDS) -> int:
    """End every factory of this home whose engine is gone, and every job that has no factory; return how many.

    A factory that is about to end by itself is waited for. Factories of a living engine, their jobs, and other homes
    are left alone. Call it before a new engine hands out work: then nothing runs twice. Raises OperationFailed if a
    process outlives SIGKILL.
    """
    seen: set[int] = set()
    home = home.resolve()
    idle = threading.Event()
    patient_until = time.monotonic() + patience_seconds
    give_up_at = patient_until + _KILL_SECONDS
    while True:
        factories, jobs = _look(home)
        left = [*factories, *jobs]
        if not left:
            break
        seen.update(process.pid for process in left)
        if time.monotonic() > give_up_at:
            raise _stuck(left)
        if not factories or time.monotonic() >= patient_until:
            tree.kill(left)
        idle.wait(_LOOK_AGAIN_SECONDS)
    if seen:
        log.warning("Ended %d processes of an earlier start.", len(seen), extra={"action": "orphans_ended"})
    return len(seen)


def _look(home: Path) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """Return the orphaned factories and jobs of this home, from one pass over the processes."""
    factories, jobs = [], []
    for pid in psutil.pids():
        if pid == os.getpid():
            continue
        try:
            process = psutil.Process(pid)
            if _is_orphaned_factory(process, home):
                factories.append(process)
            elif _is_orphaned_job(process, home):
                jobs.append(process)
        except psutil.Error:
            continue  # it has ended meanwhile, or is another user's
    return factories, jobs


def _is_orphaned_job(process: psutil.Process, home: Path) -> bool:
    variables = tree.environment_of(process.pid)
    if ATTEMPT not in variables or RUN_DIR not in variables:
        return False
    if not Path(variables[RUN_DIR]).is_relative_to(home) or not tree.is_running(process):
        return False
    factory = identity.read(variables.get(FACTORY, ""))
    if factory is None or not identity.is_alive(factory[0], started=factory[1]):
        return True
    return _is_orphaned_factory(psutil.Process(factory[0]), home)


def _is_orphaned_factory(process: psutil.Process, home: Path) -> bool:
    words = process.cmdline()
    if MODULE not in words or _after("--home", words) != str(home) or not tree.is_running(process):
        return False
    engine = identity.read(_after("--engine", words))
    return engine is None or not identity.is_alive(engine[0], started=engine[1])


def _after(option: str, words: Sequence[str]) -> str:
    return words[words.index(option) + 1] if option in words[:-1] else ""


def _stuck(processes: Sequence[psutil.Process]) -> OperationFailed:
    named = ", ".join(str(process.pid) for process in processes)
    return OperationFailed(
        f"Process {named} of an earlier start does not end.",
        fix="look for a hung disk or device under it (`ps -o pid,stat,wchan,cmd`); the machine may need a restart.",
    )
