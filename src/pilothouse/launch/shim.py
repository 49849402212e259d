"""Tie a command to the life of its factory, then become it (Linux without util-linux's setpriv).

    python -I -S shim.py <pid of the factory> <command> [argument ...]

A function run between fork and exec could do the same, but the factory has threads, and Python code in a forked child
may then wait for ever on a lock that no thread is left to release. A program of its own has no such lock to wait for.
It imports nothing of pilothouse and starts in isolated mode, without `site`, to be quick.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
CANNOT_EXECUTE = 126
NOT_FOUND = 127


def main(argv: list[str]) -> int:
    """Ask the kernel for SIGKILL when the factory dies, and execute the command; return only if that fails."""
    factory, command = int(argv[1]), argv[2:]
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.stderr.write(f"pilothouse: prctl failed: {os.strerror(ctypes.get_errno())}\n")
        return CANNOT_EXECUTE
    if os.getppid() != factory:
        # The factory died before the request took hold; its death will not be signalled any more.
        return CANNOT_EXECUTE
    try:
        os.execvp(command[0], command)  # noqa: S606  the command was checked by the launcher; no shell is wanted
    except OSError as error:
        sys.stderr.write(f"pilothouse: cannot execute {command[0]}: {error.strerror}\n")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_EXECUTE


if __name__ == "__main__":
    sys.exit(main(sys.argv))
