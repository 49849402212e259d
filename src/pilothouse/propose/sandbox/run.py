"""Running a command confined, from the side that trusts itself."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pilothouse
from pilothouse.errors import OperationFailed, Refused
from pilothouse.propose.sandbox import bubblewrap, roots
from pilothouse.propose.sandbox.level import Level, Rung
from pilothouse.propose.sandbox.plan import Breach, Limits, Plan, Ran, Refusal

_GRACE_SECONDS = 15.0
"""How much longer than the run's own limit the supervisor may take before it is killed itself."""
_LOOK_SECONDS = 0.1
"""How often is looked whether the run shall be stopped."""
_PIECE_BYTES = 65536
_REPORT_BYTES_MAX = 1_000_000
_PACKAGE = Path(pilothouse.__file__).resolve().parents[1]
MODEL_PORTS = (443,)


class RunStopped(Exception):
    """Somebody wanted the run to end before it did; nothing of it counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A command with the one folder that it may write, what it may read besides the system, and its environment.

    `forbidden` names what must not be readable through any of `readable`: the home, the database, other products.
    `network` opens TCP to `ports` and name look-ups. `end` is told the folder when the supervisor was lost, to kill
    what it may have left. `stopped` is asked all the while whether the run shall end at once.
    """

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    readable: Sequence[Path] = ()
    forbidden: Sequence[Path] = ()
    stdin: Path | None = None
    network: bool = False
    ports: Sequence[int] = MODEL_PORTS
    limits: Limits = field(default_factory=Limits)
    own_processes: bool = True
    end: Callable[[Path], object] | None = None
    stopped: Callable[[], bool] = lambda: False


def confined(task: Task, level: Level, *, unconfined_allowed_by: str = "") -> Ran:
    """Run a command on this level and return what came of it, all its processes gone.

    Raises `Refused` where the level confines nothing and nobody has allowed that, or where something forbidden would
    be readable, `OperationFailed` where the command cannot be started, and `RunStopped` where the task was stopped
    before the command had ended. A command that fails raises nothing.
    """
    if not level.confines and not unconfined_allowed_by.strip():
        raise Refused(
            f"this machine cannot confine an agent: {level.told()}",
            fix="run the campaign's server on Linux 6.2 or newer, or record a waiver that names who allows it",
        )
    if sys.platform != "linux":
        raise OperationFailed(
            f"agents do not run on {sys.platform}: what supervises them is Linux's",
            fix="run the campaign on Linux, or take its proposals from another source",
        )
    if not task.command:
        raise OperationFailed("The agent's command is empty.", fix="name a preset or a command.")
    plan = _plan(task, level)
    report_read, report_write = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-S", "-P", "-m", "pilothouse.propose.sandbox.launch"],
            env={"PYTHONPATH": str(_PACKAGE), "PATH": roots.PATH},
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(report_write,),
            start_new_session=True,
        )
    except OSError as error:
        os.close(report_read)
        raise OperationFailed(
            f"The supervisor of the agent cannot be started: {error.strerror or error}.",
            fix="free processes and memory on this machine.",
        ) from error
    finally:
        os.close(report_write)
    with process:
        caught = _Catch(process, report_read, plan.limits, task.stopped)
        caught.follow(replace(plan, report=report_write))
    return _told(caught, task)


def _plan(task: Task, level: Level) -> Plan:
    path = os.pathsep.join([*_own_path(task), roots.PATH])
    program = roots.find(task.command[0], path)
    extra = [str(folder.resolve()) for folder in task.readable]
    readable = [*roots.of_program(program), *extra, *(roots.NETWORK if task.network else ())]
    roots.keep_apart((*roots.SYSTEM, *readable), task.forbidden)
    plan = Plan(
        command=(str(program), *task.command[1:]),
        environment={**task.environment, "PATH": path},
        folder=str(task.folder.resolve()),
        readable=(*roots.SYSTEM, *readable),
        devices=roots.DEVICES,
        limits=task.limits,
        stdin=str(task.stdin.resolve()) if task.stdin else "",
        network=task.network,
        ports=tuple(task.ports) if task.network else (),
        landlock=level.landlock,
        filtered=level.confines,
        own_processes=level.rung is Rung.LANDLOCK and task.own_processes,
    )
    if level.rung is Rung.BWRAP:
        inside = [*roots.of_program(Path(sys.executable)), str(_PACKAGE / "pilothouse")]
        return replace(plan, bwrap=bubblewrap.arguments(level.bwrap, plan, inside=inside))
    return plan


