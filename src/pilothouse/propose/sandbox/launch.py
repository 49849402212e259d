"""Run one plan and report what came of it: `python -m pilothouse.propose.sandbox.launch`.

The plan is the first line of standard input. The rest of standard input is a lifeline: when it closes, because the
caller wants an end or has ended itself, the whole tree is killed. The result goes to the descriptor that the plan
names, as one line of JSON.

Three processes take part. This one supervises and is not confined. Its child is the first process of a namespace where
the kernel allows one, so that its end is the end of all in it; it waits for its own child, the only one that is
confined and that becomes the command. The command reaches neither of the two: its signals stay inside its Landlock
domain.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from pilothouse.propose.sandbox import kernel, landlock, processes, seccomp
from pilothouse.propose.sandbox.calls import Machine, machine
from pilothouse.propose.sandbox.looking import PATHS, Looker
from pilothouse.propose.sandbox.plan import Breach, Plan, read_plan, size_of
from pilothouse.propose.sandbox.processes import Family

_TICK_SECONDS = 0.1
_TICKS_PER_FOLDER = 5
_PLAN_BYTES_MAX = 1_000_000
_CANNOT_EXECUTE = 126
_PIECE_BYTES = 65536
_MB = 2**20
_TOLD_MAX = 200
_TOLD_LENGTH_MAX = 400
_OVERSHOOT = 2
"""Forks that were allowed and have not happened when the family is counted: at most one for each process."""


@dataclass(slots=True)
class _Watch:
    """What the supervisor has seen so far."""

    plan: Plan
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    held: list[str] = field(default_factory=list)
    processes_most: int = 0
    processes: int = 1
    looker: Looker = field(init=False)

    def __post_init__(self) -> None:
        self.looker = Looker((*self.plan.readable, *self.plan.devices, self.plan.folder))

    def has_room(self) -> bool:
        """Count one more process, if the limit allows it: those that were allowed since the last look count too."""
        if self.processes >= self.plan.limits.processes:
            self.look()
        if self.processes >= self.plan.limits.processes:
            return False
        self.processes += 1
        return True

    def look(self) -> Family:
        """Look at the family, the first process left out of the count."""
        found = processes.family(os.getpid())
        self.processes = found.tasks - 1
        self.processes_most = max(self.processes_most, self.processes)
        return found

    def note(self, breach: Breach, detail: str) -> None:
        """Count one refusal."""
        self.refused[breach.value, detail] += 1


def main() -> int:
    """Read the plan, run it, write the result; return 0 whatever came of it."""
    plan = read_plan(_first_line())
    watch = _Watch(plan)
    began = time.monotonic()
    kernel.adopt_orphans()
    if plan.own_processes and kernel.own_processes():
        watch.held.append("namespace")
    failure_read, failure_write = os.pipe()
    word_read, word_write = os.pipe()
    near, far = socket.socketpair()
    first = os.fork()
    if first == 0:
        near.close()
        _first_process(plan, far, failure_write, word_write)
    far.close()
    os.close(failure_write)
    os.close(word_write)
    for descriptor in (1, 2):
        os.close(descriptor)  # so that the caller sees the end of the output when the command's own ends are closed
    _, received, _, _ = socket.recv_fds(near, 1, 1)
    try:
        _supervise(watch, first, received[0] if received else None, deadline=began + plan.limits.wall_seconds)
    except Exception as error:  # noqa: BLE001  whatever went wrong here, nobody may be left unwatched
        watch.note(Breach.LOST, f"{type(error).__name__}: {error}"[:_TOLD_LENGTH_MAX])
        _finish(first, kill=True)
    code = _judge(watch, _all(word_read))
    failure = _all(failure_read)
    result = {
        "exit": None if failure else code,
        "failure": failure,
        "seconds": time.monotonic() - began,
        "refusals": [[breach, detail, count] for (breach, detail), count in sorted(watch.refused.items())],
        "held": watch.held,
        "processes": watch.processes_most,
    }
    os.write(plan.report, json.dumps(result).encode("ascii") + b"\n")
    return 0


def _first_line() -> bytes:
    """Read up to the newline, unbuffered: what follows is the lifeline, and the caller writes nothing into it."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _PLAN_BYTES_MAX:
        piece = os.read(0, _PIECE_BYTES)
        if not piece:
            break
        line += piece
    return line


def _all(descriptor: int) -> str:
    text = b""
    while piece := os.read(descriptor, _PIECE_BYTES):
        text += piece
    return text.decode("utf-8", errors="replace")


