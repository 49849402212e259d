"""What a proposer knows of a campaign, and what it answers: plain values, the same for every source of proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pilothouse.canonical import Json
from pilothouse.evidence.verdict import Direction, Outcome
from pilothouse.knobs.change_budget import ChangeBudget
from pilothouse.knobs.delta import Change
from pilothouse.knobs.expression import Expression
from pilothouse.knobs.invariant import Invariant
from pilothouse.knobs.knob import Knob
from pilothouse.proposals.proposal import Risk


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One proposal of the past, with what came of it.

    `outcome` is None for one that was refused before any run, and `refusal` says why. `value` is the mean of the
    primary metric over the finished runs, None where none finished; `gain` the shrunk estimate against the baseline of
    its time, positive when better. `failure` names how its runs failed (`out_of_memory`, `not_a_number`, …).
    """

    number: int
    source: str
    config: Mapping[str, Json]
    changes: tuple[Change, ...]
    outcome: Outcome | None
    value: float | None = None
    gain: float | None = None
    runs: int = 0
    failure: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Everything that a proposal may rest on.

    `parent` is the baseline's config and `value` its mean over so many `runs`. `history` holds every proposal, oldest
    first. `seed` differs for each proposal that is asked for, and is the same when the same one is asked for again.
    `invariants` and `derived` are what a draft will be held to besides the knobs.
    """

    metric: str
    direction: Direction
    knobs: Mapping[str, Knob]
    budget: ChangeBudget
    parent: Mapping[str, Json]
    value: float | None
    history: Sequence[Tried]
    seed: int
    runs: int = 1
    invariants: tuple[Invariant, ...] = ()
    derived: Mapping[str, Expression] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A change that somebody asks for, with the reasons that the gate wants to read; nothing in it is checked yet."""

    overrides: Mapping[str, Json]
    source: str
    rationale: str
    hypothesis: str
    why_not_identical: str
    risk: Risk
    rollback: str
