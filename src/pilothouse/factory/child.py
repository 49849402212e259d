"""A factory process as its engine's process holds it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pilothouse.errors import OperationFailed
from pilothouse.factory.channel import serve
from pilothouse.factory.loop import SEATS
from pilothouse.factory.orphans import MODULE, sweep_orphans
from pilothouse.ids import BootId, FactoryName
from pilothouse.launch import environment, identity
from pilothouse.launch.exits import ExitWatch
from pilothouse.ports.dispatch import Dispatch

LOG = "factory.log"
_LOG_BYTES_MAX = 8 << 20
_JOIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildWork:
    """What a factory process works on: its seats, the pools it serves (None: any), its engines by name.

    `capabilities` are what it has beyond what it finds by itself.
    """

    seats: int = SEATS
    pools: Collection[str] | None = None
    engines: Mapping[str, Sequence[str]] = field(default_factory=dict)
    capabilities: Collection[str] = ()


class FactoryChild:
    """Starts a factory in a session of its own, answers it, and ends it. Use it as a context manager, or call `stop`.

    `ended` is set when the factory has closed its line, which it also does by dying. Whatever this process's end, the
    factory notices it and ends its job and itself. Of the environment it sees what jobs may see, `variables` among it.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        *,
        home: Path,
        work_folder: Path,
        name: FactoryName,
        boot: BootId,
        work: ChildWork | None = None,
        variables: Collection[str] = (),
    ) -> None:
        self.name = name
        self.boot = boot
        self.ended = threading.Event()
        self._home = home.resolve()
        self._line, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = self._start(theirs, work_folder.resolve(), work or ChildWork(), variables)
        except BaseException:
            self._line.close()
            raise
        self._exit = ExitWatch(self._process.pid)
        self._server = threading.Thread(target=self._serve, args=(dispatch,), name=f"factory-{name}", daemon=True)
        self._server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop(grace_seconds=30.0)

    @property
    def pid(self) -> int:
        """The factory's process number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the factory's process still runs."""
        return self._process.returncode is None and not self._exit.wait(0)

    def stop(self, *, grace_seconds: float) -> int | None:
        """Ask the factory to end, kill it after the grace, and return its exit code once none of its jobs is left.

        Its job has the job's own grace within this one, so this one should be longer. Calling it again, or for a
        factory that has died, is harmless: it then ends what the factory has left behind.
        """
        if self._process.returncode is not None:
            return self._process.returncode
        if not self._exit.wait(0):
            self._process.send_signal(signal.SIGTERM)
            if not self._exit.wait(grace_seconds):
                self._process.send_signal(signal.SIGKILL)
                self._exit.wait(_JOIN_SECONDS)
        self._process.wait(_JOIN_SECONDS)
        self._exit.close()
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self._server.join(_JOIN_SECONDS)
        sweep_orphans(self._home, patience_seconds=0)
        return self._process.returncode

    def _start(
        self, line: socket.socket, work_folder: Path, work: ChildWork, variables: Collection[str]
    ) -> subprocess.Popen[bytes]:
        own = os.getpid()
        options = {
            "--home": str(self._home),
            "--work-folder": str(work_folder),
            "--name": self.name,
            "--boot": self.boot,
            "--engine": identity.spell(own, started=identity.started_at(own) or time.time()),
            "--line": str(line.fileno()),
            "--seats": str(work.seats),
            "--engines": json.dumps({name: list(words) for name, words in work.engines.items()}),
        }
        words = [word for option, value in options.items() for word in (option, value)]
        words += [word for pool in work.pools or () for word in ("--pool", pool)]
        words += [word for text in work.capabilities for word in ("--capability", text)]
        words += [word for name in variables for word in ("--variable", name)]
        # A job can read what its parent was started with, so the factory gets no more than the job itself.
        given = environment.filtered(os.environ, extra=frozenset(variables))  # noqa: TID251  filtered as it is read
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            log = self._home / LOG
            if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
                log.replace(log.with_suffix(".1.log"))
            with log.open("ab") as output:
                return subprocess.Popen(  # noqa: S603  this package's own module
                    [sys.executable, "-m", MODULE, *words],
                    env=given,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[line.fileno()],
                    start_new_session=True,
                )
        except OSError as error:
            raise OperationFailed(
                f"The factory cannot be started: {error.strerror or error} ({error.filename or self._home}).",
                fix=f"make {self._home} writable and free processes and memory on this machine.",
            ) from error

    def _serve(self, dispatch: Dispatch) -> None:
        try:
            serve(self._line, dispatch)
        finally:
            self.ended.set()
