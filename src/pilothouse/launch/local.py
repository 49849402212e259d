"""Attempts as processes of this machine."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from pilothouse.errors import OperationFailed, StorageFailed
from pilothouse.launch import environment, identity, tree
from pilothouse.launch.exits import ExitWatch
from pilothouse.ports.launcher import Order
from pilothouse.trainer.folder import LOG_FILE

PYTHON = frozenset({"python", "python3"})
_SHIM = Path(__file__).with_name("shim.py")
_KILL_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 0.02
_RUSAGE_PER_MB = 2**20 if sys.platform == "darwin" else 2**10


class LocalLauncher:
    """Starts a command in a session of its own, with a filtered environment and its output in `log.txt`.

    `variables` is the environment to filter, normally this process's own; `extra` names more that may pass.
    """

    def __init__(self, variables: Mapping[str, str], *, extra: frozenset[str] = frozenset()) -> None:
        own = os.getpid()
        self._variables = environment.filtered(variables, extra=extra)
        # Output that waits in a buffer would look like silence.
        self._variables["PYTHONUNBUFFERED"] = "1"
        self._variables[environment.FACTORY] = identity.spell(own, started=identity.started_at(own) or time.time())

    def start(self, order: Order) -> LocalHandle:
        """Start the command; the first word `python` means the interpreter that runs pilothouse."""
        variables = {
            **self._variables,
            **order.variables,
            environment.RUN_DIR: str(order.folder),
            environment.ATTEMPT: order.cookie,
        }
        command = [_program(order, path=variables.get("PATH")), *order.command[1:]]
        with _log(order.folder) as log, (order.stdin or Path(os.devnull)).open("rb") as stdin:
            try:
                process = subprocess.Popen(  # noqa: S603  the command is the campaign's own; no shell takes part
                    _tied(command),
                    cwd=order.cwd,
                    env=variables,
                    stdin=stdin,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise OperationFailed(
                    f"{order.command[0]!r} cannot be started in {order.cwd}: {error.strerror or error}.",
                    fix="correct `command` in the campaign file, or free processes and memory on this machine.",
                ) from error
        marks = tree.Marks(session=process.pid, cookie=order.cookie, folder=str(order.folder))
        return LocalHandle(process, marks)


class LocalHandle:
    """The leader of an attempt and, through its marks, everything that the leader has started.

    The leader is reaped last, so that its number stays its own until no process of the attempt is left.
    """

    def __init__(self, process: subprocess.Popen[bytes], marks: tree.Marks) -> None:
        self._process = process
        self._marks = marks
        self._watch = ExitWatch(process.pid)
        self._started = identity.started_at(process.pid) or time.time()
        self._peak_mb = 0.0
        self._ended = False

    @property
    def pid(self) -> int:
        """The leader's number, which is also that of its group and its session."""
        return self._process.pid

    @property
    def pid_started(self) -> float:
        """When the leader began, in seconds since 1970."""
        return self._started

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the leader's end, not for that of its children."""
        return self._ended or self._watch.wait(timeout_seconds)

    def peak_memory_mb(self) -> float | None:
        """Return the peak of all samples, and at the end also of what the kernel counted for the leader."""
        if not self._ended:
            with suppress(psutil.Error):
                leader = psutil.Process(self.pid)
                sample = tree.resident_mb([leader, *leader.children(recursive=True)])
                self._peak_mb = max(self._peak_mb, sample)
        return self._peak_mb or None

    def stop(self, *, grace_seconds: float) -> int | None:
        """Send SIGTERM to the group, wait out the grace, kill what is left and reap the leader."""
        if self._ended:
            return self._process.returncode
        if not self._watch.wait(0):
            self._ask_to_end()
            self._give_grace(time.monotonic() + grace_seconds)
        end(self._marks)
        self._reap()
        return self._process.returncode

    def _ask_to_end(self) -> None:
        # The leader is unreaped, so the group's number cannot have passed on. A stopped process hears SIGTERM only
        # once it is continued.
        for number in (signal.SIGTERM, signal.SIGCONT):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _give_grace(self, deadline: float) -> None:
        self._watch.wait(deadline - time.monotonic())
        look_again = threading.Event()
        while time.monotonic() < deadline and tree.members(self._marks):
            look_again.wait(_LOOK_AGAIN_SECONDS)

    def _reap(self) -> None:
        """Take the leader's exit code and its peak memory from the kernel."""
        if not self._watch.wait(_KILL_SECONDS):
            raise _immortal([self.pid])
        with suppress(ChildProcessError):  # somebody else reaped it; then there is no code to report
            _, status, usage = os.wait4(self.pid, 0)
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self._peak_mb = max(self._peak_mb, usage.ru_maxrss / _RUSAGE_PER_MB)
        self._watch.close()
        self._ended = True


def end(marks: tree.Marks) -> int:
    """Kill every process with a mark until a look finds none, and return how many there were.

    One look is not enough: a process may fork between being listed and being killed. Raises OperationFailed if one is
    still there after 10 seconds.
    """
    seen: set[int] = set()
    look_again = threading.Event()
    deadline = time.monotonic() + _KILL_SECONDS
    while found := tree.members(marks):
        seen.update(process.pid for process in found)
        if time.monotonic() > deadline:
            raise _immortal([process.pid for process in found])
        tree.kill(found)
        look_again.wait(_LOOK_AGAIN_SECONDS)
    return len(seen)


def _immortal(pids: Sequence[int]) -> OperationFailed:
    named = ", ".join(str(pid) for pid in pids)
    return OperationFailed(
        f"Process {named} is still there {_KILL_SECONDS:g} s after SIGKILL.",
        fix="look for a hung disk or device under it (`ps -o pid,stat,wchan,cmd`); the machine may need a restart.",
    )


def _program(order: Order, *, path: str | None) -> str:
    """Return what to execute; raises OperationFailed if no such program is found."""
    if not order.command:
        raise OperationFailed("The command is empty.", fix="set `command` in the campaign file.")
    name = order.command[0]
    if name in PYTHON:
        return sys.executable
    beside = order.cwd / name
    found = shutil.which(str(beside)) if os.sep in name else shutil.which(name, path=path or os.defpath)
    if found is None:
        raise OperationFailed(
            f"The program {name!r} is not found (looked in {beside.parent if os.sep in name else path}).",
            fix="install it, correct `command` in the campaign file, or give its full path.",
        )
    return found


def _tied(command: list[str]) -> list[str]:
    """Put before the command what ties its life to this process, where the kernel can do that."""
    if sys.platform != "linux":
        return command
    setpriv = _setpriv()
    if setpriv is not None:
        return [setpriv, "--pdeathsig", "KILL", "--", *command]
    return [sys.executable, "-I", "-S", str(_SHIM), str(os.getpid()), *command]


@functools.cache
def _setpriv() -> str | None:
    """Return util-linux's setpriv if it can do what the shim does: it takes 1 ms, and the shim 20."""
    found = shutil.which("setpriv")
    if found is None:
        return None
    try:
        tried = subprocess.run(  # noqa: S603  a system program, to see whether it knows the option
            [found, "--pdeathsig", "KILL", "--", sys.executable, "-I", "-S", "-c", ""],
            check=False,
            capture_output=True,
            timeout=_KILL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found if tried.returncode == 0 else None


@contextmanager
def _log(folder: Path) -> Iterator[int]:
    """Open the log for appending, so that each write lands at the end even after the file was cut short."""
    path = folder / LOG_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageFailed(
            f"Cannot write {path}: {error.strerror or error}.",
            fix="free disk space or make the folder writable; the job is then claimed again.",
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
