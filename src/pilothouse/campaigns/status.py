"""How a campaign stands, as one value that every surface shows: ready, running, failed or done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import cast

from pilothouse.campaigns.record import Campaign, GoldenSet, Halt, Promotion, Trial, TrialState
from pilothouse.canonical import Json
from pilothouse.fleet.job import Attempt, Job, JobSpec

STEPS = ("generate", "tokenise", "train", "evaluate")
"""The steps of an iteration, in order."""


class CampaignState(StrEnum):
    """What the loop is doing; derived, never stored."""

    READY = "ready"
    RUNNING = "running"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """The job that the loop waits for, with its newest attempt."""

    job: Job
    spec: JobSpec
    attempt: Attempt | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything a status is made from. `owner_alive` says whether the owner on record is a living process."""

    campaign: Campaign
    trials: Sequence[Trial]
    promotions: Sequence[Promotion]
    golden: Sequence[GoldenSet]
    current: Current | None
    awaiting_approval: str | None
    owner_alive: bool


def state_of(snapshot: Snapshot) -> CampaignState:
    """Return the state: a living owner means running; without one the stored halt decides."""
    if snapshot.owner_alive:
        return CampaignState.RUNNING
    match snapshot.campaign.halt:
        case Halt.FAILED:
            return CampaignState.FAILED
        case Halt.DONE:
            return CampaignState.DONE
        case None:
            return CampaignState.READY


def status_json(
    snapshot: Snapshot, *, now: datetime, best_checkpoint: str | None, command: str = "pilothouse"
) -> dict[str, Json]:
    """Return the status; `best_checkpoint` is the folder of the last promotion's checkpoint, if it has one.

    `command` is how the person calls the product here, with `--home` if it needs one, for what to do next.
    """
    state = state_of(snapshot)
    owner = snapshot.campaign.owner if state is CampaignState.RUNNING else None
    return {
        "campaign": snapshot.campaign.name,
        "product": snapshot.campaign.product,
        "kind": snapshot.campaign.kind,
        "state": state.value,
        "owner": None if owner is None else {"host": owner.host, "pid": owner.pid, "started": owner.started},
        "current": _current_json(snapshot.current, alive=snapshot.owner_alive, now=now),
        "eta_seconds": eta_seconds(snapshot, now=now) if state is CampaignState.RUNNING else None,
        "metrics": _metrics_primary_first(snapshot.campaign.definition),
        "iterations": [iteration_json(trial) for trial in snapshot.trials if trial.number > 0],
        "baseline": next((iteration_json(trial) for trial in snapshot.trials if trial.number == 0), None),
        "golden": {
            golden.name: {"digest": golden.digest, "looks": golden.looks, "published": golden.published}
            for golden in snapshot.golden
        },
        "best_iteration": snapshot.promotions[-1].trial if snapshot.promotions else None,
        "best_checkpoint": best_checkpoint,
        "last_error": snapshot.campaign.last_error or None,
        "next_action": next_action_of(snapshot, state, command=command),
    }


def _metrics_primary_first(definition: Mapping[str, Json]) -> dict[str, Json]:
    """Return each metric's direction, the deciding metric first."""
    tables = cast("Mapping[str, Mapping[str, Json]]", definition["metrics"])
    names = sorted(tables, key=lambda name: not tables[name]["primary"])
    return {name: tables[name]["direction"] for name in names}


def iteration_json(trial: Trial) -> dict[str, Json]:
    """Return one trial as the status shows it."""
    verdict = trial.verdict
    return {
        "number": trial.number,
        "state": trial.state.value,
        "verdict": verdict.outcome.value if verdict is not None else None,
        "metrics": dict(trial.metrics),
        "interval": verdict.as_json()["interval"] if verdict is not None else None,
        "seconds": dict(trial.seconds),
    }


def next_action_of(snapshot: Snapshot, state: CampaignState, *, command: str) -> str:
    """Return what a person does next, as a command where there is one."""
    if snapshot.campaign.next_action and state in {CampaignState.FAILED, CampaignState.DONE}:
        return snapshot.campaign.next_action
    if snapshot.awaiting_approval is not None and snapshot.current is None:
        return f"approve it: {command} proposal approve {snapshot.awaiting_approval}"
    if state is CampaignState.RUNNING:
        return _watched(snapshot, command)
    return f"go on: {command} campaign run FILE"


def _watched(snapshot: Snapshot, command: str) -> str:
    """Return what a person does while the loop runs; that of a ferry stays on when nothing else does."""
    if snapshot.current is not None or snapshot.campaign.kind != "ferry":
        return f"watch it: {command} run watch"
    if any(trial.state is TrialState.RUNNING for trial in snapshot.trials):
        return f"see how it ended: {command} run logs latest; once it is mended and committed it is proposed again"
    return f"nothing; the next ferry is proposed at its tick: {command} campaign schedule FILE"


def eta_seconds(snapshot: Snapshot, *, now: datetime) -> float | None:
    """Return the seconds to the end of the open iteration, or None while nothing tells.

    The current step is extrapolated from its own progress; the steps after it take as long as they took last time.
    """
    current = snapshot.current
    if current is None:
        return None
    last = next((trial.seconds for trial in reversed(snapshot.trials) if trial.state is TrialState.JUDGED), {})
    rest = _remaining(current.attempt, now=now)
    kind = current.spec.kind
    if rest is None:
        rest = last.get(kind)
    if rest is None:
        return None
    return rest + sum(last.get(step, 0.0) for step in _steps_after(kind))


def _steps_after(kind: str) -> tuple[str, ...]:
    return STEPS[STEPS.index(kind) + 1 :] if kind in STEPS else ()


def _remaining(attempt: Attempt | None, *, now: datetime) -> float | None:
    """Extrapolate an attempt's progress in steps; None before the first step or without a total.

    A later attempt may have resumed at a step it did not make, so its own pace is not known from its step.
    """
    if attempt is None or attempt.started_at is None or attempt.progress is None or attempt.epoch > 1:
        return None
    step, total = attempt.progress.step, attempt.progress.total
    if not step or total is None:
        return None
    elapsed = (now - attempt.started_at).total_seconds()
    return max(0.0, elapsed / step * (total - step))


def _current_json(current: Current | None, *, alive: bool, now: datetime) -> dict[str, Json] | None:
    """Return the awaited job; without a living owner nothing of it runs, whatever its last attempt said."""
    if current is None:
        return None
    last = current.attempt
    attempt = last if alive and last is not None and last.ended_at is None else None
    progress = attempt.progress if attempt is not None else None
    return {
        "step": current.spec.kind,
        "iteration": current.spec.trial,
        "job": current.job.id,
        "stage": current.job.stage.value,
        "pid": attempt.pid if attempt is not None else None,
        "done": progress.step if progress is not None else None,
        "total": progress.total if progress is not None else None,
        "seconds": (now - attempt.started_at).total_seconds()
        if attempt is not None and attempt.started_at is not None
        else None,
    }
