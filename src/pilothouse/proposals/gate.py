"""Who said yes to exactly this, and still does.

An approval is bound to the digest of its subject: config, code commit, evaluation set, cost ceiling and pool. The
caller takes the subject anew at the moment of the launch, so whatever drifted since the approval has another digest and
is not covered. A waiver covers what its scope names, so many times, until it ends; the campaign file's own covers every
subject of its campaign until it expires. Each is a record with a name on it, never a default.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pilothouse.errors import NotApproved
from pilothouse.ids import ProposalId
from pilothouse.proposals.proposal import Approval, Subject
from pilothouse.proposals.waiver import Moves, Standing, Waiver, why_not

EVERY_SUBJECT = "*"
"""The scope of a standing waiver; an approval that is no waiver never covers it."""

DRIFTED = "drifted since it was drafted"
"""How the refusal begins of a proposal whose subject is no longer what was drafted; another one takes its place."""

OVERTAKEN = "superseded by the tick "
"""How the refusal begins of a proposal that nobody had answered when the next one was due."""

DIGEST_SHOWN = 12
OTHERS_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The gate is open for one subject, and this record opened it."""

    proposal: ProposalId
    subject_digest: str
    by: Approval | Waiver
    at: datetime


def admit(
    proposal: ProposalId,
    subject_digest: str,
    approvals: Iterable[Approval],
    *,
    now: datetime,
    waivers: Sequence[Standing] = (),
    moves: Moves | None = None,
) -> Admitted:
    """Open the gate by the first of the campaign's approvals that covers the subject now, an exact one before a waiver.

    `moves` is what `waivers` look at. Raises `NotApproved`, saying that nothing was granted, that it was for another
    subject, that it has expired, or why each waiver does not cover it.
    """
    assert moves is not None or not waivers, "a waiver looks at what moves"
    assert now.tzinfo is not None, f"a naive time cannot expire anything: {now!r}"
    assert subject_digest != EVERY_SUBJECT, "a subject's digest is never a waiver's scope"
    known = sorted(approvals, key=lambda approval: (_is_standing(approval), approval.granted_at))
    valid = [approval for approval in known if _covers(approval, subject_digest) and is_valid(approval, now)]
    looked = [] if moves is None else [(each.waiver, why_not(each, moves, now=now)) for each in waivers]
    exact = [approval for approval in valid if not _is_standing(approval)]
    covering: list[Approval | Waiver] = [*exact, *(waiver for waiver, why in looked if not why), *valid]
    if covering:
        return Admitted(proposal=proposal, subject_digest=subject_digest, by=covering[0], at=now)
    reasons = [_why_not(known, subject_digest, now), *(f"waiver {waiver.id} {why}" for waiver, why in looked)]
    raise NotApproved(
        f"proposal {proposal} is not approved: {'; '.join(reasons)}",
        fix=f"look at it with `pilothouse proposal show {proposal}`, then `pilothouse proposal approve {proposal}`",
    )


def drift(proposed: Subject, current: Subject) -> tuple[str, ...]:
    """Return the names of what differs between the subject as proposed and as it is now."""
    before, after = proposed.as_json(), current.as_json()
    return tuple(name for name, value in before.items() if value != after[name])


def _is_standing(approval: Approval) -> bool:
    return approval.waiver and approval.subject_digest == EVERY_SUBJECT


def _covers(approval: Approval, subject_digest: str) -> bool:
    return _is_standing(approval) or approval.subject_digest == subject_digest


def is_valid(approval: Approval, now: datetime) -> bool:
    """Whether it is signed, granted already and not expired; at its expiry it is."""
    signed = bool(approval.approver.strip())
    return signed and approval.granted_at <= now and (approval.expires_at is None or now < approval.expires_at)


def _why_not(known: list[Approval], subject_digest: str, now: datetime) -> str:
    covering = [approval for approval in known if _covers(approval, subject_digest)]
    shown = subject_digest[:DIGEST_SHOWN]
    if not known:
        return f"nobody has said yes to its subject {shown}"
    if not covering:
        others = list(dict.fromkeys(approval.subject_digest[:DIGEST_SHOWN] for approval in reversed(known)))
        more = f" and {len(others) - OTHERS_SHOWN} older" if len(others) > OTHERS_SHOWN else ""
        return f"its subject is {shown} now, and what was approved is {', '.join(others[:OTHERS_SHOWN])}{more}"
    last = covering[-1]
    if last.expires_at is not None and last.expires_at <= now:
        return f"the approval by {last.approver} expired at {last.expires_at.isoformat(timespec='seconds')}"
    if last.granted_at > now:
        return f"the approval by {last.approver} holds only from {last.granted_at.isoformat(timespec='seconds')}"
    return "the approval carries no name"
