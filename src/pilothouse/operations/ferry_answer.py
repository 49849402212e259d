"""Ask somebody else than the rules what a ferry changes, judge the answer, and keep what came of asking."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pilothouse.campaigns.ferry import RELAUNCH
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_plan import Asked, Plan, plan, settled
from pilothouse.campaigns.record import Campaign
from pilothouse.campaigns.wanted import spent_limit
from pilothouse.errors import BadValue, ChangeBudgetExceeded, OutOfRange, PilothouseError, Refused, StorageFailed
from pilothouse.evidence.verdict import Direction
from pilothouse.ids import ProposalId
from pilothouse.operations.campaign_facts import SECONDS_PER_HOUR
from pilothouse.operations.note_agent import keep_run, note_agent
from pilothouse.ports.drafter import Drafter
from pilothouse.ports.proposer import Answered, Stopped
from pilothouse.ports.store import Transaction
from pilothouse.proposals.draft import Draft, Drafted, draft
from pilothouse.proposals.ferry_question import FerryQuestion
from pilothouse.proposals.proposal import BY_HAND, Proposal
from pilothouse.proposals.search import Suggestion
from pilothouse.proposals.window import Window

UNUSED = "unused draft "
"""How it is named what an agent was asked for in vain: the proposal that was not made follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a ferry changes, exactly; `refusal` says why an agent's answer was not taken, empty if it was."""

    plan: Plan
    made: Drafted
    asked: Asked
    refusal: str = ""


def question_of(
    tx: Transaction,
    definition: FerryDefinition,
    campaign: Campaign,
    window: Window,
    asked: Asked,
    *,
    number: int,
    always: bool,
) -> FerryQuestion | None:
    """Return what an agent is asked about a ferry's change, None where there is nothing for it to choose.

    What a person asks for and what a rule settles is not the agent's, unless somebody wants it asked in any case
    (`always`); a relaunch never is.
    """
    if asked.overrides is not None or asked.identical or asked.patch or not definition.knobs:
        return None
    rules = plan(definition, window, campaign.config, asked)
    named = any(BY_HAND in each.candidate.sources for each in rules.ranked)
    if not always and (named or settled(definition, window)):
        return None
    name, metric = definition.primary()
    return FerryQuestion(
        number=number,
        metric=name,
        direction=Direction(metric.direction),
        window=window,
        ranked=rules.ranked,
        parent=campaign.config,
        knobs=definition.knob_rules(),
        budget=definition.change_budget.budget(),
        invariants=definition.invariants(),
        derived=definition.derived(),
        earlier=[each for each in tx.proposals.listed(campaign.product, campaign.name) if each.number == number],
    )


def money_refusal(tx: Transaction, definition: FerryDefinition, campaign: Campaign) -> Refused | None:
    """Return why no agent may be paid, None where one may: the budget is used up, or nobody knows whether it is."""
    spent = tx.agents.spent(campaign.product, campaign.name)
    if spent.unknown and definition.budget.usd is not None:
        return Refused(
            f"what {spent.unknown} of the agent's runs cost is not known, and there is a limit in USD",
            fix="give [ferry.agent] cost_estimate_usd, what one run costs at most; runs on record without a cost need "
            "a campaign under another name, or a file without a limit in USD",
        )
    hours = tx.jobs.seconds_spent(campaign.product, campaign=campaign.name) / SECONDS_PER_HOUR
    used = spent_limit(definition, hours, agents_usd=spent.usd)
    return None if used is None else Refused(used, fix="raise the budget, or do without the agent")


def answer_to(question: FerryQuestion, drafter: Drafter, stopped: Stopped, broke: Refused | None) -> Answered:
    """Return what came of asking; an agent that could not be asked at all is a refusal, and cost nothing.

    `broke` says why nobody may be paid, and then nobody is asked. A disk that fails is no answer, since asking again
    would pay again: `StorageFailed` goes through, and so does `AskingStopped`.
    """
    if broke is not None:
        return Answered(source=drafter.source, refusal=broke)
    try:
        answered = drafter.draft(question, stopped)
    except StorageFailed:
        raise
    except PilothouseError as error:
        return Answered(source=drafter.source, refusal=error)
    if isinstance(answered.refusal, StorageFailed):
        raise answered.refusal
    return answered


