"""Keep what a proposer suggests: as an open proposal, or as a refused one with the reason.

An agent's run is kept with the proposal that came of it, and so is an answer that was not taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.record import Campaign
from pilothouse.errors import BadValue, ChangeBudgetExceeded, OutOfRange, Refused
from pilothouse.ids import ProposalId
from pilothouse.operations.draft_proposal import put_proposal, risk_of, subject_of
from pilothouse.operations.note_agent import note_agent
from pilothouse.ports.store import Transaction
from pilothouse.proposals.agent_run import AgentTold
from pilothouse.proposals.draft import Draft, Drafted, draft
from pilothouse.proposals.proposal import Proposal, Risk
from pilothouse.proposals.search import Suggestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggested:
    """A suggestion for trial `number`, with what the gate will be bound to besides the config.

    `told` is of the agent whose suggestion it is, if it is one's. `refusal` says why an agent's answer was not
    taken; the suggestion then has nothing in it but the source.
    """

    number: int
    suggestion: Suggestion
    code_commit: str
    identity: ProposalId
    told: AgentTold | None = None
    refusal: str = ""


def keep_suggestion(
    tx: Transaction, suggested: Suggested, *, definition: Definition, campaign: Campaign, now: datetime
) -> Proposal:
    """Store and return the proposal; what a guardrail refuses is stored as rejected, and the loop goes on."""
    suggestion = suggested.suggestion
    made, refusal = _drafted(suggested, definition, campaign)
    proposal = put_proposal(
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
    if suggested.told is not None:
        note_agent(tx, proposal, suggested.told, now=now)
    return proposal


def not_taken(source: str) -> Suggestion:
    """Return what stands in for the suggestion of an agent whose answer was not taken."""
    return Suggestion(
        overrides={},
        source=source,
        rationale="none: the answer was not taken",
        hypothesis="none: the answer was not taken",
        why_not_identical="the answer was not taken",
        risk=Risk.LOW,
        rollback="nothing has changed",
    )


def _drafted(suggested: Suggested, definition: Definition, campaign: Campaign) -> tuple[Drafted, str]:
    """Return the draft, and why it is refused: then it is the parent's config with no change."""
    unchanged = Drafted(config=dict(campaign.config), changes=())
    if suggested.refusal:
        return unchanged, suggested.refusal
    suggestion = suggested.suggestion
    request = Draft(
        parent=campaign.config,
        overrides=suggestion.overrides,
        knobs=definition.knob_rules(),
        budget=definition.change_budget.budget(),
        invariants=definition.invariants(),
        derived=definition.derived(),
        identical_reason="" if suggestion.overrides else suggestion.why_not_identical,
    )
    try:
        return draft(request), ""
    except (BadValue, OutOfRange, ChangeBudgetExceeded, Refused) as error:
        return unchanged, f"{error.message}; asked for {dict(suggestion.overrides)!r}"


def _with_risk(definition: Definition, suggestion: Suggestion, made: Drafted) -> Suggestion:
    """Return the suggestion with at least the risk of the knobs that it moves."""
    order = list(type(suggestion.risk))
    risk = max(suggestion.risk, risk_of(definition, made.changes), key=order.index)
    return replace(suggestion, risk=risk)
