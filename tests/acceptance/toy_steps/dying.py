"""The command line in a process of its own that counts its durable acts, and dies at the one it is told to.

A durable act is a commit of what was written to the database, or the rename of a file. The process kills itself with
SIGKILL right before the act or right after it, so nothing of it can be tidied up. It is forked from a server that has
imported everything, which only saves the seconds of the imports.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, TypeVar

from pilothouse.cli.main import main
from pilothouse.store.connection import Parameters
from pilothouse.store.sqlite.connection import SqliteConnection

SECONDS_MAX = 90
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Death:
    """When to die: before or after the act of this number, counted from 1; 0 is never."""

    act: int = 0
    after: bool = False


@dataclass(kw_only=True)
class Tally:
    """Counts the acts of one process, and kills it at the one that is its death. `file` has a line for each act."""

    death: Death
    file: Path
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def act(self, name: str, do: Callable[[], Answer]) -> Answer:
        """Do one act, or die beside it."""
        with self.lock:
            self.count += 1
            number = self.count
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(f"{name}\n")
        if number == self.death.act and not self.death.after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = do()
        if number == self.death.act:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    def watch(self) -> None:
        """Count every commit and rename of this process from now on."""
        run, rename, replace = SqliteConnection.run, os.rename, os.replace

        writing: set[int] = set()

        def counted_run(connection: SqliteConnection, statement: str, parameters: Parameters | None = None) -> int:
            if statement == "BEGIN IMMEDIATE":
                writing.add(id(connection))
            if statement != "COMMIT" or id(connection) not in writing:
                return run(connection, statement, parameters)
            writing.discard(id(connection))
            return self.act("commit", lambda: run(connection, statement, parameters))

        def counted(way: Callable[..., None]) -> Callable[..., None]:
            return lambda *places, **named: self.act("rename", lambda: way(*places, **named))

        setattr(SqliteConnection, "run", counted_run)  # noqa: B010  a method in the place of a method
        setattr(os, "rename", counted(rename))  # noqa: B010  as above
        setattr(os, "replace", counted(replace))  # noqa: B010  as above


def server() -> ForkServerContext:
    """Return what forks the processes: a server that has read this module and done nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "tests.acceptance.toy_steps.warm"])
    return context


def command(words: Sequence[str], folder: Path, death: Death) -> int:
    """Run the command line in `folder` until it ends or dies, and return its exit code, -9 where it died."""
    process = server().Process(target=_life, args=(list(words), folder, death))
    process.start()
    process.join(SECONDS_MAX)
    if process.exitcode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
        raise AssertionError(f"no end after {SECONDS_MAX} s: {said(folder)}")
    return process.exitcode


def said(folder: Path) -> str:
    """Return what the command has said so far."""
    return (folder / "said.txt").read_text(encoding="utf-8")


def acts(folder: Path) -> list[str]:
    """Return the acts of the last command, in their order."""
    return (folder / "acts.txt").read_text(encoding="utf-8").split()


def _life(words: list[str], folder: Path, death: Death) -> Any:
    """Be the command: a session, a terminal's place and an argument list of its own."""
    os.setsid()
    os.chdir(folder)
    with (folder / "said.txt").open("w", encoding="utf-8") as out, Path(os.devnull).open(encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    (folder / "acts.txt").write_text("", encoding="utf-8")
    Tally(death=death, file=folder / "acts.txt").watch()
    sys.argv = ["pilothouse", *words]
    main()
