"""Draft a ferry's proposal: what has happened since the last one, what could change, what was chosen and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_letters import proposal_letters, record_path
from pilothouse.campaigns.ferry_plan import RULES, Asked
from pilothouse.campaigns.ferry_record import Ferry
from pilothouse.campaigns.ferry_schedule import Due
from pilothouse.campaigns.ferry_template import with_defaults
from pilothouse.campaigns.record import Campaign, TrialState
from pilothouse.errors import Conflict
from pilothouse.ids import ProposalId
from pilothouse.operations.draft_proposal import changes_words, put_proposal, risk_of, subject_of
from pilothouse.operations.ferry_answer import Chosen, choose_change, note_answer, question_of
from pilothouse.operations.ferry_facts import Material, admitted, window_of
from pilothouse.operations.ferry_post import post_all, sender_of
from pilothouse.operations.ferry_succession import Before, drafted_before, overtake, succeeding_ferry
from pilothouse.operations.ferry_withdraw import revision_of, withdraw_earlier
from pilothouse.ports.proposer import Answered
from pilothouse.ports.store import Transaction
from pilothouse.proposals.draft import Drafted
from pilothouse.proposals.ferry_question import FerryQuestion
from pilothouse.proposals.ferry_request import Request
from pilothouse.proposals.proposal import Proposal
from pilothouse.proposals.search import Suggestion
from pilothouse.proposals.window import Window

AGENT = "agent:"
"""How the source begins of what an agent has drafted itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafting:
    """What a draft is made from besides the store. `template` is the template's text, None where there is none.

    With `again`, what was asked for in a proposal that has drifted since, or that nobody has answered in its time, is
    asked for again. `answered` is what came of asking an agent, where one was asked.
    """

    number: int
    due: Due | None
    material: Material
    asked: Asked
    template: str | None
    code_commit: str
    identity: ProposalId
    again: bool = False
    answered: Answered | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftedFerry:
    """A stored proposal with what it was drafted from."""

    proposal: Proposal
    ferry: Ferry


def request_of(definition: FerryDefinition, campaign: Campaign, drafted: DraftedFerry) -> Request:
    """Return the pull request that tells a drafted proposal."""
    return Request(
        proposal=drafted.proposal,
        run=drafted.ferry.run,
        campaign=campaign.name,
        considered=drafted.ferry.considered,
        checklist=_checklist(definition),
    )


def next_number(tx: Transaction, campaign: Campaign) -> int:
    """Return the number of the next ferry; one that is underway is in the way, and `Conflict`."""
    trials = tx.campaigns.trials(campaign.product, campaign.name)
    running = next((trial for trial in trials if trial.state is TrialState.RUNNING), None)
    if running is not None:
        raise Conflict(
            f"ferry {running.number} of {campaign.name} is underway",
            fix="wait for its end, or stop it with `pilothouse job cancel`; one ferry runs at a time",
        )
    return trials[-1].number + 1 if trials else 1


def draft_ferry(
    tx: Transaction, drafting: Drafting, *, definition: FerryDefinition, campaign: Campaign, now: datetime
) -> DraftedFerry:
    """Store and return the proposal and its ferry, and post its pull request; what a guardrail refuses stores nothing.

    An open proposal of the same ferry gives way to it, and its pull request is closed. A draft for a tick is named by
    that tick's day, any other keeps the name of its run. A ferry that sails already keeps its config as well: what it
    was approved with is proposed anew, on the code as it is now.
    """
    before = drafted_before(tx, campaign, drafting.number)
    asked = _asked(tx, campaign, drafting, before)
    window = window_of(tx, campaign, drafting.material, number=drafting.number)
    chosen = choose_change(definition, campaign, window, asked, drafting.answered, sails=before.sails)
    plan, made = chosen.plan, chosen.made
    overtake(tx, before, drafting.due, by=drafting.identity)
    proposal = put_proposal(
        tx,
        campaign,
        _suggestion(definition, chosen, window),
        made,
        number=drafting.number,
        subject=subject_of(tx, definition, campaign, config=made.config, code_commit=drafting.code_commit),
        identity=drafting.identity,
        now=now,
    )
    note_answer(tx, proposal, chosen, drafting.answered, now=now)
    withdraw_earlier(tx, definition, campaign, before.ferry, before.proposal, by=proposal.id, now=now)
    ferry = succeeding_ferry(
        tx,
        definition,
        campaign,
        before,
        number=drafting.number,
        due=drafting.due,
        considered={**window.as_json(), **plan.as_json()},
        now=now,
    )
    tx.ferries.put(ferry)
    _publish(tx, definition, campaign, drafting, ferry, proposal, now=now)
    return DraftedFerry(proposal=proposal, ferry=ferry)


