"""Gather what the report of a campaign over seeds is made from."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.autopilot_plot import Level, autopilot_svg
from pilothouse.campaigns.kinds import definition_of
from pilothouse.campaigns.record import Campaign, Promotion
from pilothouse.campaigns.report import Record
from pilothouse.campaigns.seeds import Purpose, purpose_of
from pilothouse.errors import Conflict, NotFound
from pilothouse.evidence.seeds import SeedComparison, compare_seeds
from pilothouse.fleet.stages import Stage
from pilothouse.operations.campaign_facts import SECONDS_PER_HOUR, step_fact
from pilothouse.ports.store import Transaction

RUNS_READ = 100_000
RUNS_LEAST = 2


def campaign_report(tx: Transaction, campaign: Campaign) -> Record:
    """Return the record of a campaign that compares over seeds; raise `Conflict` for another kind."""
    definition = definition_of(campaign.definition)
    if not isinstance(definition, AutopilotDefinition):
        raise Conflict(
            f"campaign {campaign.name} is of kind {campaign.kind}, which has no report over seeds",
            fix=f"see `pilothouse campaign status {campaign.name}`, its logbook, and `pilothouse proposal show` for "
            "what an agent has cost",
        )
    product, name = campaign.product, campaign.name
    promotions = tx.campaigns.promotions(product, name)
    if not promotions:
        raise NotFound(
            f"campaign {name} has no baseline yet",
            fix="go on with `pilothouse campaign run FILE` until it is calibrated",
        )
    return Record(
        definition=definition,
        campaign=campaign,
        trials=tx.campaigns.trials(product, name),
        proposals=tx.proposals.listed(product, name),
        promotions=promotions,
        spent_hours=tx.jobs.seconds_spent(product, campaign=name) / SECONDS_PER_HOUR,
        agents=tx.agents.runs(product, name),
        incidents=tx.agents.incidents(product, name),
        overall=_overall(tx, definition, campaign, promotions[0], promotions[-1]),
    )


def _overall(
    tx: Transaction, definition: AutopilotDefinition, campaign: Campaign, first: Promotion, now: Promotion
) -> SeedComparison | None:
    """Compare the runs with which either baseline was measured: fresh seeds, chosen by no look."""
    if first.trial == now.trial:
        return None
    arms = baseline_arms(tx, definition, campaign, trials={first.trial, now.trial})
    before, after = arms[first.trial], arms[now.trial]
    if min(len(before), len(after)) < RUNS_LEAST:
        return None
    return compare_seeds(before, after, alpha=definition.decision.alpha)


def baseline_arms(
    tx: Transaction, definition: AutopilotDefinition, campaign: Campaign, *, trials: Collection[int]
) -> dict[int, dict[str, float]]:
    """Return for each trial the finished runs that measured it as the baseline, the newest of each seed."""
    name, _ = definition.primary()
    arms: dict[int, dict[str, float]] = {trial: {} for trial in trials}
    for run in tx.campaigns.runs(campaign.product, campaign=campaign.name, limit=RUNS_READ):
        purpose = purpose_of(definition.autopilot.seed, trial=run.trial, seed=run.seed)
        if run.trial not in arms or purpose is not Purpose.ARM or str(run.seed) in arms[run.trial]:
            continue
        job = tx.jobs.by_id(run.job)
        if job is not None and job.stage is Stage.SHIPPED:
            value = step_fact(tx, job).metrics.get(name, math.nan)
            if math.isfinite(value):
                arms[run.trial][str(run.seed)] = value
    return arms


def campaign_plot(tx: Transaction, campaign: Campaign, definition: AutopilotDefinition) -> str:
    """Return the plot: what became of each trial, and the running best with the interval of its own runs."""
    product, name = campaign.product, campaign.name
    promoted = {promotion.trial for promotion in tx.campaigns.promotions(product, name)}
    arms = baseline_arms(tx, definition, campaign, trials=promoted)
    metric, table = definition.primary()
    return autopilot_svg(
        title=f"Campaign {name}",
        metric=metric,
        direction=table.better(),
        trials=tx.campaigns.trials(product, name),
        levels={trial: _level(list(arm.values())) for trial, arm in arms.items() if len(arm) >= RUNS_LEAST},
    )


def _level(values: Sequence[float]) -> Level:
    """Return the mean of runs with its 95 % interval by Student's t."""
    # Whoever only reads a report's numbers has no use for it; scipy is slow to load.
    from pilothouse.evidence.mean_interval import mean_interval  # noqa: PLC0415  as said above

    mean = math.fsum(value / len(values) for value in values)
    return Level(mean=mean, interval=mean_interval(values, alpha=0.05))
