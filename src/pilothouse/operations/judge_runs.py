"""Close a trial over seeds: verdict, promotion, confirmation or rollback, logbook entry, each in one transaction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from pilothouse.campaigns.arms import Ran
from pilothouse.campaigns.autopilot import Confirm, JudgeRuns
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.record import Campaign, Promotion, Trial, TrialState
from pilothouse.campaigns.wanted import present_config
from pilothouse.canonical import Json
from pilothouse.evidence.verdict import Direction, Verdict
from pilothouse.logbook.entry import NewEntry
from pilothouse.operations.judge_trial import Judged, config_words
from pilothouse.operations.record_entry import record_entry
from pilothouse.ports.store import Transaction
from pilothouse.proposals.promotion import Confirmation, Confirmed, before_and_after


def judge_runs(
    tx: Transaction,
    action: JudgeRuns,
    *,
    definition: AutopilotDefinition,
    campaign: Campaign,
    now: datetime,
) -> Judged:
    """Store the verdict. A promotion moves the baseline at once, and its trial stays open until it is confirmed."""
    trial = _stored(tx, campaign, action.number, TrialState.RUNNING)
    decided = action.decided
    judged = replace(
        trial,
        state=TrialState.CONFIRMING if decided.promoted else TrialState.JUDGED,
        ended_at=now,
        verdict=decided.verdict,
        # The metrics of a cheaper mode would stand beside those of the real one.
        metrics=mean_metrics(decided.sides.candidate) if decided.verdict.alpha > 0 else {},
        seconds={
            "train": run_seconds(decided.sides.candidate),
            "baseline": run_seconds([run for run in decided.sides.baseline if run.step.spec.trial == trial.number]),
        },
        failure=decided.failure,
    )
    tx.campaigns.put_trial(judged)
    if decided.promoted:
        _move(
            tx, campaign, definition, config=judged.config, trial=judged.number, reason=decided.verdict.reason, now=now
        )
    body = _entry(definition, action, judged)
    record_entry(tx, body, product=campaign.product, thread=campaign.name, now=now)
    return Judged(trial=judged, promoted=decided.promoted)


def confirm_trial(
    tx: Transaction, action: Confirm, *, definition: AutopilotDefinition, campaign: Campaign, now: datetime
) -> Judged:
    """Store what the fresh runs say; where they do not repeat the gain, the baseline moves back to the one before."""
    trial = _stored(tx, campaign, action.number, TrialState.CONFIRMING)
    kept = action.answer.state is Confirmation.CONFIRMED
    judged = replace(trial, state=TrialState.JUDGED, ended_at=now, confirmation=action.answer)
    tx.campaigns.put_trial(judged)
    before = tx.campaigns.promotions(campaign.product, campaign.name)[-2]
    if not kept:
        reason = f"rollback of trial {trial.number}: {action.answer.reason}"
        _move(tx, campaign, definition, config=before.config, trial=before.trial, reason=reason, now=now)
    body = _confirmation_entry(definition, action, judged, before=before)
    record_entry(tx, body, product=campaign.product, thread=campaign.name, now=now)
    return Judged(trial=judged, promoted=kept)


def mean_metrics(runs: Sequence[Ran]) -> dict[str, float]:
    """Return the mean of each metric over the runs that finished."""
    finished = [run.fact.metrics for run in runs if not run.failure()]
    names = dict.fromkeys(name for metrics in finished for name in metrics)
    return {name: _mean([metrics[name] for metrics in finished if name in metrics]) for name in names}


def _mean(values: Sequence[float]) -> float:
    """Return the mean; of numbers whose sum is too large as well."""
    return math.fsum(value / len(values) for value in values)


def run_seconds(runs: Sequence[Ran]) -> float:
    """Return the seconds of all attempts of the runs."""
    return math.fsum(run.fact.seconds for run in runs)


def _stored(tx: Transaction, campaign: Campaign, number: int, state: TrialState) -> Trial:
    found = next(trial for trial in tx.campaigns.trials(campaign.product, campaign.name) if trial.number == number)
    assert found.state is state, f"trial {number} is {found.state.value}, not {state.value}"
    return found


def _move(
    tx: Transaction,
    campaign: Campaign,
    definition: AutopilotDefinition,
    *,
    config: Mapping[str, Json],
    trial: int,
    reason: str,
    now: datetime,
) -> None:
    """Move the baseline to a trial's config."""
    tx.campaigns.add_promotion(
        Promotion(
            product=campaign.product,
            campaign=campaign.name,
            trial=trial,
            checkpoint=None,
            samples=None,
            config=config,
            reason=reason,
            at=now,
        )
    )
    present = present_config(definition, config)
    tx.campaigns.configure(campaign.product, campaign.name, config={knob: present[knob] for knob in definition.knobs})


