"""Read from the history what a fleet has done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pilothouse.fleet.job import Job
from pilothouse.fleet.stages import ENDS, Stage
from pilothouse.fleet.what_if import Held, Recorded
from pilothouse.ids import ProductId
from pilothouse.ports.store import Transaction

PAGE = 1000


def recorded_jobs(tx: Transaction, product: ProductId) -> tuple[Sequence[Recorded], int]:
    """Return the product's jobs that have run and ended, oldest first, and how many others there are."""
    found, others = [], 0
    for job in _every_job(tx, product):
        recorded = _recorded(tx, job) if job.stage in ENDS else None
        if recorded is None:
            others += 1
        else:
            found.append(recorded)
    return found[::-1], others


def _every_job(tx: Transaction, product: ProductId) -> Iterator[Job]:
    page = tx.jobs.listed(product, limit=PAGE)
    while page:
        yield from page
        page = tx.jobs.listed(product, before=page[-1].number, limit=PAGE)


def _recorded(tx: Transaction, job: Job) -> Recorded | None:
    """Return a job with its attempts, or None if nobody ever held it."""
    held = [
        Held(since=attempt.claimed_at, until=attempt.ended_at)
        for attempt in tx.jobs.attempts(job.id)
        if attempt.ended_at is not None
    ]
    ready = next((event.at for event in tx.jobs.events(job.id) if event.stage is Stage.QUEUED), None)
    if not held or ready is None:
        return None
    return Recorded(
        number=job.number,
        priority=job.priority,
        seats=job.seats,
        timeout_seconds=tx.jobs.spec(job.id).timeout_seconds,
        ready_at=ready,
        attempts=tuple(held),
        preemptions=job.preemptions,
    )
