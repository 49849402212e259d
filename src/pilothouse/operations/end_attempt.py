"""Decide where a job goes when its present attempt has ended, and send it there."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import assert_never

from pilothouse.fleet.job import Job, Outcome, Report
from pilothouse.fleet.retry import Allowance, allowance
from pilothouse.fleet.stages import Stage
from pilothouse.monitoring.response import Action, Response, respond
from pilothouse.operations.note_incident import note_incident
from pilothouse.ports.store import Transaction


def end_attempt(tx: Transaction, job: Job, *, report: Report, now: datetime) -> Job | None:
    """Return the job after its present epoch has ended, or None when that epoch is over already.

    Whatever is neither a success nor asked for is kept as an incident.
    """
    if report.outcome is Outcome.SUCCEEDED:
        return tx.jobs.finish(job.id, epoch=job.epoch, stage=Stage.SHIPPED, report=report, now=now)
    history = Counter(attempt.outcome for attempt in tx.jobs.attempts(job.id) if attempt.outcome is not None)
    response = respond(report.outcome, history, restarts=tx.jobs.spec(job.id).restarts)
    stage = _stage(response, report.outcome)
    finished = tx.jobs.finish(job.id, epoch=job.epoch, stage=stage, report=report, now=now)
    if finished is not None and report.outcome not in {Outcome.CANCELLED, Outcome.PREEMPTED}:
        note_incident(tx, job, report=report, response=response, now=now)
    return finished


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
