"""The few calls to the Linux kernel that Python does not have, by ctypes."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64

_LIBRARY = ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: object) -> int:
    """Make one system call by its number and return its result; a failure is an `OSError`."""
    _LIBRARY.syscall.restype = ctypes.c_long
    return _checked(_LIBRARY.syscall(ctypes.c_long(number), *arguments))


def prctl(option: int, *arguments: int) -> None:
    """Change something of this process; a failure is an `OSError`."""
    words = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    _checked(_LIBRARY.prctl(ctypes.c_int(option), *words))


def ioctl(descriptor: int, request: int, argument: object) -> None:
    """Ask a device or a listener for something; a failure is an `OSError`."""
    _checked(_LIBRARY.ioctl(ctypes.c_int(descriptor), ctypes.c_ulong(request), argument))


def no_new_privileges() -> None:
    """Never again gain anything by executing a file; what forbids this to be undone is the kernel."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent() -> None:
    """Ask for SIGKILL when the thread that forked this process ends."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, however it was forked."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def drop_capabilities() -> None:
    """Give up every capability, also those that root would get back by executing a file."""
    for number in range(_CAPABILITIES):
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError:
            continue  # an unknown number, or none to give up: the sets below are emptied all the same
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(_LIBRARY.capset(header, (ctypes.c_uint32 * 6)()))


def own_processes() -> bool:
    """Put the next child into namespaces of processes and users of its own; say whether the kernel allows it.

    The user stays the same one; the namespace only makes the call possible without privileges, and makes the limit of
    processes count those of the namespace alone.
    """
    # Tried in a child first: a system may allow the namespace and refuse its user, and there is no way back out.
    trial = os.fork()
    if trial == 0:
        try:
            _unshare()
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(trial, 0)[1] != 0:
        return False
    _unshare()
    return True


def _unshare() -> None:
    user, group = os.getuid(), os.getgid()
    _checked(_LIBRARY.unshare(ctypes.c_int(CLONE_NEWUSER | CLONE_NEWPID)))
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
