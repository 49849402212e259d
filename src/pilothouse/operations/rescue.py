"""Take jobs back from a holder that is gone."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from pilothouse.fleet.job import Job, Outcome, Report
from pilothouse.fleet.stages import LEASED
from pilothouse.ids import Epoch, JobId, JobNumber, SessionNumber
from pilothouse.operations.end_attempt import end_attempt
from pilothouse.ports.store import Transaction


def rescue(
    tx: Transaction, job: JobId, *, epoch: Epoch, why: str, now: datetime, outcome: Outcome = Outcome.LOST
) -> Job | None:
    """Return the job as taken back from the epoch, or None when that epoch is over already: then nothing changes."""
    found = tx.jobs.by_id(job)
    if found is None or found.epoch != epoch or found.stage not in LEASED:
        return None
    return end_attempt(tx, found, report=_loss(tx, found, outcome=outcome, why=why, now=now), now=now)


def rescue_session(
    tx: Transaction,
    session: SessionNumber,
    *,
    why: str,
    now: datetime,
    held: Collection[JobNumber] | None = None,
) -> tuple[Job, ...]:
    """Close a session that is known to be dead, and return the jobs that were taken back from it.

    `held` are the jobs that may be its own, as the board has them; without them every job of the table is looked at.
    """
    tx.factories.close_session(session, now=now, why=why)
    found = tx.jobs.leased() if held is None else [tx.jobs.by_number(number) for number in sorted(held)]
    own = [job for job in found if job is not None and job.session == session]
    rescued = [rescue(tx, job.id, epoch=job.epoch, why=why, now=now) for job in own]
    return tuple(job for job in rescued if job is not None)


def _loss(tx: Transaction, job: Job, *, outcome: Outcome, why: str, now: datetime) -> Report:
    """Return the report that nobody is left to write; its seconds run from the claim, the most it can have used."""
    attempt = tx.jobs.attempt(job.id, epoch=job.epoch)
    assert attempt is not None, f"job {job.id} is {job.stage} without an attempt of epoch {job.epoch}"
    return Report(
        outcome=outcome,
        detail=why,
        exit_code=None,
        metrics={},
        artifacts=(),
        seconds=max(0.0, (now - attempt.claimed_at).total_seconds()),
    )
