"""Compare two ferries by one metric: example by example where both wrote their scores, else over their seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from pilothouse.campaigns.ferry import SAMPLES
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.sections import Metric
from pilothouse.campaigns.steps import StepFact
from pilothouse.errors import PilothouseError
from pilothouse.evidence.clustered import paired_clustered
from pilothouse.evidence.confidence import confidence
from pilothouse.evidence.runs_file import Group
from pilothouse.evidence.trial_verdict import Arms, Question, TrialVerdict, judge_trials, method_of
from pilothouse.evidence.verdict import Confidence, Outcome, Verdict, judge
from pilothouse.operations.samples import Samples, paired, read_samples
from pilothouse.ports.blobs import Blobs

SEEDS_LEAST = 2
"""Runs of each ferry from which seeds can tell anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The shipped runs of both ferries, by seed."""

    before: Mapping[int, StepFact]
    after: Mapping[int, StepFact]


def compare_ferries(definition: FerryDefinition, blobs: Blobs, sides: Sides) -> tuple[Verdict, ...]:
    """Return the verdict on every key metric, the primary one first."""
    return tuple(_compare(definition, blobs, sides, name, metric) for name, metric in definition.key_metrics().items())


def _compare(definition: FerryDefinition, blobs: Blobs, sides: Sides, name: str, metric: Metric) -> Verdict:
    why = "one run on each side tells nothing of what a seed alone changes"
    if metric.column is not None and all(
        SAMPLES in fact.artifacts for fact in (*sides.before.values(), *sides.after.values())
    ):
        try:
            return _by_example(definition, blobs, sides, name, metric)
        except PilothouseError as error:
            why = error.message
    if min(len(sides.before), len(sides.after)) >= SEEDS_LEAST:
        try:
            return _over_seeds(definition, sides, name, metric)
        except PilothouseError as error:
            why = error.message
    return _open(definition, sides, name, metric, why=why)


def _by_example(definition: FerryDefinition, blobs: Blobs, sides: Sides, name: str, metric: Metric) -> Verdict:
    """Compare each example's score, its mean over the seeds of either ferry."""
    assert metric.column is not None, f"{name} was asked for by example without a column"
    left, right = paired(
        *(_mean_samples(definition, blobs, side, metric.column) for side in (sides.before, sides.after))
    )
    comparison = paired_clustered(left.score, right.score, left.cluster, alpha=definition.decision.alpha)
    verdict = judge(
        comparison, metric=name, direction=metric.better(), smallest_effect=metric.smallest_effect_of_interest
    )
    return replace(verdict, baseline_runs=len(sides.before), candidate_runs=len(sides.after))


def _mean_samples(definition: FerryDefinition, blobs: Blobs, side: Mapping[int, StepFact], column: str) -> Samples:
    read = [
        read_samples(blobs.path(fact.artifacts[SAMPLES].digest), column=column, cluster=definition.decision.cluster)
        for fact in side.values()
    ]
    first = read[0]
    aligned = [paired(first, other)[1] for other in read]
    own = paired(first, first)[0]
    return replace(own, score=np.mean([each.score for each in aligned], axis=0))


def _over_seeds(definition: FerryDefinition, sides: Sides, name: str, metric: Metric) -> Verdict:
    question = Question(
        metric=name,
        direction=metric.better(),
        alpha=definition.decision.alpha,
        smallest_effect=metric.smallest_effect_of_interest,
    )
    arms = Arms(baseline=_group(sides.before, name), candidate=_group(sides.after, name), same_seeds=True)
    return _as_verdict(definition, sides, metric, judge_trials(question, arms))


def _as_verdict(definition: FerryDefinition, sides: Sides, metric: Metric, found: TrialVerdict) -> Verdict:
    runs = min(len(sides.before), len(sides.after))
    claimed = found.outcome is not Outcome.INCONCLUSIVE
    return replace(
        _open(definition, sides, found.question.metric, metric, why=found.reason),
        outcome=found.outcome,
        difference=found.found.difference,
        shrunk=found.found.shrunk,
        low=found.found.interval.low,
        high=found.found.interval.high,
        p=found.found.p,
        method=method_of(found.found),
        scope=f"The error rate of {100 * definition.decision.alpha:g} % covers training-seed noise in this comparison.",
        confidence=confidence(runs=runs) if claimed else Confidence.EXPLORATORY,
    )


def _open(definition: FerryDefinition, sides: Sides, name: str, metric: Metric, *, why: str) -> Verdict:
    """Return a verdict that leaves the question open."""
    before, after = (_mean(side, name) for side in (sides.before, sides.after))
    alpha = definition.decision.alpha
    return Verdict(
        outcome=Outcome.INCONCLUSIVE,
        metric=name,
        direction=metric.better(),
        baseline=before,
        candidate=after,
        difference=after - before,
        shrunk=0.0,
        low=-math.inf,
        high=math.inf,
        p=1.0,
        alpha=alpha,
        alpha_spent=alpha,
        alpha_left=0.0,
        baseline_runs=len(sides.before),
        candidate_runs=len(sides.after),
        examples=0,
        clusters=0,
        method="none",
        scope="No error rate is claimed.",
        confidence=Confidence.EXPLORATORY,
        reason=why,
    )


def _group(side: Mapping[int, StepFact], metric: str) -> Group:
    return Group(
        name="", steps=None, values={str(seed): fact.metrics.get(metric, math.nan) for seed, fact in side.items()}
    )


def _mean(side: Mapping[int, StepFact], metric: str) -> float:
    values = [fact.metrics[metric] for fact in side.values() if math.isfinite(fact.metrics.get(metric, math.nan))]
    return fmean(values) if values else math.nan
