"""Close a trial: verdict, promotion, look, logbook entry, all in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from pilothouse.campaigns.flywheel import Judge, golden_names
from pilothouse.campaigns.flywheel_definition import FlywheelDefinition
from pilothouse.campaigns.record import Campaign, Promotion, Trial, TrialState
from pilothouse.campaigns.steps import Step, StepFact
from pilothouse.campaigns.wanted import present_config
from pilothouse.canonical import Json
from pilothouse.evidence.interval import Comparison
from pilothouse.evidence.verdict import Verdict, judge
from pilothouse.logbook.entry import NewEntry
from pilothouse.operations.record_entry import record_entry
from pilothouse.operations.samples import Samples, paired
from pilothouse.ports.store import Transaction
from pilothouse.proposals.promotion import should_promote

if TYPE_CHECKING:
    from pilothouse.evidence.ladder import Rung

_REPORT = "evaluate-"
"""How the kind of a step begins that scores a golden set for the report only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was decided about one trial."""

    trial: Trial
    promoted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two evaluations of the deciding golden set: the verdict, and the comparison that it rests on."""

    verdict: Verdict
    comparison: Comparison


def compare(definition: FlywheelDefinition, *, baseline: Samples, candidate: Samples) -> Compared:
    """Compare two evaluations of the same golden set by the campaign's primary metric."""
    # Whoever only reads trials needs no numbers; numpy and scipy load where a verdict is made.
    from pilothouse.evidence.clustered import paired_clustered  # noqa: PLC0415  as said above

    name, metric = definition.primary()
    left, right = paired(baseline, candidate)
    comparison = paired_clustered(left.score, right.score, left.cluster, alpha=definition.decision.alpha)
    verdict = judge(
        comparison,
        metric=name,
        direction=metric.better(),
        smallest_effect=metric.smallest_effect_of_interest,
    )
    return Compared(verdict=verdict, comparison=comparison)


def begin_baseline(definition: FlywheelDefinition, campaign: Campaign, *, now: datetime) -> Trial:
    """Return trial 0, the untrained model, which needs no proposal because it changes nothing."""
    return Trial(
        product=campaign.product,
        campaign=campaign.name,
        number=0,
        proposal=None,
        config=present_config(definition, campaign.config),
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
    compared: Compared | None,
    now: datetime,
) -> Judged:
    """Store the verdict and what follows from it. Trial 0 is compared with nothing and is the first baseline."""
    verdict = compared.verdict if compared is not None else None
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
    rung = _climb(tx, definition, judged, compared)
    for golden in golden_names(definition):
        shown = rung.shown if rung is not None and golden == definition.flywheel.golden else None
        tx.campaigns.count_look(campaign.product, campaign.name, golden, published=shown)
    if promoted:
        tx.campaigns.add_promotion(_promotion(action, judged, now=now))
        moved = {knob: judged.config[knob] for knob in definition.knobs}
        tx.campaigns.configure(campaign.product, campaign.name, config=moved)
    body = _entry(definition, action, judged, promoted=promoted, rung=rung)
    record_entry(tx, body, product=campaign.product, thread=campaign.name, now=now)
    return Judged(trial=judged, promoted=promoted)


def _climb(tx: Transaction, definition: FlywheelDefinition, trial: Trial, compared: Compared | None) -> Rung | None:
    """Return what the ladder says of this look at the deciding golden set; None for trial 0, its first step."""
    if compared is None:
        return None
    from pilothouse.evidence.ladder import climb  # noqa: PLC0415  it loads numpy

    sets = {golden.name: golden for golden in tx.campaigns.golden_sets(trial.product, trial.campaign)}
    deciding = sets[definition.flywheel.golden]
    return climb(
        compared.comparison,
        direction=compared.verdict.direction,
        looks=deciding.looks + 1,
        published=deciding.published,
    )


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


def _entry(
    definition: FlywheelDefinition, action: Judge, trial: Trial, *, promoted: bool, rung: Rung | None
) -> NewEntry:
    """Say the trial in the logbook's terms."""
    primary, metric = definition.primary()
    verdict = trial.verdict
    reported = [f"{golden}.{name}" for golden in golden_names(definition)[1:] for name in definition.metrics]
    names = [name for name in (*definition.metrics, *reported, "train_loss") if name in trial.metrics]
    result = "; ".join(f"{name} {trial.metrics[name]:.6g}" for name in names)
    evidence: dict[str, Json] = {
        "verdict": verdict.as_json() if verdict is not None else None,
        "ladder": None if rung is None else asdict(rung),
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
        interpretation = " ".join([_interpretation(verdict, promoted=promoted), *_ladder_words(rung)])
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


def _ladder_words(rung: Rung | None) -> list[str]:
    """Say what may be published of the golden set, and how much its looks may flatter."""
    if rung is None:
        return []
    published = (
        f"{rung.shown:.6g} is published as the golden set's new best"
        if rung.published
        else f"the golden set's published best stays {rung.shown:.6g}: it is not beaten by {rung.step:.3g}"
    )
    return [f"Look {rung.looks}: {published}; so many looks may flatter the best of them by {rung.optimism:.3g}."]


def _next_words(trial: Trial, *, promoted: bool) -> str:
    if trial.number == 0:
        return "train on the first seeds"
    return f"iteration {trial.number + 1} continues from " + ("this checkpoint" if promoted else "the best checkpoint")


def config_words(config: Mapping[str, Json]) -> str:
    """Return a config in words."""
    return ", ".join(f"{name}={value}" for name, value in sorted(config.items()))
