"""What a person may do to a job: ship it, send it back, give it up, and approve or decline what it has made.

Each of them raises the epoch, so that whoever still holds the job is fenced. `expected` is the epoch that the person
has seen; a job that has moved on since is `Conflict`.
"""

from __future__ import annotations

from datetime import datetime

from pilothouse.errors import Conflict
from pilothouse.fleet.job import Job, Review, Ship
from pilothouse.fleet.review import Quorum, check_reviewer, quorum
from pilothouse.fleet.stages import ENDS, LEASED, Stage
from pilothouse.ids import Epoch, JobId, ProductId
from pilothouse.operations.cancel import cancel
from pilothouse.operations.find_job import find_job
from pilothouse.operations.follow_graph import follow_graph
from pilothouse.operations.settle_cost import settle_elapsed
from pilothouse.ports.store import Transaction

_MADE = frozenset({Stage.REVIEW, Stage.TESTING})


def seen_job(tx: Transaction, product: ProductId, job: JobId, *, expected: Epoch | None) -> Job:
    """Return the product's job if it is still at the epoch that was seen."""
    found = find_job(tx, job, product=product)
    if expected is not None and found.epoch != expected:
        raise Conflict(
            f"job {job} is {found.stage.value} at epoch {found.epoch}, not at epoch {expected} any more",
            fix="look at it again, and decide anew",
        )
    return found


def ship(tx: Transaction, job: Job, *, by: str, now: datetime) -> Job:
    """Return the job as shipped; only one whose attempt has succeeded and was approved can be."""
    if job.stage is not Stage.TESTING:
        raise _cannot(job, "shipped", allowed="one in testing", fix=_SHIP_FIXES.get(job.stage, "wait for its success"))
    return _move(tx, job, stage=Stage.SHIPPED, now=now, why=f"shipped by {by}")


def requeue(tx: Transaction, job: Job, *, by: str, reason: str, now: datetime) -> Job:
    """Return the job in the queue again; its next attempt resumes from what the last one has saved."""
    why = f"requeued by {by}: {reason}" if reason else f"requeued by {by}"
    if job.stage in LEASED:
        return _take(tx, job, stage=Stage.QUEUED, now=now, why=why)
    if job.stage in _MADE:
        return _move(tx, job, stage=Stage.QUEUED, now=now, why=why)
    raise _cannot(job, "requeued", allowed="one that runs or has run", fix="submit it again under a new key")


def reject(tx: Transaction, job: Job, *, by: str, reason: str, now: datetime) -> Job:
    """Return the job as dead letter: a person has given it up."""
    if job.stage in ENDS:
        raise _cannot(job, "rejected", allowed="one that has not ended", fix="nothing is left to reject")
    return _take(tx, job, stage=Stage.DEAD_LETTER, now=now, why=f"rejected by {by}: {reason}".removesuffix(": "))


def withdraw(tx: Transaction, job: Job, *, by: str, reason: str, now: datetime) -> Job:
    """Return the job as cancelled."""
    return cancel(tx, job.id, now=now, why=f"cancelled by {by}: {reason}".removesuffix(": "))


def decide(tx: Transaction, job: Job, *, reviewer: str, approved: bool, reason: str, now: datetime) -> Job:
    """Return the job after a reviewer's decision: enough approvals take it to testing, a no sends it back."""
    if job.stage is not Stage.REVIEW:
        raise _cannot(job, "reviewed", allowed="one in review", fix="wait until its attempt has succeeded")
    spec = tx.jobs.spec(job.id)
    check_reviewer(reviewer, reviewers=spec.reviewers)
    tx.jobs.review(Review(job=job.number, epoch=job.epoch, reviewer=reviewer, approved=approved, reason=reason, at=now))
    match quorum(tx.jobs.reviews(job), approvals=spec.approvals, reviewers=spec.reviewers):
        case Quorum.REJECTED:
            return _move(tx, job, stage=Stage.QUEUED, now=now, why=f"declined by {reviewer}: {reason}")
        case Quorum.APPROVED:
            tested = _move(tx, job, stage=Stage.TESTING, now=now, why=f"approved, last by {reviewer}")
            if spec.ship is Ship.MANUAL:
                return tested
            return _move(tx, tested, stage=Stage.SHIPPED, now=now, why="approved by all who had to")
        case Quorum.WAITING:
            return job


def _move(tx: Transaction, job: Job, *, stage: Stage, now: datetime, why: str) -> Job:
    moved = tx.jobs.move(job, stage=stage, now=now, why=why)
    assert moved is not None, f"job {job.id} was read at epoch {job.epoch} in this same transaction"
    follow_graph(tx, moved, now=now)
    return moved


def _take(tx: Transaction, job: Job, *, stage: Stage, now: datetime, why: str) -> Job:
    settle_elapsed(tx, job, now=now)
    taken = tx.jobs.cancel(job, stage=stage, now=now, why=why)
    assert taken is not None, f"job {job.id} was read at epoch {job.epoch} in this same transaction"
    follow_graph(tx, taken, now=now)
    return taken


_SHIP_FIXES = {
    Stage.REVIEW: "let its reviewers approve it first",
    Stage.SHIPPED: "nothing is left to do",
}


def _cannot(job: Job, verb: str, *, allowed: str, fix: str) -> Conflict:
    return Conflict(f"job {job.id} cannot be {verb}: it is {job.stage.value}, and only {allowed} can be", fix=fix)
