"""The fleet as a factory sees it; the factory holds no database."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from pilothouse.fleet.job import Job, JobSpec, Progress, Report
from pilothouse.ids import BootId, Epoch, FactoryName, JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A granted claim: the job at its new epoch, its spec, where to run it and what to resume from.

    Folders are relative to the home that the factory and the engine share. `resume_folder` is the one of the latest
    earlier attempt that had started; `earlier_folders` are all of them, newest first, for that attempt may have died
    before its first checkpoint. `lease_seconds` is a duration that the factory counts on its own monotonic clock from
    before it asked.
    """

    job: Job
    spec: JobSpec
    folder: str
    resume_folder: str | None
    lease_seconds: float
    earlier_folders: tuple[str, ...] = ()


class Dispatch(Protocol):
    """What a factory asks of the engine. A lost lease raises `LeaseLost`; the attempt must then stop."""

    def claim(
        self,
        *,
        factory: FactoryName,
        boot: BootId,
        wait_seconds: float,
        pools: Collection[str] | None = None,
        seats: int | None = None,
    ) -> Offer | None:
        """Wait for a job of these pools that fits on this many free seats; None stands for any."""
        ...

    def start(self, job: JobId, *, epoch: Epoch, pid: int, pid_started: float) -> None: ...
    def renew(self, job: JobId, *, epoch: Epoch, progress: Progress | None) -> None: ...
    def complete(self, job: JobId, *, epoch: Epoch, report: Report) -> None: ...
