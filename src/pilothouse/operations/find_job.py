"""Look up a job that must be there, and say what a lost lease means."""

from __future__ import annotations

from pilothouse.errors import LeaseLost, NotFound
from pilothouse.fleet.job import Job
from pilothouse.ids import Epoch, JobId, ProductId
from pilothouse.ports.store import Transaction


def find_job(tx: Transaction, job: JobId, *, product: ProductId | None = None) -> Job:
    """Return the job of that id; `NotFound` when there is none, or when it is another product's than the one named."""
    found = tx.jobs.by_id(job)
    if found is None or product not in {None, found.product}:
        raise NotFound(f"no job has the id {job!r}", fix="list the jobs with `pilothouse job list`")
    return found


def lease_lost(job: Job, *, held: Epoch) -> LeaseLost:
    """Return the error for a holder whose epoch is no longer the job's, or whose job has moved on."""
    return LeaseLost(
        f"epoch {held} of job {job.id} is over: the job is {job.stage} at epoch {job.epoch}",
        fix="stop this attempt and throw its result away; whoever holds the later epoch goes on",
    )
