"""The checks of `pilothouse doctor`: each looks at one thing and says what it found and what mends it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from pilothouse.engine.ownership import read_owner
from pilothouse.errors import PilothouseError
from pilothouse.settings import Settings
from pilothouse.wiring.confinement import confinement
from pilothouse.wiring.workspace import DATABASE, SQLITE_LEAST, is_alive, open_workspace

Level = Literal["ok", "warn", "fail"]
PYTHON_LEAST = (3, 11)
DISK_GB_LEAST = 1.0
DISK_GB_GOOD = 5.0
MEMORY_GB_GOOD = 2.0
FSYNC_MS_GOOD = 20.0
PROBES = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report; `mend` is a command or an act, empty when nothing is wrong."""

    check: str
    level: Level
    detail: str
    mend: str = ""


def examine(settings: Settings) -> Sequence[Finding]:
    """Return what was found, in the order in which trouble would strike."""
    checks: list[Callable[[Settings], Finding]] = [
        _python,
        _sqlite,
        _home,
        _disk,
        _fsync,
        _database,
        _engine,
        _machine,
        _programs,
        _git,
        _agents,
        _forge,
        _letters,
    ]
    return [check(settings) for check in checks]


def _python(_: Settings) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < PYTHON_LEAST:
        return Finding(check="python", level="fail", detail=version, mend="make PYTHON=/path/to/python3.11 setup")
    return Finding(check="python", level="ok", detail=f"{version} at {sys.executable}")


def _sqlite(_: Settings) -> Finding:
    if sqlite3.sqlite_version_info < SQLITE_LEAST:
        return Finding(
            check="sqlite",
            level="fail",
            detail=f"{sqlite3.sqlite_version} is too old for the database",
            mend=f"use a Python built with SQLite {SQLITE_LEAST[0]}.{SQLITE_LEAST[1]} or newer",
        )
    return Finding(check="sqlite", level="ok", detail=sqlite3.sqlite_version)


def _home(settings: Settings) -> Finding:
    folder = _existing(settings.home)
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            check="home",
            level="fail",
            detail=f"{folder} cannot be written",
            mend=f"chmod u+wx {folder}, or name another folder with --home",
        )
    there = "" if settings.home.exists() else " (not made yet)"
    return Finding(check="home", level="ok", detail=f"{settings.home}{there}")


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_existing(settings.home)).free / 1e9
    detail = f"{free:.1f} GB free"
    mend = "free space, or name a folder on another disk with --home"
    if free < DISK_GB_LEAST:
        return Finding(check="disk", level="fail", detail=detail, mend=mend)
    if free < DISK_GB_GOOD:
        return Finding(check="disk", level="warn", detail=detail, mend=mend)
    return Finding(check="disk", level="ok", detail=detail)


