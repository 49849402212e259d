"""When what an attempt has made is approved: enough different reviewers say yes, and none says no.

A reviewer has one decision, the last one made. A no is a veto, however many say yes. Where reviewers are named, only
theirs count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum

from pilothouse.errors import NotApproved
from pilothouse.fleet.job import Review


class Quorum(StrEnum):
    """What the decisions come to."""

    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"


def quorum(reviews: Iterable[Review], *, approvals: int, reviewers: Collection[str] = ()) -> Quorum:
    """Return what the decisions on one attempt, oldest first, come to."""
    said = standing(reviews, reviewers=reviewers)
    if not all(said.values()):
        return Quorum.REJECTED
    return Quorum.APPROVED if len(said) >= approvals else Quorum.WAITING


def standing(reviews: Iterable[Review], *, reviewers: Collection[str] = ()) -> dict[str, bool]:
    """Return what each reviewer says now, of those whose word counts."""
    return {review.reviewer: review.approved for review in reviews if not reviewers or review.reviewer in reviewers}


def check_reviewer(reviewer: str, *, reviewers: Collection[str]) -> None:
    """Raise `NotApproved` for a reviewer whose word does not count."""
    if reviewers and reviewer not in reviewers:
        raise NotApproved(
            f"{reviewer} is no reviewer of this job.", fix=f"let one of {', '.join(sorted(reviewers))} decide."
        )
