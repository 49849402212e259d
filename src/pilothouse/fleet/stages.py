"""The stages of a job and the one table of the ways between them.

blocked ─► queued ─► assigned ─► building ─► review ─► testing ─► shipped
             ▲           │           │
             └───────────┴───────────┘   (preempted, lost, restarted: the epoch grows)

from any stage that is not an end: failed, cancelled, dead_letter
"""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """Where a job stands; `building` is running."""

    BLOCKED = "blocked"
    QUEUED = "queued"
    ASSIGNED = "assigned"
    BUILDING = "building"
    REVIEW = "review"
    TESTING = "testing"
    SHIPPED = "shipped"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD_LETTER = "dead_letter"


ENDS = frozenset({Stage.SHIPPED, Stage.FAILED, Stage.CANCELLED, Stage.DEAD_LETTER})
LEASED = frozenset({Stage.ASSIGNED, Stage.BUILDING})

TRANSITIONS: dict[Stage, frozenset[Stage]] = {
    Stage.BLOCKED: frozenset({Stage.QUEUED, Stage.FAILED, Stage.CANCELLED, Stage.DEAD_LETTER}),
    Stage.QUEUED: frozenset({Stage.BLOCKED, Stage.ASSIGNED, Stage.FAILED, Stage.CANCELLED, Stage.DEAD_LETTER}),
    # A short attempt may have succeeded before anybody was told that it had begun.
    Stage.ASSIGNED: frozenset(
        {
            Stage.QUEUED,
            Stage.BUILDING,
            Stage.REVIEW,
            Stage.TESTING,
            Stage.SHIPPED,
            Stage.FAILED,
            Stage.CANCELLED,
            Stage.DEAD_LETTER,
        }
    ),
    Stage.BUILDING: frozenset(
        {Stage.QUEUED, Stage.REVIEW, Stage.TESTING, Stage.SHIPPED, Stage.FAILED, Stage.CANCELLED, Stage.DEAD_LETTER}
    ),
    Stage.REVIEW: frozenset({Stage.QUEUED, Stage.TESTING, Stage.FAILED, Stage.CANCELLED, Stage.DEAD_LETTER}),
    Stage.TESTING: frozenset({Stage.QUEUED, Stage.SHIPPED, Stage.FAILED, Stage.CANCELLED, Stage.DEAD_LETTER}),
    Stage.SHIPPED: frozenset(),
    Stage.FAILED: frozenset(),
    Stage.CANCELLED: frozenset(),
    Stage.DEAD_LETTER: frozenset(),
}


def may_move(before: Stage, after: Stage) -> bool:
    """Whether the table has a way from one stage to the other."""
    return after in TRANSITIONS[before]
