"""Close the pull request of a ferry's proposal that is no longer open, with its reason, wherever it is published."""

from __future__ import annotations

from datetime import datetime

from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_letters import request_name, withdrawal_letters
from pilothouse.campaigns.ferry_record import Ferry
from pilothouse.campaigns.kinds import definition_of
from pilothouse.campaigns.record import Campaign
from pilothouse.logbook.letter import GITHUB
from pilothouse.operations.ferry_post import post_all, sender_of
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import Proposal

KIND = "ferry"
REVISION = "revision"
"""Where a ferry keeps which of its pull requests its newest proposal is, counted from 1."""


def revision_of(ferry: Ferry) -> int:
    """Return which of its pull requests tells of a ferry's newest proposal, 0 for one that did not keep it."""
    kept = ferry.considered.get(REVISION)
    return kept if isinstance(kept, int) else 0


def withdraw_proposal(tx: Transaction, proposal: Proposal, *, why: str, now: datetime) -> None:
    """Post that a ferry's newest proposal is closed; of any other kind of campaign nothing was opened."""
    campaign = tx.campaigns.get(proposal.product, proposal.campaign)
    assert campaign is not None, f"proposal {proposal.id} is of a campaign that is not there"
    if campaign.kind != KIND:
        return
    definition = definition_of(campaign.definition)
    assert isinstance(definition, FerryDefinition), f"campaign {campaign.name} is kept as a ferry"
    for ferry in tx.ferries.listed(campaign.product, campaign.name, least=proposal.number):
        if ferry.number == proposal.number:
            withdraw_request(tx, definition, campaign, ferry, proposal, why=why, now=now)


def withdraw_request(
    tx: Transaction,
    definition: FerryDefinition,
    campaign: Campaign,
    ferry: Ferry,
    proposal: Proposal,
    *,
    why: str,
    now: datetime,
) -> None:
    """Post that the pull request of this proposal is closed, once; where none was posted there is nothing to close."""
    revision = revision_of(ferry)
    if tx.outbox.by_key(campaign.product, GITHUB, f"{ferry.run}/{request_name(revision)}") is None:
        return
    sender = sender_of(definition, campaign, ferry.run)
    post_all(tx, withdrawal_letters(sender, revision=revision, proposal=proposal.id, why=why), now=now)


def withdraw_earlier(
    tx: Transaction,
    definition: FerryDefinition,
    campaign: Campaign,
    ferry: Ferry | None,
    proposal: Proposal | None,
    *,
    by: str,
    now: datetime,
) -> None:
    """Post that the pull request of the draft before is closed, since another proposal takes its place."""
    if ferry is None or proposal is None:
        return
    stored = tx.proposals.get(campaign.product, proposal.id)
    why = stored.refusal if stored is not None and stored.refusal else f"superseded by {by}"
    withdraw_request(tx, definition, campaign, ferry, proposal, why=why, now=now)
