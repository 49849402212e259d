"""How well this machine can confine a command, and what stays open."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pilothouse.propose.sandbox.calls import machine

_PROBE_SECONDS = 10.0


class Rung(StrEnum):
    """The ways to confine, strongest first; `sandbox-exec` is told of where it exists, and not used."""

    BWRAP = "bwrap"
    LANDLOCK = "landlock"
    SANDBOX_EXEC = "sandbox-exec"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What was obtained: the rung, what holds on it (`holds`), and what does not (`open`)."""

    rung: Rung
    holds: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    landlock: int = 0
    bwrap: str = ""
    why: str = ""

    @property
    def confines(self) -> bool:
        """Whether a command that is not trusted may run."""
        return self.rung in {Rung.BWRAP, Rung.LANDLOCK}

    def told(self) -> str:
        """Return one line for a person."""
        holds = f": {', '.join(self.holds)}" if self.holds else ""
        left = f"; not held: {', '.join(self.open)}" if self.open else ""
        why = f" ({self.why})" if self.why else ""
        return f"{self.rung}{holds}{left}{why}"


@functools.cache
def level(*, bwrap: str | None = None) -> Level:
    """Return the strongest level of this machine; `bwrap` names the program, None looks for it, empty leaves it out."""
    if sys.platform == "darwin":
        found = shutil.which("sandbox-exec")
        rung = Rung.SANDBOX_EXEC if found else Rung.NONE
        return Level(rung=rung, why="agents do not run on macOS: nothing supervises them there yet")
    if sys.platform != "linux" or machine() is None:
        return Level(rung=Rung.NONE, why=f"no filter of system calls is known for {sys.platform}")
    program = shutil.which("bwrap") if bwrap is None else bwrap
    under = landlocked()
    if program and _works(program):
        left = () if under.confines else ("settings of the kernel, for a server that runs as root",)
        holds = ("files, processes and network (namespaces)", *(under.holds or ("system calls (seccomp)", "limits")))
        return Level(rung=Rung.BWRAP, bwrap=program, landlock=under.landlock, holds=holds, open=left)
    return under


def landlocked() -> Level:
    """Return what Landlock and the filter of system calls hold here."""
    from pilothouse.propose.sandbox import landlock  # noqa: PLC0415  loads the C library, which other systems lack

    version = landlock.abi()
    if version < landlock.ABI_LEAST:
        had = f"Landlock's version is {version}" if version else "this kernel has no Landlock"
        return Level(rung=Rung.NONE, why=f"{had}, and {landlock.ABI_LEAST} is needed (Linux 6.2)")
    left: list[str] = []
    if version < landlock.ABI_SCOPES:
        left.append("signals to the user's other processes, where no namespace of processes is allowed")
    left.append("whether a path exists, and its size and times")
    return Level(
        rung=Rung.LANDLOCK,
        landlock=version,
        holds=(f"files (Landlock {version})", "network and system calls (seccomp)", "limits"),
        open=tuple(left),
    )


def _works(program: str) -> bool:
    """Whether bubblewrap is allowed to make its namespaces here."""
    command: Sequence[str] = [program, "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    try:
        tried = subprocess.run(command, check=False, capture_output=True, timeout=_PROBE_SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0
