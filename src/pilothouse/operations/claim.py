"""Give a job to a factory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from pilothouse.fleet.claim import Claimant, Declined, Granted, Hindrance, grant
from pilothouse.fleet.job import Attempt, Job
from pilothouse.ids import JobId
from pilothouse.operations.find_job import find_job
from pilothouse.ports.dispatch import Offer
from pilothouse.ports.store import Transaction


def claim(tx: Transaction, job: JobId, *, claimant: Claimant, lease_seconds: float, now: datetime) -> Offer | Declined:
    """Return the offer of the job's next attempt, or why the claimant cannot have it now."""
    decision = grant(find_job(tx, job), claimant=claimant, lease_seconds=lease_seconds, now=now)
    match decision:
        case Declined():
            return decision
        case Granted():
            return _assign(tx, decision, lease_seconds=lease_seconds, now=now)
        case _:
            assert_never(decision)


def _assign(tx: Transaction, granted: Granted, *, lease_seconds: float, now: datetime) -> Offer | Declined:
    assigned = tx.jobs.assign(
        granted.job,
        epoch=granted.expected,
        factory=granted.claimant.factory,
        boot=granted.claimant.boot,
        expires=granted.expires_at,
        folder=granted.folder,
        now=now,
    )
    if assigned is None:
        return Declined(why=Hindrance.NOT_QUEUED)
    earlier = _earlier_folders(tx, assigned)
    return Offer(
        job=assigned,
        spec=tx.jobs.spec(granted.job),
        folder=granted.folder,
        resume_folder=earlier[0] if earlier else None,
        earlier_folders=earlier,
        lease_seconds=lease_seconds,
    )


def _earlier_folders(tx: Transaction, job: Job) -> tuple[str, ...]:
    """Return where earlier attempts ran, newest first, those of earlier jobs of the same step included.

    A step's key without its generation names everything that decides its outcome, so its checkpoints may be resumed.
    """
    step, _, generation = job.key.rpartition("#")
    # The first attempt of the first generation has nothing before it, which is the common case and saves the queries.
    own = _started_folders(tx.jobs.attempts(job.id)) if job.epoch > 1 else ()
    if not step or generation in {"", "0"}:
        return own
    others = [other for other in tx.jobs.keys_like(job.product, f"{step}#") if other.id != job.id]
    return own + tuple(folder for other in reversed(others) for folder in _started_folders(tx.jobs.attempts(other.id)))


def _started_folders(attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """Return where earlier attempts ran, newest first; one that never started has left nothing to resume."""
    return tuple(attempt.folder for attempt in reversed(attempts) if attempt.started_at is not None)
