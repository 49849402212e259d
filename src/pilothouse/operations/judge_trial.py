"""Close a trial: verdict, promotion, look, logbook entry, all in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pilothouse.campaigns.definition import FlywheelDefinition
from pilothouse.campaigns.flywheel import Judge, golden_names
from pilothouse.campaigns.record import Campaign, Promotion, Trial, TrialState
from pilothouse.campaigns.steps import Step, StepFact
from pilothouse.canonical import Json
from pilothouse.evidence.verdict import Verdict, decide
from pilothouse.logbook.entry import NewEntry
from pilothouse.operations.record_entry import record_entry
from pilothouse.operations.samples import Samples, paired
from pilothouse.ports.store import Transaction
from pilothouse.proposals.promotion import should_promote

_REPORT = "evaluate-"
"""How the kind of a step begins that scores a golden set for the report only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was decided about one trial."""

    trial: Trial
    promoted: bool


def compare(definition: FlywheelDefinition, *, baseline: Samples, candidate: Samples) -> Verdict:
    """Return the verdict on two evaluations of the same golden set, by the campaign's primary metric."""
    name, metric = definition.primary()
    left, right = paired(baseline, candidate)
    return decide(
        metric=name,
        direction=metric.better(),
        baseline=left.score,
        candidate=right.score,
        cluster=left.cluster,
        alpha=definition.decision.alpha,
        smallest_effect=metric.smallest_effect_of_interest,
    )


def begin_baseline(definition: FlywheelDefinition, campaign: Campaign, *, now: datetime) -> Trial:
    """Return trial 0, the untrained model, which needs no proposal because it changes nothing."""
    return Trial(
        product=campaign.product,
        campaign=campaign.name,
        number=0,
        proposal=None,
        config={**definition.trainer.fixed_values(), **campaign.config},
        state=TrialState.RUNNING,
        started_at=now,
        ended_at=None,
        verdict=None,
        metrics={},
        seconds={},
    )


def judge_trial(
    tx: Transaction,
    action: Judge,
    *,
    definition: FlywheelDefinition,
    campaign: Campaign,
    trial: Trial,
    verdict: Verdict | None,
    now: datetime,
) -> Judged:
    """Store the verdict and what follows from it. Trial 0 has no verdict and is the first baseline."""
    assert trial.state is TrialState.RUNNING, f"trial {trial.number} is {trial.state.value} already"
    judged = replace(
        trial,
        state=TrialState.JUDGED,
        ended_at=now,
        verdict=verdict,
        metrics=_metrics(action.steps),
        seconds=_seconds(action.steps, trial=trial, now=now),
    )
    promoted = verdict is None or should_promote(verdict)
    tx.campaigns.put_trial(judged)
    for golden in golden_names(definition):
        tx.campaigns.count_look(campaign.product, campaign.name, golden)
    if promoted:
        tx.campaigns.add_promotion(_promotion(action, judged, now=now))
        moved = {knob: judged.config[knob] for knob in definition.knobs}
        tx.campaigns.configure(campaign.product, campaign.name, config=moved)
    body = _entry(definition, action, judged, promoted=promoted)
    record_entry(tx, body, product=campaign.product, thread=campaign.name, now=now)
    return Judged(trial=judged, promoted=promoted)


def _promotion(action: Judge, trial: Trial, *, now: datetime) -> Promotion:
    return Promotion(
        product=trial.product,
        campaign=trial.campaign,
        trial=trial.number,
        checkpoint=action.checkpoint,
        samples=action.samples,
        config=trial.config,
        reason="the untrained model is the first baseline" if trial.verdict is None else "the verdict is improved",
        at=now,
    )


