"""Follow one job's metrics as they are written."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pilothouse.cli.context import say
from pilothouse.fleet.stages import ENDS
from pilothouse.ids import JobId
from pilothouse.operations.job_view import find_job

if TYPE_CHECKING:
    from pathlib import Path

    from pilothouse.wiring.workspace import Workspace

METRICS_FILE = "metrics.jsonl"
LOOK_SECONDS = 0.5


def follow(workspace: Workspace, job: JobId) -> str:
    """Print each metrics line of the newest attempt as it comes; return how the job ended."""
    pause = threading.Event()
    shown: dict[Path, int] = {}
    while True:
        with workspace.store.read() as tx:
            found = find_job(tx, workspace.product, job)
            attempts = tx.jobs.attempts(job)
        if attempts:
            path = workspace.home / attempts[-1].folder / METRICS_FILE
            shown[path] = _print_new(path, shown.get(path, 0))
        if found.stage in ENDS:
            last = attempts[-1] if attempts else None
            return f"{job} is {found.stage.value}" + (f": {last.detail}" if last is not None and last.detail else "")
        pause.wait(LOOK_SECONDS)


def _print_new(path: Path, offset: int) -> int:
    """Print the whole lines behind the offset and return the new offset in bytes."""
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            new = stream.read()
    except FileNotFoundError:
        return offset
    whole, newline, _ = new.rpartition(b"\n")
    if newline:
        say(whole.decode("utf-8", errors="replace"))
    return offset + len(whole) + len(newline)