def _entry(definition: AutopilotDefinition, action: JudgeRuns, trial: Trial) -> NewEntry:
    """Say the trial in the logbook's terms."""
    decided, verdict = action.decided, action.decided.verdict
    better = "lower" if verdict.direction is Direction.MIN else "higher"
    table = before_and_after(mean_metrics(decided.sides.baseline), mean_metrics(decided.sides.candidate))
    return NewEntry(
        label=f"trial {trial.number}: {verdict.outcome.value}",
        hypothesis=f"{verdict.metric} gets {better} than the baseline's",
        command=" ".join(definition.trainer.command),
        config=config_words(trial.config),
        result=table,
        interpretation=f"{verdict_words(verdict)}; {_moved(decided.promoted)}. {verdict.scope}",
        next_action=(
            f"{definition.decision.confirmation} fresh runs confirm it, or the baseline moves back"
            if decided.promoted
            else f"trial {trial.number + 1} starts from the same baseline"
        ),
        confidence=verdict.confidence.value,
        evidence={
            "verdict": verdict.as_json(),
            # The logbook holds finite numbers only, and a metric that nobody promised may be anything.
            "metrics": {name: value if math.isfinite(value) else None for name, value in trial.metrics.items()},
            "held_back": list(decided.held_back),
            "failure": decided.failure,
            "baseline_jobs": [run.fact.job for run in decided.sides.baseline],
            "candidate_jobs": [run.fact.job for run in decided.sides.candidate],
            "proposal": trial.proposal,
        },
    )


def _confirmation_entry(
    definition: AutopilotDefinition, action: Confirm, trial: Trial, *, before: Promotion
) -> NewEntry:
    """Say the confirmation, or the rollback, in the logbook's terms."""
    answer = action.answer
    kept = answer.state is Confirmation.CONFIRMED
    return NewEntry(
        label=f"trial {trial.number}: {answer.state.value}",
        hypothesis="fresh runs, with seeds that no look has seen, repeat the gain",
        command=" ".join(definition.trainer.command),
        config=config_words(trial.config),
        result=_gain_words(answer, definition),
        interpretation=f"{answer.reason}; the gain is free of the luck of the candidate's runs that were selected"
        if kept
        else f"{answer.reason}: back to trial {before.trial}",
        next_action=f"trial {trial.number + 1} starts from " + ("this config" if kept else "the baseline before"),
        confidence="replicated",
        evidence={"confirmation": answer.as_json(), "jobs": [run.fact.job for run in action.fresh]},
    )


def _gain_words(answer: Confirmed, definition: AutopilotDefinition) -> str:
    name, _ = definition.primary()
    return f"{name}: no gain was measured" if answer.gain is None else f"{name} is better by {answer.gain:.6g}"


def verdict_words(verdict: Verdict) -> str:
    """Return the verdict with its interval and its error rate, in words."""
    return (
        f"{verdict.outcome.value}: {verdict.metric} {verdict.baseline:.6g} → {verdict.candidate:.6g} over "
        f"{verdict.baseline_runs} and {verdict.candidate_runs} runs, 95 % interval [{verdict.low:.4g}, "
        f"{verdict.high:.4g}], p {verdict.p:.3g} at {verdict.alpha:.3g}, median {verdict.shrunk:.4g} "
        f"({verdict.method}); {verdict.reason}"
    )


def _moved(promoted: bool) -> str:  # noqa: FBT001  one fact, said in words
    return "the baseline moves to this config" if promoted else "the baseline stays"