def _metrics(steps: Sequence[tuple[Step, StepFact]]) -> dict[str, float]:
    """Return the metrics of training and evaluation; where both name one, the evaluation's counts.

    Those of a golden set that decides nothing carry its name: `test.q_gap`.
    """
    merged: dict[str, float] = {}
    for step, fact in steps:
        kind = step.spec.kind.removeprefix("baseline-")
        if kind in {"train", "evaluate"}:
            merged |= fact.metrics
        elif kind.startswith(_REPORT):
            merged |= {f"{kind.removeprefix(_REPORT)}.{name}": value for name, value in fact.metrics.items()}
    return merged


def _seconds(steps: Sequence[tuple[Step, StepFact]], *, trial: Trial, now: datetime) -> dict[str, float]:
    """Return the seconds of each step, and the platform's own share where no attempt was repeated.

    A repeated attempt, or a step from before the trial began, means that the loop was interrupted or that the trial was
    proposed anew, and the time it lay still is nobody's overhead.
    """
    seconds = {step.spec.kind: fact.seconds for step, fact in steps}
    if trial.number > 0 and all(
        fact.attempts == 1 and fact.ended_at is not None and fact.ended_at >= trial.started_at for _, fact in steps
    ):
        seconds["overhead"] = (now - trial.started_at).total_seconds() - sum(seconds.values())
    return seconds


def _entry(definition: FlywheelDefinition, action: Judge, trial: Trial, *, promoted: bool) -> NewEntry:
    """Say the trial in the logbook's terms."""
    primary, metric = definition.primary()
    verdict = trial.verdict
    reported = [f"{golden}.{name}" for golden in golden_names(definition)[1:] for name in definition.metrics]
    names = [name for name in (*definition.metrics, *reported, "train_loss") if name in trial.metrics]
    result = "; ".join(f"{name} {trial.metrics[name]:.6g}" for name in names)
    evidence: dict[str, Json] = {
        "verdict": verdict.as_json() if verdict is not None else None,
        "metrics": dict(trial.metrics),
        "samples": action.samples,
        "baseline_samples": action.baseline,
        "checkpoint": action.checkpoint,
        "jobs": [fact.job for _, fact in action.steps],
        "proposal": trial.proposal,
    }
    if verdict is None:
        label, hypothesis, interpretation, confidence = _baseline_words(primary)
    else:
        label = f"iteration {trial.number}: {verdict.outcome.value}"
        hypothesis = f"{primary} gets {'lower' if metric.direction == 'min' else 'higher'} than the best so far"
        interpretation = _interpretation(verdict, promoted=promoted)
        confidence = verdict.confidence.value
    return NewEntry(
        label=label,
        hypothesis=hypothesis,
        command=" ".join(definition.trainer.command),
        config=config_words(trial.config),
        result=result,
        interpretation=interpretation,
        next_action=_next_words(trial, promoted=promoted),
        confidence=confidence,
        evidence=evidence,
    )


def _baseline_words(primary: str) -> tuple[str, str, str, str]:
    return (
        "baseline: the untrained model",
        f"none: this fixes where {primary} starts",
        "the first rival; every later iteration is compared with the best checkpoint so far",
        "exploratory",
    )


def _interpretation(verdict: Verdict, *, promoted: bool) -> str:
    """Say the verdict with its interval and its error rate."""
    level = 100 * (1 - verdict.alpha)
    moved = "the baseline moves to this checkpoint" if promoted else "the baseline stays"
    return (
        f"{verdict.outcome.value}: {verdict.metric} {verdict.baseline:.6g} → {verdict.candidate:.6g}, difference "
        f"{verdict.difference:.6g}, {level:g} % interval [{verdict.low:.6g}, {verdict.high:.6g}] over "
        f"{verdict.clusters} clusters ({verdict.method}); {verdict.reason}; {moved}. {verdict.scope}"
    )


def _next_words(trial: Trial, *, promoted: bool) -> str:
    if trial.number == 0:
        return "train on the first seeds"
    return f"iteration {trial.number + 1} continues from " + ("this checkpoint" if promoted else "the best checkpoint")


def config_words(config: Mapping[str, Json]) -> str:
    """Return a config in words."""
    return ", ".join(f"{name}={value}" for name, value in sorted(config.items()))
