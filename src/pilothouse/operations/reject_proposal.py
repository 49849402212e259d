"""Record a person's no, with its reason: the loop drafts another, and whoever proposes next is told why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pilothouse.access.audit import Actor
from pilothouse.errors import BadValue, Conflict
from pilothouse.ids import ProductId
from pilothouse.operations.approve_proposal import find_proposal
from pilothouse.operations.ferry_withdraw import withdraw_proposal
from pilothouse.operations.note_gate import note_decision
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import Proposal, State

REASON_CHARACTERS = 2000
BY_A_PERSON = "rejected by "
"""How the refusal begins of a proposal to which a person has said no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Who says no to which proposal, and why."""

    proposal: str
    by: Actor
    reason: str


def reject_proposal(tx: Transaction, rejection: Rejection, *, product: ProductId, now: datetime) -> Proposal:
    """Return the proposal that was rejected; one that is not open is a `Conflict`, a no without a reason `BadValue`."""
    reason = " ".join(rejection.reason.split())
    if not reason or len(reason) > REASON_CHARACTERS:
        raise BadValue(
            "a rejection needs a reason" if not reason else f"the reason has {len(reason)} characters",
            fix=f'write --reason "…", at most {REASON_CHARACTERS} characters: whoever proposes next is told',
        )
    proposal = find_proposal(tx, product, rejection.proposal)
    refusal = f"{BY_A_PERSON}{rejection.by.name}: {reason}"
    if not tx.proposals.move(product, proposal.id, state=State.REJECTED, refusal=refusal):
        raise Conflict(
            f"proposal {proposal.id} is {find_proposal(tx, product, rejection.proposal).state.value} already",
            fix="only an open one can be rejected; end a running campaign with `pilothouse campaign stop`",
        )
    withdraw_proposal(tx, proposal, why=refusal, now=now)
    note_decision(tx, proposal, decided="rejected", by=rejection.by, why=reason, evidence={}, now=now)
    return proposal
