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


def note_agent(tx: Transaction, proposal: Proposal, told: AgentTold, *, now: datetime) -> None:
    """Keep the run with the proposal that came of it, and each kind of line that it tried to cross as an incident."""
    tx.agents.keep(
        AgentRun(
            product=proposal.product,
            campaign=proposal.campaign,
            proposal=proposal.id,
            at=now,
            charged_usd=told.charged_usd,
            record=_clean(told.record),
        )
    )
    rejected = proposal.state is State.REJECTED
    for diagnosis, lines in _lines(told, proposal).items():
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
                response="rejected: the loop asks again" if rejected else "held: the answer stands and meets the gate",
            )
        )


def _lines(told: AgentTold, proposal: Proposal) -> Lines:
    """Return what was refused by its kind; a proposal that was rejected has at least one."""
    found: Lines = {}
    for each in told.crossed:
        found.setdefault(each.kind, []).append((each.detail, each.count))
    if proposal.state is not State.REJECTED:
        return found
    if not told.refusal:
        found[GUARDRAIL] = [(proposal.refusal, 1)]
    elif not found:
        found[FAILED] = [(proposal.refusal, 1)]
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
