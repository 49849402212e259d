"""What an attempt has cost, settled once in the ledger; an attempt that reserved nothing settles nothing."""

from __future__ import annotations

from datetime import datetime

from pilothouse.fleet.budget import Rates, settle
from pilothouse.fleet.job import Cost, Job, Report
from pilothouse.fleet.stages import Stage
from pilothouse.ports.store import Transaction


def settle_report(tx: Transaction, job: Job, *, report: Report, now: datetime) -> None:
    """Settle the attempt that this report ends: as it says, else by its time, else as it was reserved.

    A started attempt that tells no time, such as one that is given back, has run for the most that it can have.
    """
    untold = report.seconds <= 0 and job.stage is Stage.BUILDING
    _settle(tx, job, reported=report.cost, seconds=_elapsed(tx, job, now=now) if untold else report.seconds, now=now)


def settle_elapsed(tx: Transaction, job: Job, *, now: datetime) -> None:
    """Settle the attempt of a job that is taken from its holder; its time runs from the claim, the most it can be."""
    if job.session is not None:
        _settle(tx, job, reported=Cost(), seconds=_elapsed(tx, job, now=now), now=now)


def _elapsed(tx: Transaction, job: Job, *, now: datetime) -> float:
    attempt = tx.jobs.attempt(job.id, epoch=job.epoch)
    assert attempt is not None, f"job {job.id} is {job.stage} without an attempt of epoch {job.epoch}"
    return (now - attempt.claimed_at).total_seconds()


def _settle(tx: Transaction, job: Job, *, reported: Cost, seconds: float, now: datetime) -> None:
    shape = tx.jobs.shapes([job.shape])[job.shape]
    rates = Rates(seats=shape.seats, gpus=shape.gpus, usd_per_hour=_price(tx, job))
    cost = settle(Cost(), reported=reported, elapsed_seconds=seconds, rates=rates)
    tx.budgets.settle(job.number, epoch=job.epoch, cost=cost, now=now)


def _price(tx: Transaction, job: Job) -> float | None:
    """Return what an hour of a seat costs where the job is held."""
    kept = tx.factories.session(job.session) if job.session is not None else None
    factory = tx.factories.get(kept.product, kept.session.factory) if kept is not None else None
    return None if factory is None else factory.usd_per_hour