def question_for(
    tx: Transaction, drafting: Drafting, *, definition: FerryDefinition, campaign: Campaign, always: bool = False
) -> FerryQuestion | None:
    """Return what an agent is asked for this draft, None where there is nothing for it to choose."""
    asked = _asked(tx, campaign, drafting, drafted_before(tx, campaign, drafting.number))
    window = window_of(tx, campaign, drafting.material, number=drafting.number)
    return question_of(tx, definition, campaign, window, asked, number=drafting.number, always=always)


def _asked(tx: Transaction, campaign: Campaign, drafting: Drafting, before: Before) -> Asked:
    """Return what is asked for; a ferry that sails keeps its config, and a wish outlives a proposal that has only aged.

    A tick asks an agent anew, since it has not seen what came since; a person's wish it asks for again.
    """
    asked, last = drafting.asked, before.proposal
    if asked.overrides is not None or asked.identical or last is None:
        return asked
    if before.sails:
        last = admitted(tx, campaign, drafting.number)
    else:
        unanswered = drafting.due is not None and before.open is not None and not last.source.startswith(AGENT)
        if not (drafting.again and (before.drifted or unanswered) and last.source != RULES):
            return asked
    return Asked(
        overrides={change.knob: change.after for change in last.changes} or None,
        identical="" if last.changes else asked.patch or last.why_not_identical,
        patch=asked.patch,
        source=last.source,
        why=last.rationale,
        said=_said(last),
    )


def _said(proposal: Proposal) -> Suggestion | None:
    """Return what an agent said of a proposal, None where it was another's."""
    if not proposal.source.startswith(AGENT):
        return None
    return Suggestion(
        overrides={change.knob: change.after for change in proposal.changes},
        source=proposal.source,
        rationale=proposal.rationale,
        hypothesis=proposal.hypothesis,
        why_not_identical=proposal.why_not_identical,
        risk=proposal.risk,
        rollback=proposal.rollback,
    )


def _suggestion(definition: FerryDefinition, chosen: Chosen, window: Window) -> Suggestion:
    """Return the reasons that the gate reads: an agent's own for its change, with at least the risk of the knobs."""
    plan, made, patch, said = chosen.plan, chosen.made, chosen.asked.patch, chosen.asked.said
    moved, risk = changes_words(made.changes), risk_of(definition, made.changes)
    why = moved if said is None or patch else said.why_not_identical
    order = list(type(risk))
    return Suggestion(
        overrides=plan.overrides,
        source=plan.source,
        rationale=plan.rationale,
        hypothesis=said.hypothesis if said is not None else _hypothesis(definition, window, moved=bool(moved)),
        why_not_identical=f"{patch}; {why}" if patch and moved else (why if moved else plan.identical),
        risk=risk if said is None else max(risk, said.risk, key=order.index),
        rollback=said.rollback if said is not None else _rollback(made),
    )


def _hypothesis(definition: FerryDefinition, window: Window, *, moved: bool) -> str:
    primary, metric = definition.primary()
    if not moved:
        return f"the whole of it still works, and {primary} is what it was"
    before = f"ferry {window.last.number}'s" if window.last is not None else "the template's"
    return f"{primary} gets {'lower' if metric.direction == 'min' else 'higher'} than {before}"


def _rollback(made: Drafted) -> str:
    back = ", ".join(f"{change.knob} = {change.before!r}" for change in made.changes)
    return f"the next ferry takes it back: {back}" if back else "nothing was moved, so nothing has to be taken back"


def _publish(
    tx: Transaction,
    definition: FerryDefinition,
    campaign: Campaign,
    drafting: Drafting,
    ferry: Ferry,
    proposal: Proposal,
    *,
    now: datetime,
) -> None:
    request = request_of(definition, campaign, DraftedFerry(proposal=proposal, ferry=ferry))
    knobs = {name: proposal.config[name] for name in definition.knobs}
    template = None if drafting.template is None else with_defaults(drafting.template, knobs)
    letters = proposal_letters(
        sender_of(definition, campaign, ferry.run),
        request,
        revision=revision_of(ferry),
        template=None if template == drafting.template else template,
        record=record_path(campaign.name, ferry.run),
    )
    post_all(tx, letters, now=now)


def _checklist(definition: FerryDefinition) -> tuple[tuple[str, bool], ...]:
    """Return what must be so before a launch; the loop sees to everything but the first."""
    gate = definition.gate
    waived = gate.approval == "waived"
    yes = (
        f"approval: waived by {gate.waived_by}: {gate.reason}"
        if waived
        else "explicit approval of exactly this subject"
    )
    return (
        (yes, waived),
        ("the run's issue is opened at the launch", False),
        ("the chat is told at the launch", False),
        ("the monitor is started at the launch, and stays to the end", False),
    )
