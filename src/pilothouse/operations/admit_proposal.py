"""Bring a proposal to the gate; if it opens, the proposal becomes a running trial."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.record import Campaign, Trial, TrialState
from pilothouse.campaigns.wanted import applied_config
from pilothouse.canonical import digest
from pilothouse.errors import BadValue, NotApproved, OutOfRange
from pilothouse.knobs.delta import Change
from pilothouse.knobs.knob import check
from pilothouse.operations.draft_proposal import risk_of, subject_of
from pilothouse.operations.reject_proposal import BY_A_PERSON
from pilothouse.ports.store import Transaction
from pilothouse.proposals.gate import DRIFTED, EVERY_SUBJECT, OVERTAKEN, Admitted, admit, drift, is_valid
from pilothouse.proposals.proposal import BY_HAND, Approval, Proposal, Risk, State, Subject
from pilothouse.proposals.waiver import Admission, Moves, Terms, Waiver

Looked: TypeAlias = Admitted | str
"""What the gate says: it is open, or why the proposal is to be rejected."""


def admit_proposal(
    tx: Transaction, proposal: Proposal, *, definition: Definition, campaign: Campaign, code_commit: str, now: datetime
) -> Trial | None:
    """Return the trial that begins; raise `NotApproved` when nothing covers the proposal.

    A proposal that somebody has rejected meanwhile begins nothing. Who opened the gate is kept with the trial.
    The subject is taken anew at this moment. If it is not the one that was proposed, the proposal is rejected with
    what has drifted, None is returned, and the loop drafts another: an approval never covers what nobody has seen.
    So is one whose values the file no longer allows.
    """
    stored = tx.proposals.get(campaign.product, proposal.id)
    if stored is None or stored.state is not State.OPEN:
        return None
    admitted = look_at_gate(tx, proposal, definition=definition, campaign=campaign, code_commit=code_commit, now=now)
    if isinstance(admitted, str):
        tx.proposals.move(campaign.product, proposal.id, state=State.REJECTED, refusal=admitted)
        return None
    if not tx.proposals.move(campaign.product, proposal.id, state=State.ADMITTED, refusal=""):
        return None  # A no of another process was written since it was read.
    tx.waivers.admit(_admission(admitted, campaign))
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


def look_at_gate(
    tx: Transaction, proposal: Proposal, *, definition: Definition, campaign: Campaign, code_commit: str, now: datetime
) -> Looked:
    """Return what the gate says of an open proposal, from reading alone; raise `NotApproved` where it has to wait."""
    subject = subject_of(tx, definition, campaign, config=proposal.config, code_commit=code_commit)
    refusal = _drifted(proposal, subject) or _no_longer_allowed(proposal, definition)
    if refusal:
        return refusal
    given = [each for each in _given(tx, proposal, subject.digest()) if definition.may_approve(each.approver)]
    waived = _waiver(definition, campaign, now)
    waivers = [
        each
        for each in tx.waivers.standing(campaign.product, campaign.name)
        if definition.may_approve(each.waiver.granted_by)
    ]
    exact = any(is_valid(each, now) and each.subject_digest == subject.digest() for each in given)
    if (waived or waivers) and not exact and (unwanted := _unwanted(tx, proposal)):
        return unwanted
    return admit(
        proposal.id,
        subject.digest(),
        [*given, *waived],
        now=now,
        waivers=waivers,
        moves=moves_of(definition, proposal, subject),
    )


def gate_opens(
    tx: Transaction, proposal: Proposal, *, definition: Definition, campaign: Campaign, code_commit: str, now: datetime
) -> bool:
    """Whether an open proposal would be admitted now, from reading alone."""
    stored = tx.proposals.get(campaign.product, proposal.id)
    if stored is None or stored.state is not State.OPEN:
        return False
    try:
        looked = look_at_gate(tx, proposal, definition=definition, campaign=campaign, code_commit=code_commit, now=now)
    except NotApproved:
        return False
    return isinstance(looked, Admitted)


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
    refusal = _drifted(proposal, subject)
    if refusal:
        tx.proposals.move(proposal.product, proposal.id, state=State.REJECTED, refusal=refusal, was=proposal.state)
    return bool(refusal)


def _drifted(proposal: Proposal, subject: Subject) -> str:
    """Return what has drifted since the proposal was drafted, empty for nothing."""
    drifted = drift(proposal.subject, subject)
    return f"{DRIFTED}: {', '.join(drifted)}" if drifted else ""


def _no_longer_allowed(proposal: Proposal, definition: Definition) -> str:
    """Return which of its values the file does not allow any more, empty for none."""
    return next((why for change in proposal.changes if (why := _forbidden(definition, change))), "")


def _unwanted(tx: Transaction, proposal: Proposal) -> str:
    """Return that a person has said no to the same before, so that no waiver lets it through; empty where nobody has.

    A waiver says yes to what nobody has looked at. Whoever proposes the same by hand has looked.
    """
    if proposal.source == BY_HAND:
        return ""
    no = next(
        (
            each.refusal
            for each in tx.proposals.listed(proposal.product, proposal.campaign)
            if each.state is State.REJECTED
            and each.refusal.startswith(BY_A_PERSON)
            and each.subject.config_digest == proposal.subject.config_digest
        ),
        "",
    )
    return f"no waiver covers what a person has refused: it was {no}" if no else ""


def _forbidden(definition: Definition, change: Change) -> str:
    """Return why the file does not allow the value any more, empty if it does."""
    rule = definition.knob_rules().get(change.knob)
    if rule is None:
        return f"{change.knob} is no knob any more"
    try:
        check(rule, change.after)
    except (BadValue, OutOfRange) as error:
        return error.message
    return ""


def _given(tx: Transaction, proposal: Proposal, subject_digest: str) -> list[Approval]:
    """Return the campaign's approvals; once this very subject was answered before, those given since it came again.

    What was approved and then rejected has been taken back, whoever proposes it anew. What nobody answered in its time
    asks anew: a yes to the older one says nothing of today's. And a yes that has let one trial begin is used up: the
    same config on the same code once more is another launch, and asks for its own.
    """
    given = tx.proposals.approvals(proposal.product, proposal.campaign)
    if all(each.subject_digest != subject_digest for each in given):
        return list(given)
    anew = any(
        _answered(each, proposal) and each.subject.digest() == subject_digest
        for each in tx.proposals.listed(proposal.product, proposal.campaign)
    )
    return [each for each in given if not anew or each.granted_at >= proposal.created_at]


def _answered(earlier: Proposal, proposal: Proposal) -> bool:
    """Return whether no yes to the earlier proposal is one to this: it was refused, given up, or another trial's."""
    if earlier.state is State.ADMITTED:
        return earlier.number != proposal.number
    return earlier.state is State.REJECTED and earlier.refusal.startswith((BY_A_PERSON, OVERTAKEN))


def moves_of(definition: Definition, proposal: Proposal, subject: Subject) -> Moves:
    """Return what a waiver looks at in a proposal whose subject is this one now."""
    buckets = {change.knob: definition.knobs[change.knob].bucket for change in proposal.changes}
    risk = max(proposal.risk, risk_of(definition, proposal.changes), key=list(Risk).index)
    return Moves(buckets=buckets, risk=risk, terms=terms_of(definition, subject))


def terms_of(definition: Definition, subject: Subject) -> Terms:
    """Return what a waiver is bound to: all that an approval is, but for the config."""
    return {
        "programs": digest(definition.programs()),
        "code_commit": subject.code_commit,
        "evaluation_digest": subject.evaluation_digest,
        "cost_ceiling": subject.cost_ceiling,
        "pool": subject.pool,
    }


def _admission(admitted: Admitted, campaign: Campaign) -> Admission:
    """Return the record of who opened the gate."""
    by = admitted.by
    return Admission(
        product=campaign.product,
        campaign=campaign.name,
        proposal=admitted.proposal,
        subject_digest=admitted.subject_digest,
        approver=by.granted_by if isinstance(by, Waiver) else by.approver,
        waiver=by.id if isinstance(by, Waiver) else None,
        at=admitted.at,
    )


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
