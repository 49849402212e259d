"""Stop a run that has no chance left, with the reason as an incident, in one transaction."""

from __future__ import annotations

from datetime import datetime

from pilothouse.campaigns.arms import DOOMED
from pilothouse.campaigns.record import Campaign, Incident
from pilothouse.fleet.stages import ENDS
from pilothouse.ids import JobId
from pilothouse.operations.cancel import cancel
from pilothouse.operations.find_job import find_job
from pilothouse.ports.store import Transaction


def stop_doomed(tx: Transaction, campaign: Campaign, job: JobId, *, why: str, now: datetime) -> bool:
    """Cancel the run and keep why; say whether it was stopped: one that has ended is left alone, its result counts."""
    found = find_job(tx, job)
    if found.stage in ENDS:
        return False
    tx.campaigns.add_incident(
        Incident(
            product=campaign.product,
            campaign=campaign.name,
            job=job,
            epoch=found.epoch,
            at=now,
            diagnosis=DOOMED,
            evidence=why,
            response="stopped: even at its lucky end the look would give up",
        )
    )
    cancel(tx, job, now=now, why=f"no chance left: {why}")
    return True
