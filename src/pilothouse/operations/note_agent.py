"""Keep what an agent did for a proposal, and what it was refused: one incident for each kind of line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias

from pilothouse.canonical import Json
from pilothouse.monitoring.quoted import storable
from pilothouse.ports.store import Transaction
from pilothouse.proposals.agent_run import AgentIncident, AgentRun, AgentTold
from pilothouse.proposals.proposal import Proposal, State

GUARDRAIL, FAILED = "guardrail", "failed"
"""Diagnoses besides those of the sandbox: what the answer asked for is not allowed, and no answer was given."""

EVIDENCE_CHARACTERS = 2000

Lines: TypeAlias = "dict[str, list[tuple[str, int]]]"


def note_agent(
    tx: Transaction, proposal: Proposal, told: AgentTold | None, *, now: datetime, instead: str = "", about: str = ""
) -> None:
    """Keep the run with the proposal that it was made for, and each kind of line that it tried to cross as an incident.

    `instead` says why an answer was not taken where the proposal is another's; an agent that could not be run at all
    told nothing, and is an incident all the same. `about` names what it was asked for, where it was no proposal.
    """
    refusal = proposal.refusal if proposal.state is State.REJECTED else instead
    if told is not None:
        keep_run(tx, proposal, told, now=now, about=about)
    for diagnosis, lines in _lines(told, refusal).items():
        words = "; ".join(detail if count == 1 else f"{detail} ({count} times)" for detail, count in lines)
        tx.agents.note(
            AgentIncident(
                product=proposal.product,
                campaign=proposal.campaign,
                proposal=proposal.id,
                at=now,
                diagnosis=diagnosis,
                evidence=storable(words)[:EVIDENCE_CHARACTERS],
                occurrences=sum(count for _, count in lines),
                response=_response(proposal, instead, about),
                about=about,
            )
        )


def keep_run(tx: Transaction, proposal: Proposal, told: AgentTold, *, now: datetime, about: str = "") -> None:
    """Keep the run alone: what it cost counts for the campaign's budget."""
    tx.agents.keep(
        AgentRun(
            product=proposal.product,
            campaign=proposal.campaign,
            proposal=proposal.id,
            at=now,
            charged_usd=told.charged_usd,
            record=_clean(told.record),
            about=about,
        )
    )


def _response(proposal: Proposal, instead: str, about: str) -> str:
    if proposal.state is State.REJECTED:
        return "rejected: the loop asks again"
    if about:
        return "not taken: a person mends it" if instead else "held: a person reads the patch"
    return "not taken: the rules drafted this" if instead else "held: the answer stands and meets the gate"


def _lines(told: AgentTold | None, refusal: str) -> Lines:
    """Return what was refused by its kind; an answer that was not taken has at least one."""
    found: Lines = {}
    for each in () if told is None else told.crossed:
        found.setdefault(each.kind, []).append((each.detail, each.count))
    if not refusal:
        return found
    if told is not None and not told.refusal:
        found[GUARDRAIL] = [(refusal, 1)]
    elif not found:
        found[FAILED] = [(refusal, 1)]
    return found


def _clean(fields: Mapping[str, Json]) -> dict[str, Json]:
    """Return the record with texts that every database can keep."""

    def clean(value: Json) -> Json:
        match value:
            case str():
                return storable(value)
            case Mapping():
                return {name: clean(each) for name, each in value.items()}
            case list() | tuple():
                return [clean(each) for each in value]
            case _:
                return value

    return {name: clean(value) for name, value in fields.items()}
