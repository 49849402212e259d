"""Draft the proposal of a flywheel's next trial: the same config on grown data, or with the knobs a person sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.flywheel import Propose
from pilothouse.campaigns.flywheel_definition import FlywheelDefinition
from pilothouse.campaigns.record import Campaign
from pilothouse.canonical import Json
from pilothouse.ids import ProposalId
from pilothouse.knobs.config import config_digest
from pilothouse.knobs.delta import Change
from pilothouse.ports.store import Transaction
from pilothouse.proposals.draft import Draft, Drafted, draft
from pilothouse.proposals.proposal import BY_HAND, Proposal, Risk, State, Subject
from pilothouse.proposals.search import Suggestion


def draft_proposal(
    tx: Transaction,
    action: Propose,
    *,
    definition: FlywheelDefinition,
    campaign: Campaign,
    overrides: Mapping[str, Json],
    code_commit: str,
    identity: ProposalId,
    now: datetime,
) -> Proposal:
    """Store and return the proposal; a guardrail that says no raises `Refused` and stores nothing.

    An open proposal of the same trial gives way to it.
    """
    growth = f"the training data grows by the seeds {action.seeds}"
    made = draft(
        Draft(
            parent=campaign.config,
            overrides=overrides,
            knobs=definition.knob_rules(),
            budget=definition.change_budget.budget(),
            invariants=definition.invariants(),
            derived=definition.derived(),
            identical_reason=growth,
        )
    )
    moved = changes_words(made.changes)
    primary, _ = definition.primary()
    suggestion = Suggestion(
        overrides=overrides,
        source=BY_HAND if made.changes else "flywheel",
        rationale=f"{growth}; {moved}" if moved else growth,
        hypothesis=f"{primary} on golden set {definition.flywheel.golden} improves on the best checkpoint so far",
        why_not_identical=moved or growth,
        risk=risk_of(definition, made.changes),
        rollback="the best checkpoint stays the baseline unless the verdict is improved",
    )
    subject = subject_of(tx, definition, campaign, config=made.config, code_commit=code_commit)
    return put_proposal(
        tx, campaign, suggestion, made, number=action.number, subject=subject, identity=identity, now=now
    )


def put_proposal(
    tx: Transaction,
    campaign: Campaign,
    suggestion: Suggestion,
    made: Drafted,
    *,
    number: int,
    subject: Subject,
    identity: ProposalId,
    now: datetime,
    refusal: str = "",
) -> Proposal:
    """Store and return the proposal of trial `number`, rejected where there is a refusal.

    An open proposal of the same trial gives way to an open one.
    """
    proposal = Proposal(
        id=identity,
        product=campaign.product,
        campaign=campaign.name,
        number=number,
        parent_digest=config_digest(campaign.config),
        config=made.config,
        changes=made.changes,
        why_not_identical=suggestion.why_not_identical,
        rationale=suggestion.rationale,
        hypothesis=suggestion.hypothesis,
        risk=suggestion.risk,
        rollback=suggestion.rollback,
        source=suggestion.source,
        subject=subject,
        state=State.REJECTED if refusal else State.OPEN,
        created_at=now,
        refusal=refusal,
    )
    for earlier in () if refusal else tx.proposals.listed(campaign.product, campaign.name, least=number):
        if earlier.number == number and earlier.state is State.OPEN:
            tx.proposals.move(
                campaign.product, earlier.id, state=State.REJECTED, refusal=f"superseded by {proposal.id}"
            )
    tx.proposals.add(proposal)
    return proposal


def changes_words(changes: Sequence[Change]) -> str:
    """Return the changes in words, empty for none."""
    return ", ".join(f"{change.knob} {change.before!r} → {change.after!r}" for change in changes)


def risk_of(definition: Definition, changes: Sequence[Change]) -> Risk:
    """Return the risk of the most dangerous knob that is moved."""
    return max((Risk(definition.knobs[change.knob].risk) for change in changes), key=_order, default=Risk.LOW)


def subject_of(
    tx: Transaction, definition: Definition, campaign: Campaign, *, config: Mapping[str, Json], code_commit: str
) -> Subject:
    """Return what an approval of this config would be bound to, as things stand."""
    golden = {each.name: each.digest for each in tx.campaigns.golden_sets(campaign.product, campaign.name)}
    ceilings = definition.ceilings()
    return Subject(
        config_digest=config_digest({"config": dict(config), "programs": definition.programs()}),
        code_commit=code_commit,
        evaluation_digest=definition.evaluation(golden),
        cost_ceiling=", ".join(f"{name}={value:g}" for name, value in sorted(ceilings.items())) or "unlimited",
        pool="local",
    )


def _order(risk: Risk) -> int:
    return list(Risk).index(risk)
