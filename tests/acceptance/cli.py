"""The command line as its user has it: exit codes, what it says, JSON; in a process of its own, or in this one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pilothouse.cli.main import app, main
from pilothouse.settings import environment

ROOT = Path(__file__).resolve().parents[2]
CAMPAIGN = Path(__file__).with_name("campaign.toml")
SECONDS_MAX = 90.0


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it said, read as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Product:
    """The product with a home of its own, in the folder that its code is said to lie in."""

    home: Path
    folder: Path = ROOT

    def around(self) -> tuple[Path, Mapping[str, str]]:
        """Return the folder a command works in, and the variables that it sees besides those of this process."""
        return self.folder, {"PYTHONPATH": str(ROOT)}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own, as a terminal would."""
        folder, variables = self.around()
        return subprocess.Popen(
            [sys.executable, "-m", "pilothouse", "--home", str(self.home), *words],
            cwd=folder,
            env={**environment(), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str) -> Said:
        """Run a command to its end in a process of its own."""
        return ended(self.start(*words))

    def say(self, *words: str) -> Said:
        """Run a command to its end in this process, which has imported what a new one would import for a second.

        Its factory and its jobs are processes all the same.
        """
        (folder, variables), out, err = self.around(), io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patched, contextlib.chdir(folder):
            patched.setattr(sys, "argv", ["pilothouse", "--home", str(self.home), *words])
            for name, value in variables.items():
                patched.setenv(name, value)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
                main()
        return Said(code=int(left.value.code or 0), out=out.getvalue(), err=err.getvalue())

    def json(self, *words: str) -> Any:
        """Read as JSON what a reading command says; it must succeed."""
        said = CliRunner().invoke(app, ["--home", str(self.home), *words, "--json"])
        assert said.exit_code == 0, said
        return json.loads(said.stdout)

    def file(self, *changes: tuple[str, str], name: str = "toy.toml") -> Path:
        """Write the toy campaign with these replacements, each of which must apply, and return its path."""
        text = CAMPAIGN.read_text(encoding="utf-8")
        for before, after in changes:
            assert before in text, before
            text = text.replace(before, after)
        path = self.home.parent / name
        path.write_text(text, encoding="utf-8")
        return path


def ended(process: subprocess.Popen[str], *, seconds: float = SECONDS_MAX) -> Said:
    """Wait for a started command; one that hangs is killed and fails the test."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill_session(process)
        out, err = process.communicate()
        raise AssertionError(f"no end after {seconds} s:\n{out}\n{err}") from None
    return Said(code=process.returncode, out=out, err=err)


def kill_session(process: subprocess.Popen[str]) -> None:
    """Kill the command's session at once."""
    os.killpg(process.pid, signal.SIGKILL)


def lines_with(words: Sequence[str], text: str) -> list[str]:
    """Return the lines that hold every word."""
    return [line for line in text.splitlines() if all(word in line for word in words)]


def until_training(product: Product, *, seconds: float = SECONDS_MAX) -> None:
    """Wait until a training has left its first checkpoint."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not any(product.home.glob("runs/*/attempt-*/checkpoints/step-*")):
        assert time.monotonic() < deadline, "no training began"
        pause.wait(0.02)
