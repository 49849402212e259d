"""Take in how an attempt ended, and send its job on."""

from __future__ import annotations

from datetime import datetime

from pilothouse.fleet.job import Attempt, Job, Report
from pilothouse.fleet.stages import LEASED
from pilothouse.ids import Epoch, FactoryName, JobId
from pilothouse.operations.end_attempt import end_attempt
from pilothouse.operations.find_job import find_job, lease_lost
from pilothouse.ports.store import Transaction


def complete(
    tx: Transaction, job: JobId, *, epoch: Epoch, report: Report, now: datetime, factory: FactoryName | None = None
) -> Job:
    """Return the job after the report: shipped, in review or testing, failed, or back in the queue.

    The same report of the same epoch may come again, since its sender may not have seen the answer; then nothing
    changes. Any other word of an epoch that is over, or of a factory that does not hold the job, is `LeaseLost`. An
    input that the report names as damaged is marked wherever it was published.
    """
    found = find_job(tx, job)
    if found.epoch != epoch or found.stage not in LEASED:
        attempt = tx.jobs.attempt(job, epoch=epoch)
        if attempt is not None and factory in {None, attempt.factory} and _says_the_same(attempt, report):
            return found
        raise lease_lost(found, held=epoch)
    if factory is not None and found.factory != factory:
        raise lease_lost(found, held=epoch)
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