def choose_change(
    definition: FerryDefinition,
    campaign: Campaign,
    window: Window,
    asked: Asked,
    answered: Answered | None,
    *,
    sails: bool = False,
) -> Chosen:
    """Return what the ferry changes: the answer where it keeps every rule, and otherwise what the rules choose.

    So it is with what an agent has answered before and is asked for again. What a person asks for and may not be raises
    the error that says why, and so does the config of a ferry that `sails` already.
    """
    if answered is not None and answered.suggestion is not None:
        return _tried(definition, campaign, window, _wish(answered.suggestion), instead=asked)
    if answered is not None and answered.refusal is not None:
        refusal = f"{answered.refusal.message}; {answered.refusal.fix}"
        return _instead(_made(definition, campaign, window, asked), answered.source, refusal)
    if asked.said is not None and not sails:
        return _tried(definition, campaign, window, asked, instead=Asked())
    return _made(definition, campaign, window, asked)


def _tried(definition: FerryDefinition, campaign: Campaign, window: Window, wished: Asked, *, instead: Asked) -> Chosen:
    """Return what an agent wishes, or what is chosen instead of it, with the reason."""
    try:
        _refuse_disguise(wished)
        return _made(definition, campaign, window, wished)
    except (BadValue, ChangeBudgetExceeded, OutOfRange, Refused) as error:
        refusal = f"{error.message}; asked for {dict(wished.overrides or {})!r}"
    return _instead(_made(definition, campaign, window, instead), wished.source, refusal)


def _instead(chosen: Chosen, source: str, refusal: str) -> Chosen:
    words = f"drafted by the rules, since the answer of {source} was not taken ({refusal}): "
    rationale = f"{words}{chosen.plan.rationale}"
    return replace(chosen, plan=replace(chosen.plan, rationale=rationale), refusal=refusal)


def _refuse_disguise(wished: Asked) -> None:
    """Refuse a reason that reads as the platform's own for a launch after a patch: a launch would follow from it."""
    if wished.said is not None and wished.said.why_not_identical.startswith(RELAUNCH):
        raise Refused(
            f"`why_not_identical` begins with {RELAUNCH.strip()!r}, as it does when a ferry is launched again",
            fix="say in other words how it differs from the run before",
        )


def note_answer(
    tx: Transaction, proposal: Proposal, chosen: Chosen, answered: Answered | None, *, now: datetime
) -> None:
    """Keep with the proposal what an agent did for it, whether its answer was taken or not."""
    if answered is not None:
        note_agent(tx, proposal, answered.told, now=now, instead=chosen.refusal)


def note_unused(
    tx: Transaction, standing: ProposalId, campaign: Campaign, answered: Answered | None, *, draft: str, now: datetime
) -> None:
    """Keep what an agent has cost for a draft that is not made, since a yes to the proposal before came meanwhile."""
    proposal = tx.proposals.get(campaign.product, standing)
    if proposal is not None and answered is not None and answered.told is not None:
        why = answered.told.refusal or "a yes to the proposal before came meanwhile"
        told = replace(answered.told, record={**answered.told.record, "refusal": why})
        keep_run(tx, proposal, told, now=now, about=f"{UNUSED}{draft}")


def _wish(suggestion: Suggestion) -> Asked:
    return Asked(
        overrides=dict(suggestion.overrides) or None,
        identical="" if suggestion.overrides else suggestion.why_not_identical,
        source=suggestion.source,
        why=suggestion.rationale,
        said=suggestion,
    )


def _made(definition: FerryDefinition, campaign: Campaign, window: Window, asked: Asked) -> Chosen:
    chosen = plan(definition, window, campaign.config, asked)
    made = draft(
        Draft(
            parent=campaign.config,
            overrides=chosen.overrides,
            knobs=definition.knob_rules(),
            budget=definition.change_budget.budget(),
            invariants=definition.invariants(),
            derived=definition.derived(),
            identical_reason=chosen.identical,
        )
    )
    return Chosen(plan=chosen, made=made, asked=asked)
