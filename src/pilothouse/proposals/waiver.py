"""A waiver: a yes that was given beforehand, to so many proposals of a kind, until a time.

It is bound to everything that an approval is bound to but the config, which nobody has seen yet: programs, code commit,
evaluation, cost ceiling and pool. Whoever grants one answers for it by name; none is without an end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pilothouse.ids import CampaignName, ProductId, ProposalId
from pilothouse.proposals.proposal import Risk

Terms = Mapping[str, str]
"""What a waiver is bound to, by name: digests and words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """Who lets which proposals of a campaign through, how many, and until when.

    `knobs` and `buckets` together name what may move, everything where both are empty; `risk` is the highest risk that
    is covered. `ended_by` names who ended it before its time.
    """

    id: str
    product: ProductId
    campaign: CampaignName
    granted_by: str
    reason: str
    knobs: tuple[str, ...]
    buckets: tuple[str, ...]
    risk: Risk
    proposals: int
    terms: Terms
    granted_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    ended_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A waiver, and how many proposals it has let through."""

    waiver: Waiver
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Who opened the gate for a proposal, and by which waiver; None for an approval and for the campaign file's own."""

    product: ProductId
    campaign: CampaignName
    proposal: ProposalId
    subject_digest: str
    approver: str
    waiver: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """What a waiver looks at in a proposal: the bucket of each knob that moves, its risk, and today's terms."""

    buckets: Mapping[str, str]
    risk: Risk
    terms: Terms


def why_not(standing: Standing, moves: Moves, *, now: datetime) -> str:
    """Return why the waiver does not cover the proposal now, empty if it does."""
    return _over(standing, now) or _outside(standing.waiver, moves)


def _over(standing: Standing, now: datetime) -> str:
    """Return why the waiver holds for nothing now, empty if it holds."""
    waiver = standing.waiver
    if waiver.ended_at is not None and waiver.ended_at <= now:
        return f"was ended by {waiver.ended_by} at {waiver.ended_at.isoformat(timespec='seconds')}"
    if waiver.expires_at <= now:
        return f"ended at {waiver.expires_at.isoformat(timespec='seconds')}"
    if waiver.granted_at > now:
        return f"holds only from {waiver.granted_at.isoformat(timespec='seconds')}"
    if standing.used >= waiver.proposals:
        return f"has let its {waiver.proposals} through"
    return ""


def _outside(waiver: Waiver, moves: Moves) -> str:
    """Return what of the proposal lies outside of the waiver, empty for nothing."""
    drifted = sorted(
        name for name in waiver.terms.keys() | moves.terms.keys() if waiver.terms.get(name) != moves.terms.get(name)
    )
    if drifted:
        return f"was granted before {', '.join(drifted)} changed"
    order = list(Risk).index
    if order(moves.risk) > order(waiver.risk):
        return f"covers a risk up to {waiver.risk.value}, and this one is {moves.risk.value}"
    if not waiver.knobs and not waiver.buckets:
        return ""
    outside = [
        knob for knob, bucket in moves.buckets.items() if knob not in waiver.knobs and bucket not in waiver.buckets
    ]
    named = [*waiver.knobs, *(f"bucket {bucket}" for bucket in waiver.buckets)]
    return f"covers {', '.join(named)}, and this one moves {', '.join(outside)}" if outside else ""
