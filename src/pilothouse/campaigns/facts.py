"""What every loop decides from: one consistent snapshot of what is stored of its campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pilothouse.campaigns.record import Promotion, Trial
from pilothouse.campaigns.steps import StepFact
from pilothouse.proposals.proposal import Proposal


class StepFacts(Protocol):
    """The newest job of a step by the step's key, or None."""

    def __call__(self, key: str, /) -> StepFact | None:
        """Return what is known of the step."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What every kind of loop needs to know.

    `since` is when a person last started the loop: failures before it are tried again. `trials_max` is the highest
    trial this start may judge, None for endless. `spent_hours` sums every attempt. `proposals` holds the newest of
    each trial. `moved` says that a person's new knob values wait to be proposed.
    """

    step: StepFacts
    trials: Sequence[Trial]
    promotions: Sequence[Promotion]
    proposals: Mapping[int, Proposal]
    spent_hours: float
    since: datetime
    trials_max: int | None
    moved: bool = False
