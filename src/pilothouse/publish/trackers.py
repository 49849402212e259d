"""Trackers as channels: a process of its own speaks with the tracker's library, and is ended if it hangs.

The library is an extra. Whatever it does, prints or forgets to end stays in that process, and all that is asked of it
has one limit of time, after which the process is ended with all that it has started. The key of an account reaches it
through the environment alone, and of that it sees what `passed_on` lets through: no secret of another channel.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pilothouse.canonical import Json
from pilothouse.logbook.letter import MLFLOW, WANDB, Kind, Letter, Posted
from pilothouse.logbook.pace import Pace
from pilothouse.ports.channel import Delivered, Gate, Later, Outcome, Refused

ANSWER_SECONDS = 30.0
"""How long one run may take, the loading of the library included; less than a postman is waited for."""
LEAVE_SECONDS = 3.0
AGAIN_SECONDS = 60.0
_READ_BYTES = 65_536
MODULE = "pilothouse.publish.tracker_process"
PASSED = frozenset(
    {
        "ALL_PROXY", "CURL_CA_BUNDLE", "DYLD_LIBRARY_PATH", "HOME", "HTTPS_PROXY", "HTTP_PROXY", "LANG", "LANGUAGE",
        "LD_LIBRARY_PATH", "LOGNAME", "NETRC", "NO_PROXY", "PATH", "PYTHONPATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR",
        "SSL_CERT_FILE", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
    }
)  # fmt: skip
"""Names that a tracker's process sees, in capitals or not: where programs, certificates and proxies are."""
PASSED_PREFIXES = ("LC_", "XDG_")
OWN_PREFIXES: Mapping[str, tuple[str, ...]] = {WANDB: ("WANDB_",), MLFLOW: ("MLFLOW_", "DATABRICKS_")}
"""The beginnings of the names that a tracker's own library reads, its account among them."""


def passed_on(name: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the process of a tracker sees: a short list, and what its own library reads."""
    beginnings = (*PASSED_PREFIXES, *OWN_PREFIXES.get(name, ()))
    return {each: value for each, value in environment.items() if each.upper() in PASSED or each.startswith(beginnings)}


@dataclass(kw_only=True)
class TrackerChannel:
    """`ports.channel.Channel` for a tracker. `home` holds the metrics files, `folder` is the library's own.

    `environment` is that of this process, of which the tracker's sees no more than it needs.

    `options` tells where the letter's own campaign wants its runs, None where it names this tracker no more: a home has
    letters of several campaigns and products, and whoever delivers them is the loop of one.
    """

    name: str
    options: Callable[[Letter], Mapping[str, Json] | None]
    home: Path
    folder: Path
    environment: Mapping[str, str]
    interpreter: str = sys.executable
    answer_seconds: float = ANSWER_SECONDS
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _child_options: Mapping[str, Json] | None = field(default=None, init=False)

    @property
    def pace(self) -> Pace:
        """The library keeps its own."""
        return Pace()

    def deliver(self, posted: Posted, *, about: Posted | None, gate: Gate) -> Outcome:
        """Mirror one run; one that hangs is ended with its process, and is tried again later."""
        del about
        if posted.letter.kind is not Kind.RUN:
            return Refused(why=f"{self.name} takes runs, and no {posted.letter.kind.value}")
        options = self.options(posted.letter)
        if options is None:
            return Refused(why=f"campaign {posted.letter.campaign} names no {self.name} any more")
        body = dict(posted.letter.body)
        metrics = body.pop("metrics", None)
        curve = None if metrics is None else str(self.home / str(metrics))
        gate.pass_one()
        try:
            said = self._ask({"run": body, "curve": curve, "again": posted.tries > 1}, options)
        except (OSError, ValueError) as error:
            self.close()
            return Later(seconds=AGAIN_SECONDS, why=f"{self.name}: {error}", limited=True)
        finally:
            gate.passed()
        remote, trouble = said.get("remote"), str(said.get("error", "it gave no answer that can be read"))
        if isinstance(remote, str) and remote:
            return Delivered(remote=remote)
        if said.get("denied"):
            self.close()
            return Refused(why=f"{self.name}: {trouble}", channel=True)
        return Later(seconds=AGAIN_SECONDS, why=f"{self.name}: {trouble}", alone=True)

    def close(self) -> None:
        """End the process with everything that it has started."""
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None, "the process was started with pipes"
        with suppress(OSError):
            child.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            child.wait(LEAVE_SECONDS)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            child.wait(LEAVE_SECONDS)
        if child.stdout is not None:
            child.stdout.close()

    def _ask(self, question: dict[str, Json], options: Mapping[str, Json]) -> Mapping[str, Json]:
        serves = self._child is not None and self._child.poll() is None and self._child_options == options
        deadline = time.monotonic() + self.answer_seconds
        child = self._child if self._child is not None and serves else self._start(options, deadline=deadline)
        self._write(child, question, deadline=deadline)
        said = json.loads(self._read_line(child, deadline=deadline))
        if not isinstance(said, dict):
            raise ValueError(f"it answered {said!r}")  # noqa: TRY004  a bad answer, whatever its type
        return said

    def _start(self, options: Mapping[str, Json], *, deadline: float) -> subprocess.Popen[bytes]:
        self.close()
        self._child_options = dict(options)
        self._child = child = subprocess.Popen(  # noqa: S603  our own module, no shell
            [self.interpreter, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=passed_on(self.name, self.environment),
            # Nothing is held back on its way into the pipe, where closing it would wait for somebody to read.
            bufsize=0,
            start_new_session=True,
        )
        assert child.stdin is not None, "the process was started with pipes"
        os.set_blocking(child.stdin.fileno(), False)
        order: dict[str, Json] = {"tracker": self.name, "options": dict(options), "folder": str(self.folder)}
        self._write(child, order, deadline=deadline)
        return child

    def _write(self, child: subprocess.Popen[bytes], value: dict[str, Json], *, deadline: float) -> None:
        """Write a line; raise `TimeoutError` when the process does not read it in time."""
        assert child.stdin is not None, "the process was started with pipes"
        left = memoryview(json.dumps(value).encode() + b"\n")
        while left:
            _, ready, _ = select.select([], [child.stdin], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"it took in nothing within {self.answer_seconds:g} s")
            with suppress(BlockingIOError):
                left = left[os.write(child.stdin.fileno(), left) :]

    def _read_line(self, child: subprocess.Popen[bytes], *, deadline: float) -> bytes:
        """Return the next line; raise `TimeoutError` when it takes too long, `ConnectionError` when none comes."""
        assert child.stdout is not None, "the process was started with pipes"
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([child.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"no answer within {self.answer_seconds:g} s")
            read = os.read(child.stdout.fileno(), _READ_BYTES)
            if not read:
                raise ConnectionError("its process ended")
            line += read
        return line
