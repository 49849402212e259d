"""What an agent is asked who drafts a ferry's change: exactly what the rules would choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pilothouse.canonical import Json
from pilothouse.evidence.verdict import Direction
from pilothouse.knobs.change_budget import ChangeBudget
from pilothouse.knobs.expression import Expression
from pilothouse.knobs.invariant import Invariant
from pilothouse.knobs.knob import Knob
from pilothouse.proposals.proposal import Proposal
from pilothouse.proposals.ranking import Ranked
from pilothouse.proposals.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class FerryQuestion:
    """The material of one draft. The same question has the same answer, and is paid for once.

    `ranked` are the rules' own candidates, best first. `earlier` holds the proposals that this ferry has had already:
    each one makes the next question another one.
    """

    number: int
    metric: str
    direction: Direction
    window: Window
    ranked: Sequence[Ranked]
    parent: Mapping[str, Json]
    knobs: Mapping[str, Knob]
    budget: ChangeBudget
    invariants: tuple[Invariant, ...] = ()
    derived: Mapping[str, Expression] = field(default_factory=dict)
    earlier: Sequence[Proposal] = ()