def _fsync(settings: Settings) -> Finding:
    """Time the write that every answer of the engine waits for."""
    try:
        with tempfile.TemporaryFile(dir=_existing(settings.home)) as file:
            taken = sorted(_fsync_ms(file.fileno()) for _ in range(PROBES))
    except OSError as error:
        return Finding(check="fsync", level="fail", detail=str(error), mend="make the home's folder writable")
    middle = taken[len(taken) // 2]
    if middle > FSYNC_MS_GOOD:
        return Finding(
            check="fsync", level="warn", detail=f"{middle:.1f} ms", mend="name a folder on a faster disk with --home"
        )
    return Finding(check="fsync", level="ok", detail=f"{middle:.2f} ms")


def _fsync_ms(descriptor: int) -> float:
    os.pwrite(descriptor, b"x" * 4096, 0)
    began = time.perf_counter()
    os.fsync(descriptor)
    return 1000 * (time.perf_counter() - began)


def _database(settings: Settings) -> Finding:
    if not (settings.home / DATABASE).exists():
        return Finding(check="database", level="ok", detail="none yet; the first campaign makes it")
    try:
        damage = open_workspace(settings, create=False).store.damage()
    except PilothouseError as error:
        return Finding(check="database", level="fail", detail=error.message, mend=error.fix)
    if damage:
        return Finding(
            check="database",
            level="fail",
            detail="; ".join(damage[:3]),
            mend=f"move {settings.home / DATABASE} aside and put a copy back",
        )
    return Finding(check="database", level="ok", detail="SQLite's own check found nothing")


def _engine(settings: Settings) -> Finding:
    owner = read_owner(settings.home)
    if owner is None:
        return Finding(check="engine", level="ok", detail="no campaign runs here")
    if is_alive(owner):
        return Finding(check="engine", level="ok", detail=f"pid {owner.pid} on {owner.host} works here")
    return Finding(
        check="engine",
        level="warn",
        detail=f"pid {owner.pid} died while it ran a campaign",
        mend="pilothouse campaign run FILE (it goes on where it was)",
    )


def _machine(_: Settings) -> Finding:
    memory = psutil.virtual_memory()
    detail = f"{os.cpu_count()} cores, {memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB memory free"
    if memory.available / 1e9 < MEMORY_GB_GOOD:
        return Finding(check="machine", level="warn", detail=detail, mend="end what uses the memory")
    return Finding(check="machine", level="ok", detail=detail)


def _programs(_: Settings) -> Finding:
    """Look for the packages of the reference programs without loading them."""
    missing = [name for name in ("jax", "numba", "optax", "pyarrow") if importlib.util.find_spec(name) is None]
    if missing:
        return Finding(
            check="programs",
            level="warn",
            detail=f"not installed: {', '.join(missing)}",
            mend="pip install 'pilothouse[programs]'",
        )
    return Finding(check="programs", level="ok", detail="jax, numba, optax and pyarrow are installed")


def _git(_: Settings) -> Finding:
    if shutil.which("git") is None:
        return Finding(
            check="git", level="warn", detail="not found; proposals are bound to no commit", mend="install git"
        )
    return Finding(check="git", level="ok", detail="found")


def _agents(_: Settings) -> Finding:
    """Tell how an agent that proposes changes would be confined."""
    confines, detail = confinement()
    if not confines:
        return Finding(
            check="agents", level="warn", detail=detail, mend="use Linux 6.2 or newer, or another source of proposals"
        )
    return Finding(check="agents", level="ok", detail=detail)


def _forge(settings: Settings) -> Finding:
    """Ask the forge who we are and whether it shows us the repository; without one, say that letters wait."""
    from pilothouse.wiring.publishing import examine_forge

    try:
        detail, mend = examine_forge(settings.publishing)
    except PilothouseError as error:
        return Finding(check="forge", level="fail", detail=error.message, mend=error.fix)
    return Finding(check="forge", level="warn" if mend else "ok", detail=detail, mend=mend)


def _letters(settings: Settings) -> Finding:
    """Tell which channels wait, and what was refused."""
    if not (settings.home / DATABASE).exists():
        return Finding(check="letters", level="ok", detail="none yet")
    from pilothouse.logbook.letter import CHANNELS, LetterState

    try:
        with open_workspace(settings, create=False).store.read() as tx:
            counts = tx.outbox.counts()
            held = [hold for name in CHANNELS if (hold := tx.outbox.hold(name)) is not None]
    except PilothouseError as error:
        return Finding(check="letters", level="fail", detail=error.message, mend=error.fix)
    told = [f"{count} {state.value} on {channel}" for (channel, state), count in counts.items()]
    told += [f"{hold.channel} waits: {hold.why}" for hold in held]
    dropped = any(state is LetterState.DROPPED for _, state in counts)
    mend = "pilothouse logbook outbox list" if dropped or held else ""
    return Finding(check="letters", level="warn" if mend else "ok", detail="; ".join(told) or "none", mend=mend)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(each for each in (folder, *folder.parents) if each.exists())
