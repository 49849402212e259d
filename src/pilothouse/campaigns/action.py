"""What a campaign's loop may do next, as far as every kind of loop shares it."""

from __future__ import annotations

from dataclasses import dataclass

from pilothouse.campaigns.steps import Step, StepFact
from pilothouse.proposals.proposal import Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Hand the step to the fleet as its job number `generation`.

    `beside` holds the steps that are wanted at the same time, this one among them; whatever else of the campaign still
    waits or runs is superseded.
    """

    step: Step
    generation: int
    beside: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Await:
    """The fleet has the step, and perhaps those `beside` it; come back when a job changes."""

    step: Step
    fact: StepFact
    beside: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Admit:
    """Bring the proposal to the gate; if it opens, the trial begins."""

    proposal: Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A step ended without its result and is not tried again by itself."""

    step: Step
    fact: StepFact


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Nothing is left to do; `final` says whether the campaign itself is done, or only this start of it."""

    reason: str
    final: bool
