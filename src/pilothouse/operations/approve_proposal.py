"""Record a person's yes to exactly one subject."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pilothouse.access.audit import Actor
from pilothouse.campaigns.kinds import definition_of
from pilothouse.campaigns.record import Campaign
from pilothouse.errors import BadValue, Conflict, NotFound, Refused
from pilothouse.ids import ProductId, ProposalId
from pilothouse.operations.note_gate import note_decision
from pilothouse.ports.store import Transaction
from pilothouse.proposals.lasting import lasting
from pilothouse.proposals.proposal import Approval, Proposal, State


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """Who approves which proposal, why, and for how long (a duration such as `12h`)."""

    proposal: str
    approver: Actor
    reason: str
    expires_in: str


def find_proposal(tx: Transaction, product: ProductId, proposal: str) -> Proposal:
    """Return the product's proposal of that id, or raise `NotFound`."""
    found = tx.proposals.get(product, ProposalId(proposal))
    if found is None:
        raise NotFound(f"there is no proposal {proposal!r}", fix="`pilothouse proposal list` shows their ids")
    return found


def check_approver(campaign: Campaign, name: str) -> None:
    """Raise `Refused` for somebody whose yes would not count, where the campaign's file names those whose does."""
    if not definition_of(campaign.definition).may_approve(name):
        raise Refused(
            f"{name} is none of those whom the file of {campaign.name} lets approve", fix="ask one of them to say yes"
        )


def approve_proposal(tx: Transaction, request: ApprovalRequest, *, product: ProductId, now: datetime) -> Approval:
    """Return the approval as recorded; a proposal that is not open is a `Conflict`, no name or end a `BadValue`.

    Somebody whom the campaign's file does not let approve is `Refused`.
    """
    proposal = find_proposal(tx, product, request.proposal)
    if proposal.state is not State.OPEN:
        why = f": {proposal.refusal}" if proposal.refusal else ""
        raise Conflict(
            f"proposal {proposal.id} is {proposal.state.value} already{why}",
            fix="approve an open one: `pilothouse proposal list`",
        )
    who = request.approver.name.strip()
    if not who:
        raise BadValue("an approval needs the name of who gives it", fix="write --by NAME")
    campaign = tx.campaigns.get(product, proposal.campaign)
    assert campaign is not None, f"proposal {proposal.id} belongs to a stored campaign"
    check_approver(campaign, who)
    approval = Approval(
        product=product,
        campaign=proposal.campaign,
        subject_digest=proposal.subject.digest(),
        approver=who,
        waiver=False,
        reason=" ".join(request.reason.split()),
        granted_at=now,
        expires_at=now + lasting(request.expires_in, what="an approval"),
    )
    tx.proposals.approve(approval)
    until = approval.expires_at.isoformat(timespec="seconds") if approval.expires_at is not None else ""
    note_decision(
        tx,
        proposal,
        decided="approved",
        by=replace(request.approver, name=who),
        why=approval.reason,
        evidence={"expires_at": until},
        now=now,
    )
    return approval