def _own_path(task: Task) -> Sequence[str]:
    """Return the folder of the program itself, so that a script finds the interpreter that lies beside it."""
    named = Path(task.command[0])
    given = task.environment.get("PATH", "").split(os.pathsep)
    return [word for word in ([str(named.parent)] if named.is_absolute() else []) + given if word]


class _Catch:
    """Reads what a run writes, up to the limit, and ends it where it goes on too long or says too much."""

    def __init__(
        self, process: subprocess.Popen[bytes], report: int, limits: Limits, stopped: Callable[[], bool]
    ) -> None:
        assert process.stdin is not None, "the plan goes through it"
        assert process.stdout is not None, "it is a pipe"
        assert process.stderr is not None, "it is a pipe"
        self._process = process
        self._lifeline = process.stdin
        self._streams = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        self._pipes = (process.stdout.fileno(), process.stderr.fileno(), report)
        self._report = report
        self._limits = limits
        self._shall_stop = stopped
        self.report = bytearray()
        self.stopped = False
        self.too_much = False
        self.lost = False
        self.seconds = 0.0

    @property
    def output(self) -> bytes:
        """What the command wrote to standard output."""
        return bytes(self._streams[self._pipes[0]])

    @property
    def errors(self) -> bytes:
        """What the command wrote to standard error."""
        return bytes(self._streams[self._pipes[1]])

    def follow(self, plan: Plan) -> None:
        """Send the plan and read until every pipe is at its end."""
        began = time.monotonic()
        with suppress(BrokenPipeError):
            self._lifeline.write(plan.text())
            self._lifeline.flush()
        with selectors.DefaultSelector() as selector:
            for pipe in self._pipes:
                selector.register(pipe, selectors.EVENT_READ)
            deadline = began + self._limits.wall_seconds + _GRACE_SECONDS
            while selector.get_map() and not self.lost:
                self.lost = time.monotonic() > deadline
                for key, _ in selector.select(min(_LOOK_SECONDS, max(0.0, deadline - time.monotonic()))):
                    if not self._take(key.fd):
                        selector.unregister(key.fd)
                if not self.stopped and self._shall_stop():
                    self.stopped = True
                    self._cut()
        self.seconds = time.monotonic() - began
        if self.lost:
            self._process.kill()
        with suppress(BrokenPipeError):
            self._lifeline.close()
        self._process.wait()
        os.close(self._report)

    def _take(self, pipe: int) -> bool:
        piece = os.read(pipe, _PIECE_BYTES)
        kept = self.report if pipe == self._report else self._streams[pipe]
        most = _REPORT_BYTES_MAX if pipe == self._report else self._limits.output_bytes
        kept += piece[: max(0, most - len(kept))]
        if piece and pipe != self._report and len(kept) >= most and not self.too_much:
            self.too_much = True
            self._cut()
        return bool(piece)

    def _cut(self) -> None:
        """Close the lifeline, on which the supervisor ends the whole tree."""
        with suppress(BrokenPipeError):
            self._lifeline.close()


def _told(caught: _Catch, task: Task) -> Ran:
    refusals: list[Refusal] = []
    if caught.too_much:
        refusals.append(Refusal(breach=Breach.OUTPUT, detail=f"{task.limits.output_bytes} bytes"))
    try:
        told = json.loads(caught.report.decode("ascii"))
    except ValueError:
        if task.end is not None:
            task.end(task.folder)
        if caught.stopped:
            raise RunStopped from None
        last = caught.errors[-_PIECE_BYTES // 64 :].decode("utf-8", errors="replace").strip()
        refusals.append(Refusal(breach=Breach.LOST, detail=f"the supervisor ended without a word: {last}"))
        return Ran(
            exit_code=None,
            seconds=caught.seconds,
            output=caught.output,
            errors=caught.errors,
            refusals=tuple(refusals),
        )
    if caught.stopped and told["exit"] is None:
        raise RunStopped
    if told["failure"]:
        raise OperationFailed(
            f"The agent's command {task.command[0]!r} cannot be run confined: {told['failure']}.",
            fix="correct the command; `pilothouse doctor` says what this machine can confine.",
        )
    refusals += [Refusal(breach=Breach(breach), detail=detail, count=n) for breach, detail, n in told["refusals"]]
    return Ran(
        exit_code=told["exit"],
        seconds=told["seconds"],
        output=caught.output,
        errors=caught.errors,
        refusals=tuple(refusals),
        held=tuple(told["held"]),
        processes_most=told["processes"],
    )
