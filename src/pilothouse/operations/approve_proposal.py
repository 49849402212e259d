"""Record a person's yes to exactly one subject."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pilothouse.errors import BadValue, Conflict, NotFound
from pilothouse.fleet.duration import parse_duration
from pilothouse.ids import ProductId, ProposalId
from pilothouse.operations.note_gate import note_decision
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import Approval, Proposal, State


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """Who approves which proposal, why, and for how long (a duration such as `12h`)."""

    proposal: str
    approver: str
    reason: str
    expires_in: str


def find_proposal(tx: Transaction, product: ProductId, proposal: str) -> Proposal:
    """Return the product's proposal of that id, or raise `NotFound`."""
    found = tx.proposals.get(product, ProposalId(proposal))
    if found is None:
        raise NotFound(f"there is no proposal {proposal!r}", fix="`pilothouse proposal list` shows their ids")
    return found


def approve_proposal(tx: Transaction, request: ApprovalRequest, *, product: ProductId, now: datetime) -> Approval:
    """Return the approval as recorded; one of a proposal that is not open is refused."""
    proposal = find_proposal(tx, product, request.proposal)
    if proposal.state is not State.OPEN:
        raise Conflict(
            f"proposal {proposal.id} is {proposal.state.value} already",
            fix="approve an open one: `pilothouse proposal list`",
        )
    try:
        seconds = parse_duration(request.expires_in)
    except ValueError as error:
        raise BadValue(str(error), fix="write --expires-in 12h, for example") from error
    approval = Approval(
        product=product,
        campaign=proposal.campaign,
        subject_digest=proposal.subject.digest(),
        approver=request.approver,
        waiver=False,
        reason=request.reason,
        granted_at=now,
        expires_at=now + timedelta(seconds=seconds),
    )
    tx.proposals.approve(approval)
    until = approval.expires_at.isoformat(timespec="seconds") if approval.expires_at is not None else ""
    note_decision(
        tx,
        proposal,
        decided="approved",
        by=approval.approver,
        why=approval.reason,
        evidence={"expires_at": until},
        now=now,
    )
    return approval
