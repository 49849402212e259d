"""A filter of system calls: what no confined command needs, or what Landlock does not look at.

Landlock judges opening, making and removing files. It does not judge who changes a file's mode, owner or times, who
speaks to a socket that is a file, or who sets another process's limits; the filter does. Calls that honest programs
try and can do without are answered as though the kernel had none. What they do by habit and what must have no effect
outside (modes, owners, times) is answered as though done, and is not done. All else is refused and, where the kernel
can tell its supervisor, told.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from pilothouse.propose.sandbox import kernel
from pilothouse.propose.sandbox.calls import Machine
from pilothouse.propose.sandbox.looking import PATHS

_RET_KILL = 0x80000000
_RET_NOTIFY = 0x7FC00000
_RET_ERRNO = 0x00050000
_RET_ALLOW = 0x7FFF0000
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_SET_FILTER = 1
_NEW_LISTENER = 1 << 3

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
_STREAM, _DATAGRAM, _SEQUENCED = 1, 2, 5
_SOCKET_TYPE = 0xF
_CLONE_NEW = 0x7E020000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PRIO_USER, _IOPRIO_USER = 2, 3


class Answer(Enum):
    """What a call meets."""

    REFUSED = "refused"
    COUNTED = "counted"
    LOOKED_AT = "looked at"
    QUIET = "quiet"
    ABSENT = "absent"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """Whether one argument, of which only the bits of `mask` count, is (or is not) among the values."""

    argument: int
    values: tuple[int, ...]
    inside: bool
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An answer to some calls; with tests, only where one of them holds."""

    calls: tuple[str, ...]
    answer: Answer
    tests: tuple[Test, ...] = ()


FORKS = ("fork", "vfork", "clone")
_OTHERS_ONLY = (Test(argument=0, values=(0,), inside=False),)

RULES: Sequence[Rule] = (
    Rule(
        answer=Answer.REFUSED,
        calls=(
            *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease"),
            *("pidfd_getfd", "kcmp", "migrate_pages", "move_pages"),
            *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "fsopen", "fsconfig", "fsmount"),
            *("fspick", "open_tree", "open_tree_attr", "move_mount", "mount_setattr", "file_setattr"),
            *("keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd"),
            *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module"),
            *("open_by_handle_at", "name_to_handle_at", "lookup_dcookie", "fanotify_init", "fanotify_mark"),
            *("shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl"),
            *("msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink", "mq_notify"),
            *("personality", "syslog", "swapon", "swapoff", "reboot", "sethostname", "setdomainname", "acct"),
            *("settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "quotactl", "quotactl_fd"),
            *("iopl", "ioperm", "modify_ldt", "uselib", "vhangup", "mknod", "mknodat"),
        ),
    ),
    Rule(
        answer=Answer.ABSENT,
        calls=(
            *("io_uring_setup", "io_uring_enter", "io_uring_register", "clone3"),
            *("memfd_create", "memfd_secret", "execveat", "inotify_init", "inotify_init1"),
        ),
    ),
    Rule(
        answer=Answer.IGNORED,
        calls=(
            *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat"),
            *("utime", "utimes", "utimensat", "futimesat"),
            *("setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
            *("removexattr", "lremovexattr", "fremovexattr", "removexattrat"),
        ),
    ),
    # Only the child's own parent may say when it dies, so the child may not take that back.
    Rule(
        calls=("prctl",),
        answer=Answer.IGNORED,
        tests=(Test(argument=0, values=(kernel.PR_SET_PDEATHSIG,), inside=True),),
    ),
    Rule(
        calls=("clone",),
        answer=Answer.REFUSED,
        tests=(Test(argument=0, values=(0,), inside=False, mask=_CLONE_NEW),),
    ),
    # The kernel's own limit of processes is none for root, and counts all of a user's where there is no namespace.
    Rule(calls=FORKS, answer=Answer.COUNTED),
    # Landlock refuses what these may not do, and tells nobody.
    Rule(calls=tuple(PATHS), answer=Answer.LOOKED_AT),
    Rule(
        calls=("ioctl",), answer=Answer.REFUSED, tests=(Test(argument=1, values=(_TIOCSTI, _TIOCLINUX), inside=True),)
    ),
    Rule(calls=("prlimit64",), answer=Answer.REFUSED, tests=_OTHERS_ONLY),
    Rule(
        calls=("sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler"),
        answer=Answer.QUIET,
        tests=_OTHERS_ONLY,
    ),
    Rule(
        calls=("setpriority",),
        answer=Answer.REFUSED,
        tests=(
            Test(argument=0, values=(_PRIO_USER,), inside=True),
            Test(argument=1, values=(0,), inside=False),
        ),
    ),
    Rule(
        calls=("ioprio_set",),
        answer=Answer.REFUSED,
        tests=(
            Test(argument=0, values=(_IOPRIO_USER,), inside=True),
            Test(argument=1, values=(0,), inside=False),
        ),
    ),
    # A pair of datagram sockets can still send to an address, a pair of streams cannot.
    Rule(
        calls=("socketpair",),
        answer=Answer.REFUSED,
        tests=(
            Test(argument=0, values=(AF_UNIX,), inside=False),
            Test(argument=1, values=(_STREAM, _SEQUENCED), inside=False, mask=_SOCKET_TYPE),
        ),
    ),
)

NO_NETWORK: Sequence[Rule] = (
    Rule(calls=("socket", "connect", "bind", "listen", "accept", "accept4"), answer=Answer.REFUSED),
)

NETWORK: Sequence[Rule] = (
    # Looking a name up tries these two first and goes on without them.
    Rule(calls=("socket",), answer=Answer.QUIET, tests=(Test(argument=0, values=(AF_UNIX, 16), inside=True),)),
    Rule(
        calls=("socket",),
        answer=Answer.REFUSED,
        tests=(
            Test(argument=0, values=(AF_INET, AF_INET6), inside=False),
            Test(argument=1, values=(_STREAM, _DATAGRAM), inside=False, mask=_SOCKET_TYPE),
        ),
    ),
    Rule(calls=("listen", "accept", "accept4"), answer=Answer.REFUSED),
)


def program(machine: Machine, *, network: bool, told: bool) -> bytes:
    """Return the filter as the kernel reads it; `told` lets refusals wait for the supervisor's answer."""
    refused = _RET_NOTIFY if told else _RET_ERRNO | errno.EPERM
    answers = {
        Answer.REFUSED: refused,
        Answer.COUNTED: _RET_NOTIFY if told else _RET_ALLOW,
        Answer.LOOKED_AT: _RET_NOTIFY if told else _RET_ALLOW,
        Answer.QUIET: _RET_ERRNO | errno.EPERM,
        Answer.ABSENT: _RET_ERRNO | errno.ENOSYS,
        Answer.IGNORED: _RET_ERRNO,
    }
    lines = [
        _line(_LOAD, _ARCHITECTURE),
        _line(_JUMP_EQUAL, machine.audit, 1, 0),
        _line(_RETURN, _RET_KILL),  # calls of another architecture have other numbers
        _line(_LOAD, _NUMBER),
    ]
    if machine.foreign_from is not None:
        lines += [_line(_JUMP_GREATER_EQUAL, machine.foreign_from, 0, 1), _line(_RETURN, _RET_KILL)]
    for rule in (*RULES, *(NETWORK if network else NO_NETWORK)):
        for name in rule.calls:
            if name in machine.numbers:
                lines += _lines_of(machine.numbers[name], rule, answers[rule.answer])
    lines.append(_line(_RETURN, _RET_ALLOW))
    return b"".join(lines)


def _lines_of(number: int, rule: Rule, answer: int) -> list[bytes]:
    body = [line for test in rule.tests for line in _test(test, answer)] or [_line(_RETURN, answer)]
    if rule.tests:
        body.append(_line(_LOAD, _NUMBER))
    return [_line(_JUMP_EQUAL, number, 0, len(body)), *body]


def _test(test: Test, answer: int) -> list[bytes]:
    """Return the answer if the test holds, else fall through; only the low half of the argument counts.

    Every argument tested here is an `int` for the kernel, which drops the upper half too.
    """
    lines = [_line(_LOAD, _ARGUMENTS + 8 * test.argument), _line(_AND, test.mask)]
    for place, value in enumerate(test.values):
        left = len(test.values) - 1 - place
        # Jumps are counted from the next line: past the other comparisons, to the answer or beyond it.
        lines.append(_line(_JUMP_EQUAL, value, left + (0 if test.inside else 1), 0))
    if test.inside:
        lines[-1] = _line(_JUMP_EQUAL, test.values[-1], 0, 1)
    return [*lines, _line(_RETURN, answer)]


def _line(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, true, false, value)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))


