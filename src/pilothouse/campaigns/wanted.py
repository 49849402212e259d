"""What is still missing of a step that a loop wants, and whether the campaign may still spend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pilothouse.campaigns.action import Await, Failed, Submit
from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.facts import Facts
from pilothouse.campaigns.steps import Feed, Step, StepFact
from pilothouse.canonical import Json
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import ENDS, Stage
from pilothouse.knobs.invariant import derive
from pilothouse.proposals.proposal import Proposal

WAITING = frozenset({Stage.BLOCKED, Stage.QUEUED})
"""Stages in which nothing of a job has begun."""

GENERATIONS_MAX = 5
"""A step whose output keeps being damaged goes to a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A step with all its promised outputs in place."""

    step: Step
    fact: StepFact

    def feed(self, name: str) -> Feed:
        """Return one of its outputs as the input of another step."""
        return Feed(key=self.step.key, digest=self.fact.artifacts[name].digest)


def want(step: Step, facts: Facts) -> Done | Submit | Await | Failed:
    """Return the step's outputs if they are there, else what brings them closer."""
    fact = facts.step(step.key)
    if fact is None:
        return Submit(step=step, generation=0)
    if fact.stage not in ENDS:
        return Await(step=step, fact=fact)
    if fact.stage is Stage.SHIPPED and set(step.spec.artifacts) <= fact.artifacts.keys():
        return Done(step=step, fact=fact)
    damaged = fact.stage is Stage.SHIPPED or fact.outcome is Outcome.INPUT_DAMAGED
    # A cancelled job was superseded by another step; when its own is wanted again, it is simply submitted again.
    again = fact.stage is Stage.CANCELLED or (fact.ended_at is not None and fact.ended_at < facts.since)
    if again or (damaged and fact.generation < GENERATIONS_MAX):
        return Submit(step=step, generation=fact.generation + 1)
    return Failed(step=step, fact=fact)


def present_config(definition: Definition, config: Mapping[str, Json]) -> dict[str, Json]:
    """Return what a training of this stored config is given today: its knobs, and the values that the file fixes now.

    A knob that has joined the file since takes its default, and what is derived is worked out anew.
    """
    knobs = {name: config.get(name, table.default) for name, table in definition.knobs.items()}
    return derive({**definition.trainer.fixed_values(), **knobs}, definition.derived())


def applied_config(definition: Definition, proposal: Proposal) -> dict[str, Json]:
    """Return what a training is given: the values the owner fixed, and the knobs as proposed."""
    return derive({**definition.trainer.fixed_values(), **proposal.config}, definition.derived())


def spent_limit(definition: Definition, spent_hours: float, *, agents_usd: float = 0.0) -> str | None:
    """Return which budget is used up, in words, or None. Hours count whole attempts, on every seat they held.

    `agents_usd` is what agents have cost besides.
    """
    budget = definition.budget
    gpu_hours = spent_hours * definition.trainer.requires.gpus
    checks = [
        ("hours", budget.hours, spent_hours),
        ("gpu_hours", budget.gpu_hours, gpu_hours),
        ("usd", budget.usd, spent_hours * (budget.usd_per_hour or 0.0) + agents_usd),
    ]
    for name, ceiling, spent in checks:
        if ceiling is not None and spent >= ceiling:
            return f"budget.{name} is used up: {spent:.3f} of {ceiling:g}"
    return None
