"""Who may claim, and which job comes first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pilothouse.fleet.job import Job
from pilothouse.fleet.stages import Stage
from pilothouse.ids import BootId, Epoch, FactoryName, JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """One boot of a factory, which is what can hold a job; `seats` are its free ones, None means no limit."""

    factory: FactoryName
    boot: BootId
    seats: int | None = None


class Hindrance(StrEnum):
    """Why a job may not be claimed now."""

    NOT_QUEUED = "not_queued"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The claim holds: `expected` is the epoch to compare with, `epoch` the new attempt's."""

    job: JobId
    claimant: Claimant
    expected: Epoch
    epoch: Epoch
    expires_at: datetime
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """The job cannot go to this claimant now."""

    why: Hindrance


def grant(job: Job, *, claimant: Claimant, lease_seconds: float, now: datetime) -> Granted | Declined:
    """Decide whether the claimant gets the job."""
    assert lease_seconds > 0, f"a lease lasts longer than nothing, got {lease_seconds}"
    if job.stage is not Stage.QUEUED:
        return Declined(why=Hindrance.NOT_QUEUED)
    if claimant.seats is not None and job.seats > claimant.seats:
        return Declined(why=Hindrance.TOO_LARGE)
    epoch = Epoch(job.epoch + 1)
    return Granted(
        job=job.id,
        claimant=claimant,
        expected=job.epoch,
        epoch=epoch,
        expires_at=now + timedelta(seconds=lease_seconds),
        folder=attempt_folder(job.id, epoch),
    )


def attempt_folder(job: JobId, epoch: Epoch) -> str:
    """Return where an attempt runs, relative to the home; no two attempts ever share a folder."""
    return f"runs/{job}/attempt-{epoch}"


def ready_order(job: Job) -> tuple[int, datetime, JobId]:
    """Return the key by which ready jobs are claimed: urgency, then age, then the id."""
    return (job.priority.rank, job.created_at, job.id)
