"""Hand a job to the fleet, once per key."""

from __future__ import annotations

from datetime import datetime

from pilothouse.errors import KeyReused
from pilothouse.fleet.job import Job, NewJob
from pilothouse.fleet.stages import Stage
from pilothouse.ports.store import Transaction


def submit(tx: Transaction, new: NewJob, *, now: datetime) -> Job:
    """Return the job under this key: the stored one when it has the same spec, else a new one in the queue."""
    stored = tx.jobs.by_key(new.product, new.key)
    if stored is None:
        return tx.jobs.insert(new, stage=Stage.QUEUED, now=now)
    if tx.jobs.spec(stored.id).digest() != new.spec.digest():
        raise KeyReused(
            f"the key {new.key!r} belongs to job {stored.id}, whose spec is another one",
            fix="take a new key for the new spec, or send the first spec again",
        )
    return stored
