"""Note that an attempt's process runs."""

from __future__ import annotations

from datetime import datetime

from pilothouse.errors import CheckpointMissing
from pilothouse.fleet.job import FreshStart, Job
from pilothouse.fleet.least_step import least_step, lost_steps, lost_words
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch, JobId
from pilothouse.operations.claim import earlier_attempts
from pilothouse.operations.find_job import find_job, lease_lost
from pilothouse.operations.note_incident import note_lost_steps
from pilothouse.ports.store import Transaction


def start(
    tx: Transaction,
    job: JobId,
    *,
    epoch: Epoch,
    pid: int,
    pid_started: float,
    now: datetime,
    resume_step: int | None = None,
) -> Job:
    """Return the job as building; told twice of the same process it changes nothing, a stale epoch is `LeaseLost`.

    `resume_step` is the step of the checkpoint that the attempt goes on from. Below the least step it is an incident,
    or `CheckpointMissing` where the job refuses that.
    """
    found = find_job(tx, job)
    waits = found.stage is Stage.ASSIGNED and found.epoch == epoch
    lost = _lost(tx, found, resume_step) if waits else ""
    started = tx.jobs.start(found, epoch=epoch, pid=pid, pid_started=pid_started, now=now, why=lost)
    if started is not None:
        if lost:
            note_lost_steps(tx, started, words=lost, now=now)
        return started
    if found.stage is Stage.BUILDING and found.epoch == epoch:
        attempt = tx.jobs.attempt(job, epoch=epoch)
        if attempt is not None and (attempt.pid, attempt.pid_started) == (pid, pid_started):
            return found
    raise lease_lost(found, held=epoch)


def _lost(tx: Transaction, job: Job, resume_step: int | None) -> str:
    """Return what is lost by a start from there, empty if nothing; raises CheckpointMissing if nothing may be."""
    least = least_step(earlier_attempts(tx, job.id, product=job.product, key=job.key, epoch=job.epoch))
    if least is None or not lost_steps(least, resume_step):
        return ""
    words = lost_words(least, resume_step)
    if tx.jobs.spec(job.id).fresh_start is FreshStart.REFUSED:
        raise CheckpointMissing(
            f"job {job.id} {words}", fix="let it go on from that checkpoint, or allow a fresh start"
        )
    return words
