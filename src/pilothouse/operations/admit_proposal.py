"""Bring a proposal to the gate; if it opens, the proposal becomes a running trial."""

from __future__ import annotations

from datetime import datetime

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.flywheel import applied_config
from pilothouse.campaigns.record import Campaign, Trial, TrialState
from pilothouse.operations.draft_proposal import subject_of
from pilothouse.ports.store import Transaction
from pilothouse.proposals.gate import admit
from pilothouse.proposals.proposal import Approval, Proposal, State

WAIVER_SCOPE = "*"


def admit_proposal(
    tx: Transaction, proposal: Proposal, *, definition: Definition, campaign: Campaign, code_commit: str, now: datetime
) -> Trial:
    """Return the trial that begins; raise `NotApproved` when nothing covers the subject as it is now.

    The subject is taken anew at this moment, so an approval given before the code, the golden set or the ceiling
    changed does not count.
    """
    subject = subject_of(tx, definition, campaign, config=proposal.config, code_commit=code_commit)
    approvals = [*tx.proposals.approvals(campaign.product, campaign.name), *_waiver(definition, campaign, now)]
    admit(proposal.id, subject.digest(), approvals, now=now)
    tx.proposals.move(campaign.product, proposal.id, state=State.ADMITTED, refusal="")
    trial = Trial(
        product=campaign.product,
        campaign=campaign.name,
        number=proposal.number,
        proposal=proposal.id,
        config=applied_config(definition, proposal),
        state=TrialState.RUNNING,
        started_at=now,
        ended_at=None,
        verdict=None,
        metrics={},
        seconds={},
    )
    tx.campaigns.put_trial(trial)
    tx.campaigns.configure(campaign.product, campaign.name, config=proposal.config)
    return trial


def _waiver(definition: Definition, campaign: Campaign, now: datetime) -> tuple[Approval, ...]:
    """Return the waiver that the campaign file records, if it does."""
    gate = definition.gate
    if gate.approval != "waived":
        return ()
    return (
        Approval(
            product=campaign.product,
            campaign=campaign.name,
            subject_digest=WAIVER_SCOPE,
            approver=gate.waived_by,
            waiver=True,
            reason=gate.reason,
            granted_at=now,
            expires_at=datetime.fromisoformat(gate.expires) if gate.expires is not None else None,
        ),
    )
