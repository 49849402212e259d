"""What a confined command may do and use, and what came of running it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one run may use.

    `wall_seconds` is counted by the supervisor, `cpu_seconds` by the kernel for each process. `memory_mb` bounds the
    data of each process and the resident memory of all together, `file_mb` one file, `folder_mb` the whole folder,
    `processes` processes and threads at one time. More output than `output_bytes` ends the run.
    """

    wall_seconds: float = 900.0
    cpu_seconds: int = 600
    memory_mb: int = 4096
    file_mb: int = 64
    folder_mb: int = 512
    processes: int = 256
    open_files: int = 1024
    output_bytes: int = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run of a command: what it is, what it sees, and what it may write, `folder` alone.

    `readable` and `devices` come on top of nothing: what is not named cannot be opened. `stdin` is a file, empty for
    none. `landlock` is the version to use, 0 for none; `filtered` and `own_processes` say whether system calls are
    filtered and whether the run gets a namespace of processes. `report` is the descriptor that the result goes to.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    readable: tuple[str, ...]
    devices: tuple[str, ...]
    limits: Limits
    stdin: str = ""
    network: bool = False
    ports: tuple[int, ...] = ()
    landlock: int = 0
    filtered: bool = False
    own_processes: bool = False
    bwrap: tuple[str, ...] = ()
    report: int = -1

    def text(self) -> bytes:
        """Return the plan as one line."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"


def read_plan(line: bytes) -> Plan:
    """Read what `Plan.text` wrote."""
    fields = json.loads(line)
    fields["limits"] = Limits(**fields["limits"])
    for name in ("command", "readable", "devices", "ports", "bwrap"):
        fields[name] = tuple(fields[name])
    return Plan(**fields)


class Breach(StrEnum):
    """What kind of line a confined command tried to cross, or crossed to its cost."""

    SYSTEM_CALL = "system_call"
    FILE = "file"
    ILLEGAL_CALL = "illegal_call"
    WALL_TIME = "wall_time"
    CPU_TIME = "cpu_time"
    FILE_SIZE = "file_size"
    FOLDER_SIZE = "folder_size"
    MEMORY = "memory"
    PROCESSES = "processes"
    OUTPUT = "output"
    SURVIVORS = "survivors"
    LOST = "lost"
    FOREIGN_FILE = "foreign_file"
    CONTEXT = "context"
    ANSWER = "answer"
    COST = "cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One line that was held, `count` times."""

    breach: Breach
    detail: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of a run: `exit_code` is negative for a signal, None where it is not known or nothing was executed."""

    exit_code: int | None
    seconds: float
    output: bytes
    errors: bytes
    refusals: tuple[Refusal, ...] = ()
    held: tuple[str, ...] = field(default=())
    processes_most: int = 0


def size_of(folder: str, *, most: int) -> int:
    """Return the bytes below a folder, not following links; stops counting beyond `most`."""
    total = 0
    waiting = [Path(folder)]
    while waiting and total <= most:
        try:
            for entry in waiting.pop().iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    waiting.append(entry)
                else:
                    total += entry.lstat().st_size
        except OSError:
            continue  # it is being changed while it is counted
    return total
