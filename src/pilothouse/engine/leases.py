"""The leases that are out, in memory, so that a sweep asks the database only about those that may be rescued."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime

from pilothouse.fleet.job import Job
from pilothouse.fleet.lease import Lease, expired, miss_beat
from pilothouse.fleet.stages import LEASED
from pilothouse.ids import JobId


class Leases:
    """Every held lease with the beats it has missed. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[JobId, Lease] = {}

    def __len__(self) -> int:
        """How many leases are out."""
        return len(self._held)

    def note(self, jobs: Iterable[Job]) -> None:
        """Take in the leases of jobs that are held, each as freshly heard of, and forget those of the others."""
        with self._lock:
            for job in jobs:
                if job.stage in LEASED and job.lease_expires_at is not None:
                    self._held[job.id] = Lease(job=job.id, epoch=job.epoch, expires_at=job.lease_expires_at)
                else:
                    self._held.pop(job.id, None)

    def sweep(self, *, now: datetime) -> Sequence[Lease]:
        """Count a missed beat for every lease that nobody has renewed since the last sweep; return the expired ones."""
        with self._lock:
            self._held = {job: miss_beat(lease) for job, lease in self._held.items()}
            return [lease for lease in self._held.values() if expired(lease, now=now)]
