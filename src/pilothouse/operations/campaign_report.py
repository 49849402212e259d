"""Gather what the report of a campaign over seeds is made from."""

from __future__ import annotations

import math

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.kinds import definition_of
from pilothouse.campaigns.record import Campaign, Promotion
from pilothouse.campaigns.report import Record
from pilothouse.campaigns.seeds import Purpose, seed_of
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
            fix=f"see `pilothouse campaign status {campaign.name}` and its logbook",
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
        overall=_overall(tx, definition, campaign, promotions[0], promotions[-1]),
    )


def _overall(
    tx: Transaction, definition: AutopilotDefinition, campaign: Campaign, first: Promotion, now: Promotion
) -> SeedComparison | None:
    """Compare the runs with which either baseline was measured: fresh seeds, chosen by no look."""
    if first.trial == now.trial:
        return None
    arms = [_arm(tx, definition, campaign, trial=each.trial) for each in (first, now)]
    if min(len(arm) for arm in arms) < RUNS_LEAST:
        return None
    return compare_seeds(arms[0], arms[1], alpha=definition.decision.alpha)


def _arm(tx: Transaction, definition: AutopilotDefinition, campaign: Campaign, *, trial: int) -> dict[str, float]:
    """Return the finished runs that measured a trial as the baseline, the newest of each seed."""
    first = definition.autopilot.seed
    low = seed_of(first, trial=trial, purpose=Purpose.ARM, index=0)
    high = seed_of(first, trial=trial, purpose=Purpose.SCREEN, index=0)
    name, _ = definition.primary()
    values: dict[str, float] = {}
    for run in tx.campaigns.runs(campaign.product, campaign=campaign.name, limit=RUNS_READ):
        if not low <= run.seed < high or str(run.seed) in values:
            continue
        job = tx.jobs.by_id(run.job)
        if job is not None and job.stage is Stage.SHIPPED:
            value = step_fact(tx, job).metrics.get(name, math.nan)
            if math.isfinite(value):
                values[str(run.seed)] = value
    return values
