"""Keep a lease alive."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from pilothouse.fleet.job import Job, Progress
from pilothouse.fleet.lease import Fenced, Lease, Renewed
from pilothouse.fleet.lease import renew as extend
from pilothouse.ids import Epoch, JobId
from pilothouse.operations.find_job import find_job, lease_lost
from pilothouse.ports.store import Transaction


def renew(
    tx: Transaction, job: JobId, *, epoch: Epoch, progress: Progress | None, lease_seconds: float, now: datetime
) -> Job:
    """Return the job with its lease extended and its last sign of life kept; a stale epoch is `LeaseLost`."""
    found = find_job(tx, job)
    if found.lease_expires_at is None:
        raise lease_lost(found, held=epoch)
    held = Lease(job=job, epoch=epoch, expires_at=found.lease_expires_at)
    decision = extend(held, current=found.epoch, now=now, lease_seconds=lease_seconds)
    match decision:
        case Fenced():
            raise lease_lost(found, held=epoch)
        case Renewed():
            renewed = tx.jobs.renew(job, epoch=epoch, expires=decision.lease.expires_at)
            if renewed is None:
                raise lease_lost(find_job(tx, job), held=epoch)
            if progress is not None:
                tx.jobs.observe(job, epoch=epoch, progress=progress, now=now)
            return renewed
        case _:
            assert_never(decision)
