"""A strict fake of the part of wandb that is used: it refuses what the real one refuses, and writes what it is told.

Each finished run is one line of `told.jsonl` in its `dir`. What a run's id begins with makes it fail on purpose.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

_INIT = {
    "project", "entity", "mode", "dir", "id", "name", "group", "job_type", "tags", "config", "resume", "settings",
}  # fmt: skip
_SETTINGS = {"console", "disable_git", "x_disable_meta", "x_disable_stats", "silent"}


class AuthenticationError(Exception):
    """What the real one raises for a bad key."""


class Settings:
    """Known settings only."""

    def __init__(self, **values: Any) -> None:
        assert set(values) <= _SETTINGS, f"unknown settings {set(values) - _SETTINGS}"
        self.values = values


class Run:
    """One run; steps may not fall, and nothing may be said of it once it is finished."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said: dict[str, Any] = {**said, "settings": said["settings"].values, "history": []}
        self.step = 0
        self.summary: dict[str, Any] = {}
        self.finished = False

    def log(self, values: dict[str, float], *, step: int) -> None:
        """Keep one point."""
        assert not self.finished
        assert step >= self.step, f"step {step} after {self.step}"
        assert all(isinstance(value, float) for value in values.values())
        self.step = step + 1
        self.said["history"].append([step, values])

    def finish(self, *, exit_code: int) -> None:
        """Write the run down."""
        assert not self.finished
        self.finished = True
        folder = Path(self.said["dir"])
        with (folder / "told.jsonl").open("a") as file:
            file.write(json.dumps({**self.said, "summary": self.summary, "exit_code": exit_code}) + "\n")


def init(**said: Any) -> Run:
    """Begin a run."""
    assert set(said) == _INIT, f"init was given {sorted(said)}"
    assert Path(said["dir"]).is_dir()
    assert len(said["id"]) <= 128
    assert not set("/\\#?%:") & set(said["id"]), said["id"]
    assert all(1 <= len(tag) <= 64 for tag in said["tags"])
    sys.stdout.write("wandb: a word on standard output\n")
    sys.stdout.flush()
    match said["id"].partition("-")[0]:
        case "hang":
            threading.Event().wait()
        case "die":
            os._exit(3)
        case "denied":
            raise AuthenticationError("the key is no key")
        case "broken":
            raise ValueError("this one cannot be taken")
        case _:
            pass
    if said["mode"] == "offline":
        (Path(said["dir"]) / f"wandb/offline-run-20261122_000000-{said['id']}").mkdir(parents=True)
    return Run(said)
