"""Decide where a job goes when its present attempt has ended, and send it there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from pilothouse.fleet.claim import NEEDS_MORE
from pilothouse.fleet.job import Attempt, Job, Outcome, Report, Ship
from pilothouse.fleet.retry import Allowance, Loss, allowance
from pilothouse.fleet.stages import Stage
from pilothouse.monitoring.response import Action, Response, respond
from pilothouse.operations.follow_graph import follow_graph
from pilothouse.operations.note_incident import note_incident
from pilothouse.operations.settle_cost import settle_report
from pilothouse.ports.store import Transaction


def end_attempt(tx: Transaction, job: Job, *, report: Report, now: datetime) -> Job | None:
    """Return the job after its present epoch has ended, or None when that epoch is over already.

    Whatever is neither a success nor asked for is kept as an incident. What the attempt has cost is settled, and
    whoever waits for the job is let go or fails with it.
    """
    if report.outcome is Outcome.SUCCEEDED:
        finished = tx.jobs.finish(job, stage=_after_success(tx, job), report=report, now=now)
    else:
        attempts = tx.jobs.attempts(job.id)
        history = Counter(attempt.outcome for attempt in attempts if attempt.outcome is not None)
        losses = _losses(attempts, now=now) if report.outcome is Outcome.LOST else ()
        response = respond(report.outcome, history, restarts=tx.jobs.spec(job.id).restarts, losses=losses)
        stage = _stage(response, report.outcome)
        finished = tx.jobs.finish(job, stage=stage, report=report, now=now)
        if finished is not None and report.outcome not in {Outcome.CANCELLED, Outcome.PREEMPTED}:
            note_incident(tx, job, report=report, response=response, now=now)
    if finished is not None:
        settle_report(tx, job, report=report, now=now)
        follow_graph(tx, finished, now=now)
    return finished


def _losses(attempts: Sequence[Attempt], *, now: datetime) -> Sequence[Loss]:
    """Return every attempt whose factory vanished, with what was last seen of it; the last one has no end yet."""
    return [
        Loss(
            factory=attempt.factory,
            epoch=attempt.epoch,
            at=attempt.ended_at or now,
            last_seen="" if attempt.progress is None else f"step {attempt.progress.step}",
            progressed=attempt.progress is not None and attempt.progress.checkpoint_step is not None,
        )
        for attempt in attempts
        if attempt.outcome in {None, Outcome.LOST}
    ]


def _after_success(tx: Transaction, job: Job) -> Stage:
    """Return where a success goes: to its reviewers, to whoever ships it, or out."""
    if not job.marks & NEEDS_MORE:
        return Stage.SHIPPED
    spec = tx.jobs.spec(job.id)
    if spec.approvals:
        return Stage.REVIEW
    return Stage.TESTING if spec.ship is Ship.MANUAL else Stage.SHIPPED


def _stage(response: Response, outcome: Outcome) -> Stage:
    """Return where the response sends the job; one that was only ever interrupted has not failed."""
    match response.action:
        case Action.ACCEPT:
            return Stage.SHIPPED
        case Action.RESTART | Action.REQUEUE:
            return Stage.QUEUED
        case Action.CLOSE:
            return Stage.CANCELLED
        case Action.FAIL:
            return Stage.FAILED if allowance(outcome) is Allowance.FAILURES else Stage.DEAD_LETTER
        case _:
            assert_never(response.action)
