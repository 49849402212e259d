"""Keep what went wrong with an attempt, next to the campaign that it belongs to."""

from __future__ import annotations

from datetime import datetime

from pilothouse.campaigns.record import Incident
from pilothouse.fleet.job import Job, Report
from pilothouse.fleet.least_step import STEPS_LOST
from pilothouse.ids import CampaignName
from pilothouse.monitoring.response import Action, Response
from pilothouse.ports.store import Transaction


def note_incident(tx: Transaction, job: Job, *, report: Report, response: Response, now: datetime) -> None:
    """Store the diagnosis, its evidence and the response; a job of no stored campaign has them in its attempt alone.

    A report that nobody read from a log, such as a rescue's, has no evidence but its own words.
    """
    answer = f"{response.action.value}: {response.reason}"
    _keep(tx, job, diagnosis=report.outcome.value, evidence=report.evidence or report.detail, response=answer, now=now)


def note_lost_steps(tx: Transaction, job: Job, *, words: str, now: datetime) -> None:
    """Store that an attempt does steps again, in these words; the job's history has them as well."""
    answer = f"{Action.ACCEPT.value}: the job allows a fresh start"
    _keep(tx, job, diagnosis=STEPS_LOST, evidence=words, response=answer, now=now)


def _keep(tx: Transaction, job: Job, *, diagnosis: str, evidence: str, response: str, now: datetime) -> None:
    campaign = CampaignName(tx.jobs.spec(job.id).campaign)
    if tx.campaigns.get(job.product, campaign) is None:
        return
    tx.campaigns.add_incident(
        Incident(
            product=job.product,
            campaign=campaign,
            job=job.id,
            epoch=job.epoch,
            at=now,
            diagnosis=diagnosis,
            evidence=evidence,
            response=response,
        )
    )
