"""A real `pilothouse server` in a process of its own, to be asked over its socket, and to be killed."""

from __future__ import annotations

import os
import queue
import re
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pilothouse.errors import OperationFailed

START_SECONDS = 60.0
END_SECONDS = 30.0
LAST_LINES = 20
_SERVING = re.compile(r"serving (http://\S+?);")


def free_port() -> int:
    """Return a port of this machine that nobody listens on now; a server that is restarted keeps it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Served:
    """One server on one home; `start` and `kill` may follow each other as often as one likes."""

    def __init__(self, home: Path, *, database: str | None = None, port: int | None = None) -> None:
        self.home = home
        self.port = free_port() if port is None else port
        self._database = database
        self._process: subprocess.Popen[str] | None = None
        self._said: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def start(self) -> None:
        """Start it, and return once it serves."""
        assert self._process is None, "the server runs already"
        environment = {"PATH": os.defpath, "PYTHONUNBUFFERED": "1"}
        if self._database is not None:
            environment["PILOTHOUSE_DATABASE"] = self._database
        self._process = subprocess.Popen(  # noqa: S603  the command is composed here
            [sys.executable, "-m", "pilothouse", "--home", str(self.home), "server", "--port", str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home.parent,
            env=environment,
            start_new_session=True,
        )
        serves: queue.SimpleQueue[bool] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(self._process, serves), daemon=True).start()
        try:
            up = serves.get(timeout=START_SECONDS)
        except queue.Empty:
            up = False
        if not up:
            said = " | ".join(self._said)
            self.kill()
            raise OperationFailed(f"the server does not start: {said}", fix="read what it says")

    def kill(self) -> None:
        """Kill it with SIGKILL, if it runs, and wait until it is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(END_SECONDS)

    def stop(self) -> None:
        """Let it end by itself, as Ctrl-C would."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(END_SECONDS)
                raise

    @property
    def said(self) -> str:
        """The last lines it wrote."""
        return "\n".join(self._said)

    def _listen(self, process: subprocess.Popen[str], serves: queue.SimpleQueue[bool]) -> None:
        assert process.stderr is not None
        with process.stderr as said:
            for line in said:
                self._said.append(line.rstrip())
                if _SERVING.search(line):
                    serves.put(True)
        serves.put(False)


@contextmanager
def served(home: Path, *, database: str | None = None) -> Iterator[Served]:
    """Give a server that serves, and end it after the block."""
    home.mkdir(parents=True, exist_ok=True)
    server = Served(home, database=database)
    server.start()
    try:
        yield server
    finally:
        server.stop()
