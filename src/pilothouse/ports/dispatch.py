"""The fleet as a factory sees it; the factory holds no database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pilothouse.fleet.job import JobSpec, Progress, Report
from pilothouse.fleet.least_step import LeastStep
from pilothouse.ids import BootId, Epoch, FactoryName, JobId, ProductId


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A granted claim: the job's attempt, its spec, where to run it and what to resume from.

    Folders are relative to the factory's home. `resume_folder` is the one of the latest earlier attempt that had
    started; `earlier_folders` are all of them, newest first, for that attempt may have died before its first
    checkpoint. `least` is the step to start from at least, and where its checkpoint lies, as the engine was told; what
    cannot be heeded is said with the start. `lease_seconds` is a duration that the factory counts on its own monotonic
    clock from before it asked.
    """

    job: JobId
    epoch: Epoch
    product: ProductId
    key: str
    spec: JobSpec
    folder: str
    lease_seconds: float
    earlier_folders: tuple[str, ...] = ()
    least: LeastStep | None = None

    @property
    def resume_folder(self) -> str | None:
        """The newest folder that may hold a checkpoint."""
        return self.earlier_folders[0] if self.earlier_folders else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An attempt that a factory holds, running or ended and not yet acknowledged, with its last sign of life."""

    job: JobId
    epoch: Epoch
    progress: Progress | None = None


class Word(StrEnum):
    """What the engine tells a factory about one attempt."""

    STOP = "stop"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """An order about one attempt.

    `stop`: checkpoint and end within `seconds`, then report as preempted. `lost`: the attempt belongs to a later epoch
    or to nobody; end it at once and report nothing.
    """

    job: JobId
    epoch: Epoch
    word: Word
    seconds: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The answer to a heartbeat: every lease of the factory is good for `lease_seconds` from before it asked."""

    lease_seconds: float
    commands: tuple[Command, ...] = ()
    draining: bool = False


class Dispatch(Protocol):
    """What a factory asks of the engine. A lost lease raises `LeaseLost`; the attempt must then stop.

    A factory is its name and its boot; the first word of a boot opens its session, and every heartbeat renews the
    leases of all that the session holds. A session that has been given up raises `LeaseLost` for good: the factory
    stops everything and begins anew under another boot.
    """

    def claim(
        self,
        *,
        factory: FactoryName,
        boot: BootId,
        wait_seconds: float,
        seats: int,
        held: Collection[tuple[JobId, Epoch]] = (),
        pools: Collection[str] | None = None,
        jobs: int = 1,
    ) -> Sequence[Offer]:
        """Wait for at most `jobs` jobs of these pools (None: of any) that fit together on this many free seats.

        `held` is what the factory holds already: an attempt that was assigned to it and is not among them is offered
        again, since the first answer was lost.
        """
        ...

    def start(self, job: JobId, *, epoch: Epoch, pid: int, pid_started: float, resume_step: int | None = None) -> None:
        """Tell that the attempt runs, and the step of the checkpoint that it goes on from, None for none.

        A start below the least step is kept as an incident, or raises `CheckpointMissing` where the job refuses it.
        """
        ...

    def beat(self, *, factory: FactoryName, boot: BootId, held: Sequence[Held]) -> Beat: ...
    def complete(self, job: JobId, *, epoch: Epoch, report: Report) -> None: ...
