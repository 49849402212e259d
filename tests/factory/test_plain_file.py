"""Whatever a program leaves under a name that is read, nobody waits for it, and nothing is followed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pilothouse.factory.collect import program_summary, read_summary
from pilothouse.factory.metrics import Metrics
from pilothouse.factory.watch import tail

SECONDS_MAX = 10.0


def pipe(path: Path) -> None:
    """Put a pipe there."""
    os.mkfifo(path)


def link(path: Path) -> None:
    """Put a link to an endless device there."""
    path.symlink_to("/dev/zero")


def answered(ask: Callable[[], object], path: Path) -> object:
    """Return the answer; one that does not come fails the test, and is freed from the pipe that it waits for."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(ask()), daemon=True)
    thread.start()
    thread.join(SECONDS_MAX)
    if thread.is_alive() and path.is_fifo():
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    assert found, "it still waits"
    return found[0]


@pytest.mark.parametrize("put", [pipe, link, Path.mkdir])
def test_what_is_no_plain_file_says_nothing(tmp_path: Path, put: Callable[[Path], None]) -> None:
    """Metrics have none then, a log is empty, and a summary cannot be used."""
    metrics, log, summary = (tmp_path / name for name in ("metrics.jsonl", "log.txt", "summary.json"))
    for path in (metrics, log, summary):
        put(path)

    assert answered(Metrics(path=metrics).read, metrics) is False
    assert answered(lambda: tail(log), log) == ""
    assert answered(lambda: program_summary(tmp_path), summary) is None
    said = answered(lambda: read_summary(tmp_path), summary)
    assert "summary.json" in getattr(said, "problem", "")
