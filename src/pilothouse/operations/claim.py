"""Hand jobs to a session: what was decided is stored, and what a factory needs to run them is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from pilothouse.fleet.claim import Grant, attempt_folder
from pilothouse.fleet.job import Attempt, Handed, Job
from pilothouse.ids import Epoch, JobId, JobNumber, ProductId
from pilothouse.ports.store import Transaction


class Handover(NamedTuple):
    """What goes to a factory; `spec` is the stored text, which only whoever runs the job decodes."""

    number: JobNumber
    job: JobId
    epoch: Epoch
    product: ProductId
    key: str
    spec: str
    folder: str
    earlier_folders: tuple[str, ...] = ()


def assign(
    tx: Transaction, grants: Sequence[Grant], *, now: datetime, why: str = ""
) -> tuple[Sequence[Handover], Sequence[JobNumber]]:
    """Return what is handed over, and the jobs that are no longer where the grants expected them."""
    missed = tx.jobs.assign(grants, now=now, why=why)
    gone = set(missed)
    kept = [grant for grant in grants if grant.number not in gone] if gone else grants
    handed = tx.jobs.handed([grant.number for grant in kept])
    begun = _Begun(tx)
    return [hand_over(begun, grant.number, grant.epoch, handed) for grant in kept], missed


class _Begun(NamedTuple):
    tx: Transaction


class Reading(Protocol):
    """What has a transaction, or begins one when it is asked for it."""

    @property
    def tx(self) -> Transaction:
        """The transaction."""
        ...


def hand_over(begun: Reading, number: JobNumber, epoch: Epoch, handed: Mapping[JobNumber, Handed]) -> Handover:
    """Return what a factory is handed for an attempt; only one that has something before it needs to read."""
    job = handed[number]
    identity, product, key, spec = job
    # The first attempt of the first generation has nothing before it, which is the common case and saves the queries.
    earlier = () if epoch == 1 and (key[-2:] == "#0" or "#" not in key) else _earlier_folders(begun, job, epoch=epoch)
    return Handover(number, identity, epoch, product, key, spec, attempt_folder(identity, epoch), earlier)


def _earlier_folders(begun: Reading, job: Handed, *, epoch: Epoch) -> tuple[str, ...]:
    """Return where earlier attempts ran, newest first, those of earlier jobs of the same step included.

    A step's key without its generation names everything that decides its outcome, so its checkpoints may be resumed.
    """
    step, _, generation = job.key.rpartition("#")
    own = _started_folders(begun.tx.jobs.attempts(job.id)) if epoch > 1 else ()
    if not step or generation in {"", "0"}:
        return own
    others = [other for other in begun.tx.jobs.keys_like(job.product, f"{step}#") if other.id != job.id]
    return own + _folders_of(begun.tx, others)


def _folders_of(tx: Transaction, jobs: Sequence[Job]) -> tuple[str, ...]:
    return tuple(folder for job in reversed(jobs) for folder in _started_folders(tx.jobs.attempts(job.id)))


def _started_folders(attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """Return where earlier attempts ran, newest first; one that never started has left nothing to resume."""
    return tuple(attempt.folder for attempt in reversed(attempts) if attempt.started_at is not None)
