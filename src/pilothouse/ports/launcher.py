"""Where an attempt runs: a command is started, watched and stopped with everything it has started itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to start: the command, the folder it is started in, and the run folder it works in.

    `cookie` names the attempt as `<job>:<epoch>`; every process of the attempt inherits it. `stdin` is a file that the
    command reads, if it reads any. `variables` are for this attempt beside those that every attempt sees.
    """

    command: Sequence[str]
    cwd: Path
    folder: Path
    cookie: str
    stdin: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


class Handle(Protocol):
    """One started attempt, owned by whoever started it."""

    @property
    def pid(self) -> int:
        """The number of the leading process, which also names its process group and session."""
        ...

    @property
    def pid_started(self) -> float:
        """When the leading process began, in seconds since 1970: tells it from another of the same number."""
        ...

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until the leader has ended or the time is over; say whether it has ended."""
        ...

    def peak_memory_mb(self) -> float | None:
        """Return the largest resident memory of the whole tree seen so far, in MiB; calling it takes a sample."""
        ...

    def stop(self, *, grace_seconds: float) -> int | None:
        """End the tree and return the leader's exit code, minus the signal's number if a signal ended it.

        A leader that still runs is asked first, and the whole tree has the grace. What a leader that ended by itself
        left behind has none. Returns when no process of the tree is left; None if the code is not known. Raises
        OperationFailed if a process outlives SIGKILL. Every attempt ends by this call; a second one changes nothing.
        """
        ...


class Launcher(Protocol):
    """Starts attempts."""

    def start(self, order: Order) -> Handle:
        """Start the command; raises OperationFailed, naming the mend, if it cannot be started.

        Call it from a thread that outlives the attempt: the attempt dies with the thread that started it.
        """
        ...
