"""Hold a ferry's attempt back when the code is no longer what the gate let through.

The loop looks before it launches. An attempt that comes later, after a kill or a restart, or when a seat is free at
last, would run whatever lies in the folder by then.
"""

from __future__ import annotations

from pilothouse.fleet.job import Outcome, Report
from pilothouse.ids import CampaignName
from pilothouse.operations.ferry_withdraw import KIND
from pilothouse.ports.dispatch import Offer
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import State


def approved_commit(tx: Transaction, offer: Offer) -> str | None:
    """Return the commit that a ferry's run was approved with, None for a job of anything else.

    It is empty, which no commit is, where the yes was taken back or drifted since.
    """
    campaign = tx.campaigns.get(offer.product, CampaignName(offer.spec.campaign))
    if campaign is None or campaign.kind != KIND:
        return None
    proposals = tx.proposals.listed(campaign.product, campaign.name, least=offer.spec.trial)
    standing = [each for each in proposals if each.number == offer.spec.trial and each.state is State.ADMITTED]
    return standing[-1].subject.code_commit if standing else ""


def code_changed(approved: str, present: str) -> Report:
    """Return the end of an attempt that was not started, since nobody has approved the code that is there."""
    yes = f"the yes was for {approved}" if approved else "no yes stands"
    return Report(
        outcome=Outcome.CODE_CHANGED,
        detail=f"the code is {present}, and {yes}; the program was not started",
        exit_code=None,
        metrics={},
        artifacts=(),
        seconds=0.0,
    )
