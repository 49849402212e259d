"""Note that an attempt's process runs."""

from __future__ import annotations

from datetime import datetime

from pilothouse.fleet.job import Job
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch, JobId
from pilothouse.operations.find_job import find_job, lease_lost
from pilothouse.ports.store import Transaction


def start(tx: Transaction, job: JobId, *, epoch: Epoch, pid: int, pid_started: float, now: datetime) -> Job:
    """Return the job as building; told twice of the same process it changes nothing, a stale epoch is `LeaseLost`."""
    found = find_job(tx, job)
    started = tx.jobs.start(found, epoch=epoch, pid=pid, pid_started=pid_started, now=now)
    if started is not None:
        return started
    if found.stage is Stage.BUILDING and found.epoch == epoch:
        attempt = tx.jobs.attempt(job, epoch=epoch)
        if attempt is not None and (attempt.pid, attempt.pid_started) == (pid, pid_started):
            return found
    raise lease_lost(found, held=epoch)
