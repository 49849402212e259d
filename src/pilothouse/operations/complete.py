"""Take in how an attempt ended, and send its job on."""

from __future__ import annotations

from datetime import datetime

from pilothouse.errors import Conflict
from pilothouse.fleet.job import Attempt, Job, Outcome, Report
from pilothouse.fleet.stages import LEASED, Stage
from pilothouse.ids import Epoch, JobId
from pilothouse.operations.end_attempt import end_attempt
from pilothouse.operations.find_job import find_job, lease_lost
from pilothouse.ports.store import Transaction


def complete(tx: Transaction, job: JobId, *, epoch: Epoch, report: Report, now: datetime) -> Job:
    """Return the job after the report: shipped, failed, or back in the queue.

    The same report of the same epoch may come again, since its sender may not have seen the answer; then nothing
    changes. Any other word of an epoch that is over is `LeaseLost`. An input that the report names as damaged is
    marked wherever it was published.
    """
    found = find_job(tx, job)
    if found.epoch != epoch or found.stage not in LEASED:
        attempt = tx.jobs.attempt(job, epoch=epoch)
        if attempt is not None and _says_the_same(attempt, report):
            return found
        raise lease_lost(found, held=epoch)
    if report.outcome is Outcome.SUCCEEDED and found.stage is not Stage.BUILDING:
        raise Conflict(
            f"job {job} cannot succeed at epoch {epoch}: nobody has told that it started",
            fix="tell the start, with the process id, before the end",
        )
    finished = end_attempt(tx, found, report=report, now=now)
    if finished is None:
        raise lease_lost(find_job(tx, job), held=epoch)
    if report.damaged is not None:
        tx.jobs.mark_damaged(found.product, report.damaged, now=now)
    return finished


def _says_the_same(attempt: Attempt, report: Report) -> bool:
    """Whether the report is the one that was stored; not-a-number equals itself here."""
    return (
        attempt.outcome is report.outcome
        and attempt.exit_code == report.exit_code
        and {name: repr(value) for name, value in attempt.metrics.items()}
        == {name: repr(value) for name, value in report.metrics.items()}
    )
