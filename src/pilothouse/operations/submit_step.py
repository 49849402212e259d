"""Hand a step of a campaign to the fleet; a training step is a run as well."""

from __future__ import annotations

from datetime import datetime

from pilothouse.campaigns.flywheel import Submit
from pilothouse.campaigns.record import Campaign, Run
from pilothouse.fleet.job import Job, NewJob
from pilothouse.ids import JobId, RunId
from pilothouse.operations.submit import submit
from pilothouse.ports.store import Transaction

POOL = "local"
RUN_KINDS = frozenset({"train"})
"""Executions with a seed whose result is judged; making data and scoring it are jobs, but no runs."""


def submit_step(tx: Transaction, action: Submit, *, campaign: Campaign, job: JobId, run: RunId, now: datetime) -> Job:
    """Return the step's job; submitted twice it is the same one."""
    new = NewJob(
        id=job,
        product=campaign.product,
        pool=POOL,
        key=f"{action.step.key}#{action.generation}",
        spec=action.step.spec,
    )
    stored = submit(tx, new, now=now)
    if stored.id == job and action.step.spec.kind in RUN_KINDS:
        tx.campaigns.add_run(
            Run(
                id=run,
                product=campaign.product,
                campaign=campaign.name,
                trial=action.step.spec.trial,
                seed=action.step.spec.seed,
                job=stored.id,
            )
        )
    return stored
