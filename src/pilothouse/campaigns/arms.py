"""The runs of a campaign over seeds: what is wanted of an arm, what has come of it, and in which order they start."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from pilothouse.campaigns.action import Await, Failed, Submit
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.facts import Facts
from pilothouse.campaigns.seeds import Purpose, seed_of
from pilothouse.campaigns.steps import Step, StepFact, make_step
from pilothouse.campaigns.wanted import Done, want
from pilothouse.canonical import Json
from pilothouse.evidence.noise_floor import Conditions
from pilothouse.evidence.seeds import LARGEST
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import JobId

RUN = "train"
"""The kind of every run here; which arm it belongs to follows from its config and its seed."""

DOOMED = "doomed"
"""The end of a run that was stopped because its curve left it no chance: no failure, and no result."""

ABANDONED = "abandoned"
"""The end of a trial that would have begun again after looks were taken at it."""

NO_FAULT = frozenset({"", ABANDONED, DOOMED})
"""Ends of a trial that are nobody's failure."""

OWN_FAULTS = frozenset(
    {
        Outcome.CRASHED,
        Outcome.NOT_A_NUMBER,
        Outcome.OUT_OF_MEMORY,
        Outcome.PROMISE_BROKEN,
        Outcome.SILENT,
        Outcome.SUMMARY_MISSING,
        Outcome.TIMED_OUT,
    }
)
"""Ends that a config can bring about: of a candidate they are a result. All others are a machine's or a person's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run that has ended; a `doomed` one was stopped because its curve left it no chance."""

    step: Step
    fact: StepFact
    doomed: bool = False

    def value(self, metric: str) -> float:
        """Return the metric, NaN if the run failed or diverged."""
        found = self.fact.metrics.get(metric, math.nan) if self.fact.stage is Stage.SHIPPED else math.nan
        return found if abs(found) <= LARGEST else math.nan

    def failure(self) -> str:
        """Return how it failed, empty if it did not; to be stopped as doomed is no failure."""
        if self.doomed or self.fact.stage is Stage.SHIPPED:
            return ""
        return self.fact.outcome.value if self.fact.outcome is not None else self.fact.stage.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Runs of one config within one trial's seeds, for one purpose."""

    config: Mapping[str, Json]
    trial: int
    purpose: Purpose


def run_step(definition: AutopilotDefinition, conditions: Conditions, series: Series, index: int) -> Step:
    """Return the run number `index` of a series; the same config and seed under the same conditions is one run."""
    return make_step(
        definition,
        kind=RUN,
        table=definition.trainer,
        config=series.config,
        trial=series.trial,
        feeds={},
        artifacts=(),
        metrics=tuple(definition.metrics),
        seed=seed_of(definition.autopilot.seed, trial=series.trial, purpose=series.purpose, index=index),
        conditions=f"{conditions.code} on {conditions.hardware}",
    )


def gather(
    steps: Sequence[Step],
    facts: Facts,
    *,
    fatal: frozenset[str] = frozenset(),
    doomed: frozenset[JobId] = frozenset(),
) -> tuple[Ran, ...] | Submit | Await | Failed:
    """Return the runs when all have ended, else what brings them closer; all are handed to the fleet at once.

    A run that failed by its config's doing has ended, and so has one whose job is among the `doomed`; any other failure
    is a person's to mend. When one of the `fatal` steps has ended in such a way, what has ended until then is returned,
    and the others are not waited for.
    """
    ended: list[Ran] = []
    submit: Submit | None = None
    awaited: Await | None = None
    for step in steps:
        fact = facts.step(step.key)
        if fact is not None and fact.job in doomed:
            ended.append(Ran(step=step, fact=fact, doomed=True))
            continue
        match want(step, facts):
            case Done(fact=fact):
                ended.append(Ran(step=step, fact=fact))
            case Failed(fact=fact) as failed:
                if fact.outcome not in OWN_FAULTS:
                    return failed
                ended.append(Ran(step=step, fact=fact))
            case Submit() as wanted:
                submit = submit or replace(wanted, beside=tuple(steps))
            case Await() as wanted:
                awaited = awaited or replace(wanted, beside=tuple(steps))
    if any(run.doomed or run.failure() for run in ended if run.step.key in fatal):
        return tuple(ended)
    return submit or awaited or tuple(ended)


def known(definition: AutopilotDefinition, facts: Facts, conditions: Conditions, series: Series) -> list[Ran]:
    """Return the runs of a series that were ever begun and have ended, from its first; nothing new is wanted."""
    ran: list[Ran] = []
    index = 0
    while (fact := facts.step((step := run_step(definition, conditions, series, index)).key)) is not None:
        if fact.ended_at is not None:
            ran.append(Ran(step=step, fact=fact))
        index += 1
    return ran


def interleaved(*arms: Sequence[Step]) -> list[Step]:
    """Return the runs of all arms in turn, so that a machine that slows down slows all of them."""
    turns: Iterable[tuple[Step | None, ...]] = zip_longest(*arms)
    return [step for turn in turns for step in turn if step is not None]


def values(runs: Iterable[Ran], metric: str) -> list[float]:
    """Return the metric of each run, NaN where it failed."""
    return [run.value(metric) for run in runs]


def first_failure(runs: Iterable[Ran]) -> str:
    """Return how the first run that failed did, empty if none did."""
    return next((failure for run in runs if (failure := run.failure())), "")
