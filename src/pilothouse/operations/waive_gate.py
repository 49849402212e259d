"""Grant a waiver with a scope and an end, or end one before its time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pilothouse.campaigns.kinds import definition_of
from pilothouse.campaigns.record import Campaign
from pilothouse.errors import BadValue, Conflict, NotFound
from pilothouse.knobs.config import nearest
from pilothouse.operations.admit_proposal import terms_of
from pilothouse.operations.approve_proposal import check_approver
from pilothouse.operations.draft_proposal import subject_of
from pilothouse.operations.note_gate import note_waiver
from pilothouse.ports.store import Transaction
from pilothouse.proposals.lasting import lasting
from pilothouse.proposals.proposal import Risk
from pilothouse.proposals.waiver import Waiver

PROPOSALS_MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiverRequest:
    """Who lets what through, how many proposals, and for how long (a duration such as `12h`)."""

    by: str
    reason: str
    knobs: Sequence[str]
    buckets: Sequence[str]
    risk: str
    proposals: int
    expires_in: str


def waive_gate(
    tx: Transaction, request: WaiverRequest, *, campaign: Campaign, identity: str, code_commit: str, now: datetime
) -> Waiver:
    """Return the waiver as recorded; one without author, reason, known scope or end is a `BadValue`.

    Where the file names who may approve, nobody else may waive: that is `Refused`.
    """
    definition = definition_of(campaign.definition)
    if not request.by.strip() or not request.reason.strip():
        raise BadValue("a waiver needs its author and a reason", fix='write --by NAME --reason "…"')
    check_approver(campaign, request.by.strip())
    if not 1 <= request.proposals <= PROPOSALS_MOST:
        raise BadValue(
            f"a waiver for {request.proposals} proposals", fix=f"name 1 to {PROPOSALS_MOST} with --proposals"
        )
    _check_known("knob", request.knobs, definition.knobs)
    _check_known("bucket", request.buckets, {table.bucket for table in definition.knobs.values()})
    _check_known("risk", [request.risk], [risk.value for risk in Risk])
    subject = subject_of(tx, definition, campaign, config=campaign.config, code_commit=code_commit)
    waiver = Waiver(
        id=identity,
        product=campaign.product,
        campaign=campaign.name,
        granted_by=request.by.strip(),
        reason=" ".join(request.reason.split()),
        knobs=tuple(sorted(set(request.knobs))),
        buckets=tuple(sorted(set(request.buckets))),
        risk=Risk(request.risk),
        proposals=request.proposals,
        terms=terms_of(definition, subject),
        granted_at=now,
        expires_at=now + lasting(request.expires_in, what="a waiver"),
    )
    tx.waivers.grant(waiver)
    note_waiver(
        tx,
        campaign.product,
        campaign.name,
        act="waiver.grant",
        by=waiver.granted_by,
        label=f"gate: waiver {waiver.id}",
        result=f"granted by {waiver.granted_by}: {waiver.reason}; {scope_words(waiver)}",
        evidence={"waiver": waiver.id, "terms": dict(waiver.terms), "expires_at": waiver.expires_at.isoformat()},
        now=now,
    )
    return waiver


def end_waiver(tx: Transaction, waiver: str, *, campaign: Campaign, by: str, now: datetime) -> None:
    """End a waiver of the campaign now; one that has been ended already is a `Conflict`."""
    known = {each.waiver.id: each.waiver for each in tx.waivers.standing(campaign.product, campaign.name)}
    if waiver not in known:
        raise NotFound(
            f"campaign {campaign.name} has no waiver {waiver!r}", fix="`pilothouse proposal waive --list` shows them"
        )
    if known[waiver].ended_at is not None:
        raise Conflict(f"waiver {waiver} has been ended by {known[waiver].ended_by}", fix="nothing is left to do")
    tx.waivers.end(campaign.product, waiver, by=by, now=now)
    note_waiver(
        tx,
        campaign.product,
        campaign.name,
        act="waiver.end",
        by=by,
        label=f"gate: end of waiver {waiver}",
        result=f"ended by {by}",
        evidence={"waiver": waiver},
        now=now,
    )


def scope_words(waiver: Waiver) -> str:
    """Return in words what a waiver covers."""
    named = [*waiver.knobs, *(f"bucket {bucket}" for bucket in waiver.buckets)]
    noun = "proposal" if waiver.proposals == 1 else "proposals"
    return (
        f"{waiver.proposals} {noun} that move {', '.join(named) or 'any knob'} at a risk up to {waiver.risk.value}, "
        f"until {waiver.expires_at.isoformat(timespec='seconds')}"
    )


def _check_known(what: str, named: Sequence[str], known: Iterable[str]) -> None:
    names = sorted(known)
    for name in named:
        if name not in names:
            close = nearest(name, names)
            fix = f"did you mean {close!r}?" if close else f"known are {', '.join(names)}"
            raise BadValue(f"the campaign has no {what} {name!r}", fix=fix)
