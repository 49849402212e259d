"""Bring a proposal to the gate; if it opens, the proposal becomes a running trial."""

from __future__ import annotations

from datetime import datetime

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.record import Campaign, Trial, TrialState
from pilothouse.campaigns.wanted import applied_config
from pilothouse.operations.draft_proposal import subject_of
from pilothouse.ports.store import Transaction
from pilothouse.proposals.gate import EVERY_SUBJECT, admit, drift
from pilothouse.proposals.proposal import Approval, Proposal, State, Subject


def admit_proposal(
    tx: Transaction, proposal: Proposal, *, definition: Definition, campaign: Campaign, code_commit: str, now: datetime
) -> Trial | None:
    """Return the trial that begins; raise `NotApproved` when nothing covers the proposal.

    The subject is taken anew at this moment. If it is not the one that was proposed, the proposal is rejected with
    what has drifted, None is returned, and the loop drafts another: an approval never covers what nobody has seen.
    """
    subject = subject_of(tx, definition, campaign, config=proposal.config, code_commit=code_commit)
    if reject_drifted(tx, proposal, subject):
        return None
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
    return trial


def recheck_open_trial(tx: Transaction, definition: Definition, campaign: Campaign, *, code_commit: str) -> None:
    """Reject the admitted proposal of an open trial if what it was bound to has drifted since; the loop drafts another.

    Asked once when a person starts the loop, which is when code and file are changed on purpose.
    """
    open_numbers = {
        trial.number
        for trial in tx.campaigns.trials(campaign.product, campaign.name)
        if trial.state is TrialState.RUNNING
    }
    newest = {each.number: each for each in tx.proposals.listed(campaign.product, campaign.name)}
    for number in open_numbers & newest.keys():
        proposal = newest[number]
        subject = subject_of(tx, definition, campaign, config=proposal.config, code_commit=code_commit)
        if proposal.state is State.ADMITTED:
            reject_drifted(tx, proposal, subject)


def reject_drifted(tx: Transaction, proposal: Proposal, subject: Subject) -> bool:
    """Reject the proposal if it is bound to another subject than this one; say whether it was."""
    drifted = drift(proposal.subject, subject)
    if drifted:
        refusal = f"drifted since it was drafted: {', '.join(drifted)}"
        tx.proposals.move(proposal.product, proposal.id, state=State.REJECTED, refusal=refusal)
    return bool(drifted)


def _waiver(definition: Definition, campaign: Campaign, now: datetime) -> tuple[Approval, ...]:
    """Return the waiver that the campaign file records, if it does."""
    gate = definition.gate
    if gate.approval != "waived":
        return ()
    return (
        Approval(
            product=campaign.product,
            campaign=campaign.name,
            subject_digest=EVERY_SUBJECT,
            approver=gate.waived_by,
            waiver=True,
            reason=gate.reason,
            granted_at=now,
            expires_at=datetime.fromisoformat(gate.expires) if gate.expires is not None else None,
        ),
    )
