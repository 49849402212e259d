"""Hand jobs to a session: what was decided is stored, and what a factory needs to run them is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from pilothouse.campaigns.steps import generation_of
from pilothouse.fleet.claim import Grant, attempt_folder
from pilothouse.fleet.job import Attempt, Handed
from pilothouse.fleet.least_step import LeastStep, least_step
from pilothouse.ids import Epoch, JobId, JobNumber, ProductId
from pilothouse.operations.campaign_facts import launches_of
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
    least: LeastStep | None = None


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
    identity, product, key, spec = handed[number]
    # The first attempt of the first generation has nothing before it, which is the common case and saves the queries.
    earlier: Sequence[Attempt] = ()
    if _has_earlier(key, epoch):
        earlier = earlier_attempts(begun.tx, identity, product=product, key=key, epoch=epoch)
    # One that never started has left nothing to resume.
    folders = tuple(attempt.folder for attempt in reversed(earlier) if attempt.started_at is not None)
    return Handover(
        number, identity, epoch, product, key, spec, attempt_folder(identity, epoch), folders, least_step(earlier)
    )


def earlier_attempts(tx: Transaction, job: JobId, *, product: ProductId, key: str, epoch: Epoch) -> Sequence[Attempt]:
    """Return the attempts before this epoch, oldest first, those of the other jobs of the same step before its own.

    A step's key without its generation names everything that decides its outcome, so its checkpoints may be resumed.
    """
    if not _has_earlier(key, epoch):
        return ()
    step, _, _ = key.rpartition("#")
    own = [attempt for attempt in tx.jobs.attempts(job) if attempt.epoch < epoch] if epoch > 1 else []
    if not step or not generation_of(key):
        return own
    others = [other for other in launches_of(tx, product, step) if other.id != job]
    return [attempt for other in others for attempt in tx.jobs.attempts(other.id)] + own


def _has_earlier(key: str, epoch: Epoch) -> bool:
    return epoch > 1 or ("#" in key and key[-2:] != "#0")
