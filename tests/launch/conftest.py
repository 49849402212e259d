"""What the tests of the launcher share."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pilothouse.launch.local import LocalHandle, LocalLauncher
from pilothouse.ports.launcher import Order

Until = Callable[[Callable[[], object]], None]
Start = Callable[..., LocalHandle]


@pytest.fixture(name="until")
def _until() -> Until:
    """Wait for a condition, and fail when it does not come true in 20 s."""

    def until(condition: Callable[[], object]) -> None:
        idle, deadline = threading.Event(), time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "the condition never came true"
            idle.wait(0.01)

    return until


@pytest.fixture(name="launcher")
def _launcher() -> LocalLauncher:
    return LocalLauncher({"PATH": os.defpath, "HOME": "/tmp", "SECRET_TOKEN": "hush"})  # noqa: S108  a value to pass on


@pytest.fixture(name="start")
def _start(launcher: LocalLauncher, tmp_path: Path) -> Iterator[Start]:
    """Start a Python text as an attempt in `tmp_path/run`; whatever is left of it is ended after the test."""
    handles: list[LocalHandle] = []
    folder = tmp_path / "run"
    folder.mkdir()

    def start(text: str, *, cookie: str = "job-a:1") -> LocalHandle:
        script = tmp_path / f"program_{len(handles)}.py"
        script.write_text(text, encoding="utf-8")
        order = Order(command=[sys.executable, str(script)], cwd=tmp_path, folder=folder, cookie=cookie)
        handles.append(launcher.start(order))
        return handles[-1]

    yield start
    for handle in handles:
        handle.stop(grace_seconds=0)


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@pytest.fixture(name="is_running")
def _is_running() -> Callable[[int], bool]:
    return is_running
