"""Follow one job's metrics as they are written."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING

from pilothouse.cli.context import say
from pilothouse.cli.table import shown
from pilothouse.errors import StillPending
from pilothouse.fleet.stages import ENDS
from pilothouse.ids import JobId
from pilothouse.operations.find_job import find_job
from pilothouse.trainer.folder import METRICS_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from pilothouse.wiring.workspace import Workspace

LOOK_SECONDS = 0.5
NOT_SHOWN = frozenset({"step", "total", "time"})
"""What a readable line says in its own way, or not at all."""


def follow(workspace: Workspace, job: JobId) -> str:
    """Print each metrics line of the newest attempt as it comes; return how the job ended.

    Raises `StillPending` when no engine is left that could end it.
    """
    pause = threading.Event()
    product = workspace.product
    shown: dict[Path, int] = {}
    while True:
        running = workspace.engine_runs()  # asked first: an engine that ends now has written down what it did
        with workspace.store.read() as tx:
            found = find_job(tx, job, product=product)
            attempts = tx.jobs.attempts(job)
        if attempts:
            path = workspace.home / attempts[-1].folder / METRICS_FILE
            shown[path] = _print_new(path, shown.get(path, 0))
        if found.stage in ENDS:
            last = attempts[-1] if attempts else None
            return f"{job} is {found.stage.value}" + (f": {last.detail}" if last is not None and last.detail else "")
        if not running:
            raise StillPending(
                f"{job} is {found.stage.value}, and no campaign runs here that could go on with it",
                fix="go on with `pilothouse campaign run FILE`",
            )
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
        for line in whole.decode("utf-8", errors="replace").splitlines():
            say(readable(line) if sys.stdout.isatty() else line)
    return offset + len(whole) + len(newline)


def readable(line: str) -> str:
    """Return a metrics line as a person reads it: the step of its total, then the values; other text as it is."""
    try:
        values = json.loads(line)
    except ValueError:
        return line
    if not isinstance(values, dict) or not isinstance(values.get("step"), int):
        return line
    total = values.get("total", "?")
    rest = "  ".join(f"{name} {shown(value)}" for name, value in values.items() if name not in NOT_SHOWN)
    return f"{values['step']:>8}/{total}  {rest}"
