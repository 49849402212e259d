"""End a job that is no longer wanted."""

from __future__ import annotations

from datetime import datetime

from pilothouse.errors import Conflict
from pilothouse.fleet.job import Job
from pilothouse.fleet.stages import ENDS, Stage
from pilothouse.ids import JobId
from pilothouse.operations.find_job import find_job
from pilothouse.operations.follow_graph import follow_graph
from pilothouse.operations.settle_cost import settle_elapsed
from pilothouse.ports.store import Transaction


def cancel(tx: Transaction, job: JobId, *, now: datetime, why: str = "cancelled") -> Job:
    """Return the job as cancelled; its holder learns of it at its next word. One that has ended otherwise stays so."""
    found = find_job(tx, job)
    if found.stage is Stage.CANCELLED:
        return found
    if found.stage in ENDS:
        raise Conflict(f"job {job} has ended already: it is {found.stage}", fix="nothing is left to cancel")
    settle_elapsed(tx, found, now=now)
    cancelled = tx.jobs.cancel(found, stage=Stage.CANCELLED, now=now, why=why)
    assert cancelled is not None, f"job {job} was read at epoch {found.epoch} in this same transaction"
    follow_graph(tx, cancelled, now=now)
    return cancelled
