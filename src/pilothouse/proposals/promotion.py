"""When the baseline moves."""

from __future__ import annotations

from typing import assert_never

from pilothouse.evidence.verdict import Outcome, Verdict


def should_promote(verdict: Verdict | None) -> bool:
    """Whether the trial becomes the baseline: the first one, which has nothing to be compared with, or an improved one.

    A missing verdict means that there is no baseline yet, never that the comparison failed.
    """
    if verdict is None:
        return True
    match verdict.outcome:
        case Outcome.IMPROVED:
            return True
        case Outcome.REGRESSED | Outcome.INCONCLUSIVE:
            return False
        case unknown:
            assert_never(unknown)


def promotion_reason(verdict: Verdict | None) -> str:
    """Return why the baseline moves or stays, for the record."""
    if verdict is None:
        return "it is the first, and there is nothing to compare it with"
    moves = "moves" if should_promote(verdict) else "stays"
    return f"the baseline {moves}: {verdict.metric} is {verdict.outcome.value} ({verdict.reason})"
