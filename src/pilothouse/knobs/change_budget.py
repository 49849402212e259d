"""How many knobs one proposal may move, counted on what really changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pilothouse.errors import BadValue, ChangeBudgetExceeded
from pilothouse.knobs.delta import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeBudget:
    """The least and the most knobs that one proposal may move; an identical rerun with a reason is always allowed."""

    minimum: int = 1
    maximum: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= self.maximum:
            raise BadValue(
                f"a change budget from {self.minimum} to {self.maximum} allows nothing",
                fix="set [change_budget] so that 0 <= min <= max",
            )


def check(changes: Sequence[Change], budget: ChangeBudget, identical_reason: str) -> None:
    """Refuse with `ChangeBudgetExceeded` a delta with too many or too few changes.

    A delta without changes is an identical rerun and needs its reason in words, whatever the budget's minimum.
    """
    count = len(changes)
    if count == 0:
        if not identical_reason.strip():
            raise ChangeBudgetExceeded(
                "nothing changes against the parent, and no reason for an identical rerun is given",
                fix="move a knob, or say why the same config should run again",
            )
        return
    if not budget.minimum <= count <= budget.maximum:
        moved = ", ".join(f"{change.knob} ({change.before!r} -> {change.after!r})" for change in changes)
        raise ChangeBudgetExceeded(
            f"{count} knobs change against the parent, allowed are {budget.minimum} to {budget.maximum}: {moved}",
            fix=f"propose {budget.minimum} to {budget.maximum} changes at a time",
        )
