"""Keep the noise floor of an autopilot's baseline; the first one makes the unchanged config the baseline."""

from __future__ import annotations

from datetime import datetime

from pilothouse.campaigns.arms import Ran
from pilothouse.campaigns.autopilot import KeepFloor
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.calibration import Replicated
from pilothouse.campaigns.record import Campaign, Promotion, Trial, TrialState
from pilothouse.evidence.noise_floor import Conditions
from pilothouse.operations.calibrate import floors_of, record_floors
from pilothouse.operations.judge_runs import mean_metrics, run_seconds
from pilothouse.ports.store import Transaction


def keep_floor(
    tx: Transaction,
    action: KeepFloor,
    *,
    definition: AutopilotDefinition,
    campaign: Campaign,
    conditions: Conditions,
    now: datetime,
) -> Trial | None:
    """Append the floors to the logbook; return trial 0 if this was the first, None otherwise."""
    finished = tuple(run.fact.metrics for run in action.runs if not run.failure())
    found = Replicated(metrics=finished, failed=len(action.runs) - len(finished))
    floors = floors_of(definition, found, conditions=conditions)
    record_floors(tx, floors, definition=definition, campaign=campaign, now=now)
    if tx.campaigns.trials(campaign.product, campaign.name):
        return None
    trial = _first(action, campaign, runs=action.runs, now=now)
    tx.campaigns.put_trial(trial)
    tx.campaigns.add_promotion(
        Promotion(
            product=campaign.product,
            campaign=campaign.name,
            trial=0,
            checkpoint=None,
            samples=None,
            config=action.config,
            reason="the unchanged config is the first baseline",
            at=now,
        )
    )
    return trial


def _first(action: KeepFloor, campaign: Campaign, *, runs: tuple[Ran, ...], now: datetime) -> Trial:
    return Trial(
        product=campaign.product,
        campaign=campaign.name,
        number=0,
        proposal=None,
        config=action.config,
        state=TrialState.JUDGED,
        started_at=now,
        ended_at=now,
        verdict=None,
        metrics=mean_metrics(runs),
        seconds={"baseline": run_seconds(runs)},
    )