def install(machine: Machine, code: bytes, *, listen: bool) -> int | None:
    """Filter this process and all it starts from now on; return the listener's descriptor if one was asked for."""
    filtered = _Program(length=len(code) // 8, lines=code)
    flags = _NEW_LISTENER if listen else 0
    descriptor = kernel.syscall(
        machine.seccomp, ctypes.c_uint(_SET_FILTER), ctypes.c_uint(flags), ctypes.byref(filtered)
    )
    return descriptor if listen else None


class _Notice(ctypes.Structure):
    _fields_ = (
        ("id", ctypes.c_uint64),
        ("pid", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("number", ctypes.c_int32),
        ("architecture", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    )


class _Reply(ctypes.Structure):
    _fields_ = (
        ("id", ctypes.c_uint64),
        ("value", ctypes.c_int64),
        ("error", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
    )


_CONTINUE = 1
_RECEIVE, _SEND = 0xC0502100, 0xC0182101


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call that waits for an answer: its name, with the family where it is a socket's, and whether it only forks."""

    id: int
    pid: int
    name: str
    arguments: Sequence[int]
    forks: bool


def next_call(listener: int, names: Mapping[int, str]) -> Asked | None:
    """Return the call that waits at the listener, None if whoever called is gone already."""
    notice = _Notice()
    try:
        kernel.ioctl(listener, _RECEIVE, ctypes.byref(notice))
    except OSError:
        return None
    name = names.get(notice.number, str(notice.number))
    forks = name in FORKS and not (name == "clone" and notice.arguments[0] & _CLONE_NEW)
    if name in {"socket", "socketpair"}:
        name = f"{name}({notice.arguments[0] & 0xFFFF})"
    return Asked(id=notice.id, pid=notice.pid, name=name, arguments=tuple(notice.arguments), forks=forks)


def reply(listener: int, call: Asked, error: int) -> None:
    """Let the call fail with an error, or go on where the error is 0; whoever called may be gone.

    What decides about a call that goes on is the kernel alone: a caller can change what its pointers lead to after it
    was looked at. Forks have no pointers.
    """
    answer = _Reply(id=call.id, value=0, error=-error, flags=0 if error else _CONTINUE)
    with suppress(OSError):
        kernel.ioctl(listener, _SEND, ctypes.byref(answer))