def _first_process(plan: Plan, far: socket.socket, failure: int, word: int) -> NoReturn:
    """Start the command, wait for its end, adopting what it leaves behind, and say how it ended and who is left."""
    kernel.die_with_parent()
    kernel.adopt_orphans()
    command = os.fork()
    if command == 0:
        _become(plan, far, failure)
    far.close()
    for descriptor in (0, 1, 2, plan.report, failure):
        os.close(descriptor)
    while True:
        pid, status = os.wait()
        if pid == command:
            os.write(word, f"{os.waitstatus_to_exitcode(status)} {_has_children():d}".encode("ascii"))
            os._exit(0)


def _has_children() -> bool:
    """Whether a child still runs; those that have ended are reaped on the way."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def _become(plan: Plan, far: socket.socket, failure: int) -> NoReturn:
    """Tie this process down and execute the command; what fails is written for the caller, and nothing runs."""
    try:
        os.setsid()
        kernel.die_with_parent()
        _redirect(plan)
        _limit(plan)
        if plan.bwrap:
            _enter(plan, far, failure)
        _tie(plan, far)
    except BaseException as error:  # noqa: BLE001  a child of a fork may not go on, whatever happened
        os.write(failure, f"{type(error).__name__}: {error}".encode())
    os._exit(_CANNOT_EXECUTE)


def _enter(plan: Plan, far: socket.socket, failure: int) -> NoReturn:
    """Execute this module again inside bubblewrap, with the plan in memory, to be tied down there.

    Landlock has to come last: what it holds cannot mount, and mounting is what bubblewrap does.
    """
    inside = os.memfd_create("plan")
    os.write(inside, replace(plan, bwrap=()).text())
    os.lseek(inside, 0, os.SEEK_SET)
    descriptors = (inside, far.fileno(), failure)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    own = [sys.executable, "-S", "-P", "-m", "pilothouse.propose.sandbox.launch", *map(str, descriptors)]
    path = {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    os.execve(plan.bwrap[0], [*plan.bwrap, "--", *own], path)  # noqa: S606  no shell is wanted


def _inside(inside: int, far: int, failure: int) -> NoReturn:
    """Go on where `_enter` left off."""
    for descriptor in (inside, far, failure):
        os.set_inheritable(descriptor, False)
    try:
        with os.fdopen(inside, "rb") as told:
            plan = read_plan(told.read())
        os.chdir(plan.folder)
        _tie(plan, socket.socket(fileno=far))
    except BaseException as error:  # noqa: BLE001  as in `_become`
        os.write(failure, f"{type(error).__name__}: {error}".encode())
    os._exit(_CANNOT_EXECUTE)


def _tie(plan: Plan, far: socket.socket) -> NoReturn:
    """Take every right away that the plan does not give, and become the command."""
    kernel.no_new_privileges()
    kernel.drop_capabilities()
    _confine(plan, far)
    far.close()
    os.execvpe(plan.command[0], list(plan.command), dict(plan.environment))  # noqa: S606  no shell is wanted


def _redirect(plan: Plan) -> None:
    descriptor = os.open(plan.stdin or os.devnull, os.O_RDONLY)
    os.dup2(descriptor, 0)
    os.close(descriptor)
    os.close(plan.report)
    os.umask(0o077)
    os.chdir(plan.folder)


def _limit(plan: Plan) -> None:
    limits = plan.limits
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: limits.cpu_seconds + 1,
        resource.RLIMIT_DATA: limits.memory_mb * _MB,
        resource.RLIMIT_FSIZE: limits.file_mb * _MB,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_MEMLOCK: 0,
    }
    if plan.own_processes:
        # Outside a namespace of its own this would count everything else that the user runs. It comes after the
        # supervisor's count, which can be told.
        wanted[resource.RLIMIT_NPROC] = _OVERSHOOT * limits.processes
    for kind, value in wanted.items():
        _, most = resource.getrlimit(kind)
        hard = value if most == resource.RLIM_INFINITY else min(value, most)
        # The kernel tells of spent CPU time at the soft limit, and kills at the hard one.
        soft = hard - 1 if kind == resource.RLIMIT_CPU else hard
        resource.setrlimit(kind, (soft, hard))


def _confine(plan: Plan, far: socket.socket) -> None:
    if plan.landlock:
        landlock.restrict(
            landlock.Rules(readable=plan.readable, writable=(plan.folder,), devices=plan.devices, ports=plan.ports),
            plan.landlock,
        )
    known = machine()
    listener: int | None = None
    if plan.filtered and known is not None:
        listener = _filter(plan, known)
    if listener is None:
        far.send(b"-")
    else:
        socket.send_fds(far, [b"+"], [listener])


def _filter(plan: Plan, known: Machine) -> int | None:
    try:
        return seccomp.install(known, seccomp.program(known, network=plan.network, told=True), listen=True)
    except OSError:  # an old kernel, or a supervisor that listens already: refuse without telling
        return seccomp.install(known, seccomp.program(known, network=plan.network, told=False), listen=False)


def _supervise(watch: _Watch, first: int, listener: int | None, *, deadline: float) -> None:
    """Wait for the first process, refusing and counting meanwhile; return when the whole tree is gone."""
    names = {number: name for name, number in known.numbers.items()} if (known := machine()) else {}
    exits = os.pidfd_open(first)
    poll = select.poll()
    for descriptor in (0, exits, *((listener,) if listener is not None else ())):
        poll.register(descriptor, select.POLLIN)
    if listener is not None:
        watch.held.append("told")
    ticks, ended_by_us, next_look = 0, False, time.monotonic() + _TICK_SECONDS
    while not ended_by_us:
        ready = dict(poll.poll(max(0.0, next_look - time.monotonic()) * 1000))
        if listener is not None and listener in ready:
            if ready[listener] & select.POLLIN:
                _answer(watch, listener, names)
            else:
                poll.unregister(listener)  # nobody is left whom it filters
        if exits in ready:
            break
        ended_by_us = 0 in ready and not os.read(0, 1)
        if time.monotonic() >= next_look:
            ticks += 1
            ended_by_us = ended_by_us or _crossed(watch, ticks, deadline)
            next_look = time.monotonic() + _TICK_SECONDS
    _finish(first, kill=ended_by_us)


def _finish(first: int, *, kill: bool) -> None:
    """Leave no process of the run behind."""
    with suppress(ProcessLookupError, ChildProcessError):
        if kill:
            os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
    processes.end(os.getpid())


def _answer(watch: _Watch, listener: int, names: Mapping[int, str]) -> None:
    """Let a call with paths go on to Landlock and a fork while there is room, and refuse every other that is told."""
    call = seccomp.next_call(listener, names)
    if call is None:
        return
    if call.name in PATHS:
        path = watch.looker.outside(call.pid, call.name, call.arguments)
        seccomp.reply(listener, call, 0)
        if path:
            watch.note(Breach.FILE, f"{call.name} {path}" if len(watch.refused) < _TOLD_MAX else "more")
    elif not call.forks:
        watch.note(Breach.SYSTEM_CALL, call.name)
        seccomp.reply(listener, call, errno.EPERM)
    elif watch.has_room():
        seccomp.reply(listener, call, 0)
    else:
        watch.note(Breach.PROCESSES, f"{watch.plan.limits.processes}")
        seccomp.reply(listener, call, errno.EAGAIN)


def _crossed(watch: _Watch, ticks: int, deadline: float) -> bool:
    """Look at what the kernel does not limit; say whether the run must end, and note why."""
    limits, found = watch.plan.limits, watch.look()
    before = watch.refused.total()
    if time.monotonic() > deadline:
        watch.note(Breach.WALL_TIME, f"{limits.wall_seconds:g} s")
    if watch.processes > _OVERSHOOT * limits.processes:
        watch.note(Breach.PROCESSES, f"{limits.processes}")
    if found.resident_mb > limits.memory_mb:
        watch.note(Breach.MEMORY, f"{limits.memory_mb} MB")
    if ticks % _TICKS_PER_FOLDER == 0 and _is_full(watch.plan):
        watch.note(Breach.FOLDER_SIZE, f"{limits.folder_mb} MB")
    return watch.refused.total() > before


def _is_full(plan: Plan) -> bool:
    most = plan.limits.folder_mb * _MB
    return size_of(plan.folder, most=most) > most


def _judge(watch: _Watch, word: str) -> int | None:
    """Return the command's exit code, negative for a signal; None if it was killed from here before it had one."""
    if _is_full(watch.plan):
        watch.note(Breach.FOLDER_SIZE, f"{watch.plan.limits.folder_mb} MB")
    if not word:
        return None
    code, left = map(int, word.split())
    if left:
        watch.note(Breach.SURVIVORS, "processes that outlived the command")
    for number, breach in (
        (signal.SIGXCPU, Breach.CPU_TIME),
        (signal.SIGXFSZ, Breach.FILE_SIZE),
        (signal.SIGSYS, Breach.ILLEGAL_CALL),
    ):
        if code == -number:
            watch.note(breach, number.name)
    return code


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _inside(*map(int, sys.argv[1:]))
    sys.exit(main())
