"""What an attempt has cost, settled once in the ledger; an attempt that reserved nothing settles nothing."""

from __future__ import annotations

from datetime import datetime

from pilothouse.fleet.budget import Rates, settle
from pilothouse.fleet.job import Cost, Job, Report
from pilothouse.ports.store import Transaction


def settle_report(tx: Transaction, job: Job, *, report: Report, now: datetime) -> None:
    """Settle the attempt that this report ends: as it says, else by its time, else as it was reserved."""
    _settle(tx, job, reported=report.cost, seconds=report.seconds, now=now)


def settle_elapsed(tx: Transaction, job: Job, *, now: datetime) -> None:
    """Settle the attempt of a job that is taken from its holder; its time runs from the claim, the most it can be."""
    if job.session is None:
        return
    attempt = tx.jobs.attempt(job.id, epoch=job.epoch)
    if attempt is not None:
        _settle(tx, job, reported=Cost(), seconds=(now - attempt.claimed_at).total_seconds(), now=now)


def _settle(tx: Transaction, job: Job, *, reported: Cost, seconds: float, now: datetime) -> None:
    spec = tx.jobs.spec(job.id)
    price = next((each.usd_per_hour for each in tx.factories.listed(None) if each.name == job.factory), None)
    rates = Rates(seats=spec.seats, gpus=spec.gpus, usd_per_hour=price)
    cost = settle(Cost(), reported=reported, elapsed_seconds=seconds, rates=rates)
    tx.budgets.settle(job.number, epoch=job.epoch, cost=cost, now=now)
