"""What a confined command may read: the system's programs and libraries, its own program, and nothing of a person."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pilothouse.errors import OperationFailed, Refused

SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime"),
    *("/etc/group", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/passwd", "/etc/timezone"),
    *("/etc/ca-certificates.conf", "/etc/ssl/certs", "/etc/ssl/openssl.cnf"),
    *("/etc/pki/ca-trust/extracted", "/etc/pki/tls/certs", "/etc/pki/tls/openssl.cnf"),
    *("/proc/cpuinfo", "/proc/filesystems", "/proc/loadavg", "/proc/meminfo", "/proc/stat", "/proc/version"),
    "/sys/devices/system/cpu",
)
"""Of `/etc` only what programs need to start, since keys and passwords lie there too; of `/proc` no process."""

NETWORK = ("/etc/hosts", "/etc/resolv.conf", "/etc/services", "/run/systemd/resolve/stub-resolv.conf")
DEVICES = ("/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LINKS_MAX = 16


def find(command: str, path: str) -> Path:
    """Return where a command's program lies, its links not followed; raises OperationFailed if it is not found."""
    found = shutil.which(command, path=path)
    if found is None:
        raise OperationFailed(
            f"The agent's program {command!r} is not found (looked in {path}).",
            fix="install it, or give its full path as the first word of the command.",
        )
    return Path(found).absolute()


def of_program(program: Path) -> Sequence[str]:
    """Return what a program needs besides the system: itself and the `bin` and `lib` that it was installed with.

    A program in `X/bin` may read `X/bin`, `X/lib` and `X/pyvenv.cfg`, at every link on the way to the file, and never
    all of `X`, which may be somebody's home.
    """
    needed: list[Path] = []
    for _ in range(_LINKS_MAX):
        needed.append(program)
        if program.parent.name == "bin":
            prefix = program.parent.parent
            needed += [program.parent, prefix / "lib", prefix / "lib64", prefix / "pyvenv.cfg"]
        if not program.is_symlink():
            break
        program = Path(os.path.normpath(program.parent / program.readlink()))
    return [str(path) for path in needed if path.exists()]


def keep_apart(readable: Sequence[str], forbidden: Sequence[Path]) -> None:
    """Refuse to let a command read what holds something forbidden: a rule for a folder holds for all below it.

    A readable folder that lies inside a forbidden one is an exception that somebody made on purpose.
    """
    for secret in forbidden:
        hidden = secret.resolve()
        for path in readable:
            shown = Path(path).resolve()
            if hidden == shown or shown in hidden.parents:
                raise Refused(
                    f"an agent that may read {shown} could read {hidden}",
                    fix=f"take {shown} from what the agent may read, or name the parts of it that it needs",
                )
