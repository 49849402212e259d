"""A/A replicates: the same config trained again with other seeds, to learn how much the metrics move by themselves.

The steps, the golden set and the data are the flywheel's own, so what both need is made once for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pilothouse.campaigns.action import Await, Failed, Finished, Submit
from pilothouse.campaigns.flywheel import Action, FlywheelFacts, evaluate_step, iteration_tokens, locked_golden
from pilothouse.campaigns.flywheel_definition import FlywheelDefinition
from pilothouse.campaigns.steps import make_step
from pilothouse.campaigns.wanted import Done, spent_limit, want
from pilothouse.canonical import Json
from pilothouse.fleet.job import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicated:
    """Every A/A replicate has ended: the metrics of each that finished, and how many failed by their own doing."""

    metrics: tuple[Mapping[str, float], ...]
    failed: int


def next_replicate(
    definition: FlywheelDefinition, facts: FlywheelFacts, *, config: Mapping[str, Json], replicates: int
) -> Action | Replicated:
    """Return what brings the A/A replicates closer: one config, the first iteration's data, only seeds differ.

    The data and the golden set are those of the campaign itself, so they are made once for both. A replicate that ends
    in NaN is a result, and is counted; any other failure is a person's to mend.
    """
    golden = locked_golden(definition, facts, definition.flywheel.golden)
    if not isinstance(golden, Done):
        return _within_budget(definition, facts, golden)
    tokens = iteration_tokens(definition, facts, 1)
    if not isinstance(tokens, Done):
        return _within_budget(definition, facts, tokens)
    metrics: list[Mapping[str, float]] = []
    failed = 0
    for number in range(1, replicates + 1):
        scored = _replicate(definition, facts, golden=golden, tokens=tokens, config=config, number=number)
        if isinstance(scored, Failed) and scored.fact.outcome is Outcome.NOT_A_NUMBER:
            failed += 1
        elif not isinstance(scored, Done):
            return _within_budget(definition, facts, scored)
        else:
            metrics.append(scored.fact.metrics)
    return Replicated(metrics=tuple(metrics), failed=failed)


def _replicate(
    definition: FlywheelDefinition,
    facts: FlywheelFacts,
    *,
    golden: Done,
    tokens: Done,
    config: Mapping[str, Json],
    number: int,
) -> Done | Submit | Await | Failed:
    """Train once with a seed of its own and score it; the seeds follow the campaign's, which its trials use."""
    loop = definition.flywheel.model_copy(update={"seed": definition.flywheel.seed + number})
    seeded = definition.model_copy(update={"flywheel": loop})
    step = make_step(
        seeded,
        kind="calibrate-train",
        table=definition.trainer,
        config=config,
        trial=0,
        feeds={"tokens": (tokens.feed("tokens"),)},
        artifacts=("checkpoint",),
        metrics=("train_loss",),
        seed=seeded.flywheel.seed,
    )
    trained = want(step, facts)
    if not isinstance(trained, Done):
        return trained
    checkpoint = trained.feed("checkpoint")
    return want(evaluate_step(seeded, kind="calibrate-evaluate", golden=golden, checkpoint=checkpoint, trial=0), facts)


def _within_budget(definition: FlywheelDefinition, facts: FlywheelFacts, action: Action) -> Action:
    spent = spent_limit(definition, facts.spent_hours)
    return Finished(reason=spent, final=False) if spent is not None and isinstance(action, Submit) else action
