"""Write what a person has decided at the gate into the campaign's logbook, and into the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pilothouse.access.audit import Actor
from pilothouse.canonical import Json
from pilothouse.ids import CampaignName, ProductId
from pilothouse.logbook.entry import NewEntry
from pilothouse.operations.audit import keep
from pilothouse.operations.record_entry import record_entry
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import Proposal


def note_decision(
    tx: Transaction,
    proposal: Proposal,
    *,
    decided: str,
    by: Actor,
    why: str,
    evidence: Mapping[str, Json],
    now: datetime,
) -> None:
    """Append that a proposal was approved or rejected, with who said so and why."""
    acts = {"approved": "proposal.approve", "rejected": "proposal.reject"}
    before: dict[str, Json] = {"state": proposal.state.value, "subject_digest": proposal.subject.digest()}
    keep(
        tx,
        acts[decided],
        proposal.id,
        actor=by,
        product=proposal.product,
        now=now,
        states=(before, {**before, "decided": decided, **evidence}),
    )
    moved = ", ".join(f"{each.knob} {each.before!r} → {each.after!r}" for each in proposal.changes)
    body = NewEntry(
        label=f"gate: {decided} {proposal.id}",
        hypothesis=proposal.hypothesis,
        command="",
        config=moved or "no knob moves",
        result=f"{decided} by {by.name}{f': {why}' if why else ''}",
        interpretation=f"proposed by {proposal.source}, for trial {proposal.number}, at risk {proposal.risk.value}",
        next_action="the loop goes on with `pilothouse campaign run`",
        confidence="exploratory",
        evidence={"proposal": proposal.id, "subject_digest": proposal.subject.digest(), **evidence},
    )
    record_entry(tx, body, product=proposal.product, thread=proposal.campaign, now=now)


def note_waiver(
    tx: Transaction,
    product: ProductId,
    campaign: CampaignName,
    *,
    act: str,
    by: str,
    label: str,
    result: str,
    evidence: Mapping[str, Json],
    now: datetime,
) -> None:
    """Append that a waiver was granted or ended; `evidence` names it as `waiver`."""
    keep(
        tx,
        act,
        str(evidence["waiver"]),
        actor=Actor(name=by),
        product=product,
        now=now,
        states=(None, dict(evidence)),
    )
    body = NewEntry(
        label=label,
        hypothesis="none: this is a permission, not an experiment",
        command="",
        config="",
        result=result,
        interpretation="what it covers passes the gate without another yes; everything else still asks for one",
        next_action="`pilothouse proposal waive --list` tells what is left of it",
        confidence="exploratory",
        evidence=evidence,
    )
    record_entry(tx, body, product=product, thread=campaign, now=now)
