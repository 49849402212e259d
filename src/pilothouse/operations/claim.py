"""Give a job to a factory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from pilothouse.fleet.claim import Claimant, Declined, Granted, Hindrance, grant
from pilothouse.fleet.job import Attempt
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
    # The first epoch has no attempt before it, which is the common case and saves a query.
    earlier = _started_folders(tx.jobs.attempts(granted.job)) if granted.expected > 0 else ()
    return Offer(
        job=assigned,
        spec=tx.jobs.spec(granted.job),
        folder=granted.folder,
        resume_folder=earlier[0] if earlier else None,
        earlier_folders=earlier,
        lease_seconds=lease_seconds,
    )


def _started_folders(attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """Return where earlier attempts ran, newest first; one that never started has left nothing to resume."""
    return tuple(attempt.folder for attempt in reversed(attempts) if attempt.started_at is not None)
