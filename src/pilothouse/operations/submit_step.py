"""Hand a step of a campaign to the fleet; a training step is a run as well."""

from __future__ import annotations

from datetime import datetime

from pilothouse.campaigns.action import Submit
from pilothouse.campaigns.record import RUN_KINDS, Campaign, Run
from pilothouse.campaigns.steps import launch_key
from pilothouse.campaigns.wanted import WAITING
from pilothouse.fleet.job import Job, NewJob
from pilothouse.fleet.stages import ENDS
from pilothouse.ids import JobId, RunId
from pilothouse.operations.cancel import cancel
from pilothouse.operations.submit import submit
from pilothouse.ports.store import Transaction

POOL = "local"
OPEN_JOBS_MAX = 1000
"""More open jobs than this a loop never has: it wants the runs of one look, or of one calibration, at a time."""


def withdraw_waiting(tx: Transaction, *, campaign: Campaign, now: datetime) -> None:
    """Cancel whatever of the campaign waits in the queue; what runs already is left to end."""
    for job in tx.jobs.listed(campaign.product, campaign=campaign.name, limit=OPEN_JOBS_MAX):
        if job.stage in WAITING:
            cancel(tx, job.id, now=now, why="the budget is used up")


def submit_step(tx: Transaction, action: Submit, *, campaign: Campaign, job: JobId, now: datetime) -> Job:
    """Return the step's job; submitted twice it is the same one.

    Whatever else of the campaign still waits or runs, and is not wanted beside it, is superseded and cancelled.
    """
    new = NewJob(
        id=job,
        product=campaign.product,
        pool=POOL,
        key=launch_key(action.step.key, action.generation),
        spec=action.step.spec,
    )
    stored = submit(tx, new, now=now)
    beside = {step.key for step in action.beside}
    for other in tx.jobs.listed(campaign.product, campaign=campaign.name, limit=OPEN_JOBS_MAX):
        wanted = other.id == stored.id or other.key.rpartition("#")[0] in beside
        if not wanted and other.stage not in ENDS:
            cancel(tx, other.id, now=now)
    if stored.id == job and action.step.spec.kind in RUN_KINDS:
        tx.campaigns.add_run(
            Run(
                id=RunId(stored.id),
                product=campaign.product,
                campaign=campaign.name,
                trial=action.step.spec.trial,
                seed=action.step.spec.seed,
                job=stored.id,
            )
        )
    return stored
