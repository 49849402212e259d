"""Keep what a proposer suggests: as an open proposal, or as a refused one with the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.record import Campaign
from pilothouse.errors import BadValue, ChangeBudgetExceeded, OutOfRange, Refused
from pilothouse.ids import ProposalId
from pilothouse.operations.draft_proposal import put_proposal, risk_of, subject_of
from pilothouse.ports.store import Transaction
from pilothouse.proposals.draft import Draft, Drafted, draft
from pilothouse.proposals.proposal import Proposal
from pilothouse.proposals.search import Suggestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggested:
    """A suggestion for trial `number`, with what the gate will be bound to besides the config."""

    number: int
    suggestion: Suggestion
    code_commit: str
    identity: ProposalId


def keep_suggestion(
    tx: Transaction, suggested: Suggested, *, definition: Definition, campaign: Campaign, now: datetime
) -> Proposal:
    """Store and return the proposal; what a guardrail refuses is stored as rejected, and the loop goes on."""
    suggestion = suggested.suggestion
    refusal = ""
    try:
        made = draft(
            Draft(
                parent=campaign.config,
                overrides=suggestion.overrides,
                knobs=definition.knob_rules(),
                budget=definition.change_budget.budget(),
                invariants=definition.invariants(),
                derived=definition.derived(),
                identical_reason="" if suggestion.overrides else suggestion.why_not_identical,
            )
        )
    except (BadValue, OutOfRange, ChangeBudgetExceeded, Refused) as error:
        refusal = f"{error.message}; asked for {dict(suggestion.overrides)!r}"
        made = Drafted(config=dict(campaign.config), changes=())
    return put_proposal(
        tx,
        campaign,
        _with_risk(definition, suggestion, made),
        made,
        number=suggested.number,
        subject=subject_of(tx, definition, campaign, config=made.config, code_commit=suggested.code_commit),
        identity=suggested.identity,
        now=now,
        refusal=refusal,
    )


def _with_risk(definition: Definition, suggestion: Suggestion, made: Drafted) -> Suggestion:
    """Return the suggestion with at least the risk of the knobs that it moves."""
    order = list(type(suggestion.risk))
    risk = max(suggestion.risk, risk_of(definition, made.changes), key=order.index)
    return replace(suggestion, risk=risk)
