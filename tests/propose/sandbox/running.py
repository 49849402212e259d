"""Running a few lines of Python confined."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pilothouse.propose.sandbox.level import Level
from pilothouse.propose.sandbox.plan import Breach, Limits, Ran
from pilothouse.propose.sandbox.run import Task, confined

PATIENT = Limits(wall_seconds=60, cpu_seconds=30, memory_mb=2048)


def task(folder: Path, source: str, *, limits: Limits = PATIENT, own_processes: bool = True) -> Task:
    """Return a task that runs the lines in a folder made for it."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return Task(
        command=[sys.executable, "-I", "-S", "-c", source],
        folder=out,
        environment={"HOME": str(out)},
        limits=limits,
        own_processes=own_processes,
    )


def run(folder: Path, level: Level, source: str, *, limits: Limits = PATIENT, own_processes: bool = True) -> Ran:
    """Run the lines and return what came of it."""
    return confined(task(folder, source, limits=limits, own_processes=own_processes), level)


def breaches(ran: Ran) -> Sequence[Breach]:
    """Return what kinds of lines were crossed."""
    return [each.breach for each in ran.refusals]
