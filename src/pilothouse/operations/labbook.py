"""Gather a campaign's labbook: its entries, what a guardrail refused, and what went wrong with its jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pilothouse.campaigns.record import Campaign
from pilothouse.ids import ProposalId
from pilothouse.logbook.labbook import LabbookLine, line_of, render_labbook
from pilothouse.operations.draft_proposal import changes_words
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import Proposal, State


def labbook_markdown(tx: Transaction, campaign: Campaign) -> str:
    """Return the page; a campaign of which nothing is recorded yet has an empty one."""
    return render_labbook(campaign.name, _lines(tx, campaign))


def _lines(tx: Transaction, campaign: Campaign) -> Iterator[LabbookLine]:
    product, name = campaign.product, campaign.name
    proposals = {each.id: each for each in tx.proposals.listed(product, name)}
    for entry in tx.entries.thread(product, name):
        yield line_of(entry, changes=_changes(proposals, entry.body.evidence.get("proposal")))
    for proposal in proposals.values():
        if proposal.state is State.REJECTED:
            yield _refused(proposal)
    for incident in tx.campaigns.incidents(product, name):
        yield LabbookLine(
            at=incident.at,
            action=f"{incident.job}, attempt {incident.epoch}",
            observation=incident.evidence,
            outcome=f"incident: {incident.diagnosis}",
            next=incident.response,
        )


def _changes(proposals: Mapping[ProposalId, Proposal], proposal: object) -> str:
    """Return what the proposal moved and who proposed it; empty where no proposal is named."""
    found = proposals.get(ProposalId(proposal)) if isinstance(proposal, str) else None
    return "" if found is None else f"{changes_words(found.changes) or 'unchanged'} ({found.source})"


def _refused(proposal: Proposal) -> LabbookLine:
    return LabbookLine(
        at=proposal.created_at,
        action=f"proposal {proposal.number}: {changes_words(proposal.changes) or 'no change'} ({proposal.source})",
        observation=proposal.refusal,
        outcome="refused",
        next="another proposal",
    )
