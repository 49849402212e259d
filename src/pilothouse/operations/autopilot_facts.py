"""Gather what the autopilot decides from, and what a proposer is told."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from pilothouse.campaigns.arms import DOOMED, NO_FAULT
from pilothouse.campaigns.autopilot import AutopilotFacts
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.record import Campaign, Trial
from pilothouse.campaigns.steps import StepFact
from pilothouse.campaigns.wanted import present_config
from pilothouse.canonical import Json
from pilothouse.evidence.noise_floor import Conditions
from pilothouse.evidence.verdict import Direction
from pilothouse.operations.campaign_facts import SECONDS_PER_HOUR, Session, step_facts
from pilothouse.ports.store import Transaction
from pilothouse.proposals.promotion import Confirmation
from pilothouse.proposals.proposal import Proposal, State
from pilothouse.proposals.search import Search, Tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What the loop knows besides the store: the conditions now and those of the last floor, and the runs it has seen.

    `moved` says that a person's knob values wait to be proposed, `stop_asked` that the stop file is there.
    """

    conditions: Conditions
    calibrated: Conditions | None
    shipped: dict[str, StepFact]
    moved: bool
    stop_asked: bool
    now: datetime


def autopilot_facts(
    tx: Transaction, definition: AutopilotDefinition, campaign: Campaign, session: Session, moment: Moment
) -> AutopilotFacts:
    """Return the facts of a campaign as this transaction sees them; of several proposals of a trial the last counts."""
    product, name = campaign.product, campaign.name
    stored = tx.campaigns.get(product, name)
    assert stored is not None, f"campaign {name} was opened before its loop began"
    proposals = tx.proposals.listed(product, name)
    trials = tx.campaigns.trials(product, name)
    return AutopilotFacts(
        step=step_facts(tx, product, shipped=moment.shipped),
        trials=trials,
        promotions=tx.campaigns.promotions(product, name),
        proposals={proposal.number: proposal for proposal in proposals},
        spent_hours=tx.jobs.seconds_spent(product, campaign=name) / SECONDS_PER_HOUR,
        since=session.since,
        trials_max=session.trials_max,
        moved=moment.moved,
        config=present_config(definition, stored.config),
        conditions=moment.conditions,
        calibrated=moment.calibrated,
        refusals=_refusals(proposals, since=session.since),
        doomed=frozenset(
            incident.job for incident in tx.campaigns.incidents(product, name) if incident.diagnosis == DOOMED
        ),
        elapsed=(moment.now - campaign.created_at).total_seconds(),
        stop_asked=moment.stop_asked,
        agents=tx.agents.spent(product, name),
    )


def search_of(tx: Transaction, definition: AutopilotDefinition, campaign: Campaign) -> Search:
    """Return what a proposer is told: the baseline, the rules, and everything that was proposed before."""
    product, name = campaign.product, campaign.name
    return search_from(
        definition,
        parent=campaign.config,
        proposals=tx.proposals.listed(product, name),
        trials=tx.campaigns.trials(product, name),
        base=tx.campaigns.promotions(product, name)[-1].trial,
    )


def search_from(
    definition: AutopilotDefinition,
    *,
    parent: Mapping[str, Json],
    proposals: Sequence[Proposal],
    trials: Sequence[Trial],
    base: int,
) -> Search:
    """Return the search of a baseline with these knob values, which is that of trial `base`."""
    known = {trial.number: trial for trial in trials}
    metric, table = definition.primary()
    return Search(
        metric=metric,
        direction=table.better(),
        knobs=definition.knob_rules(),
        budget=definition.change_budget.budget(),
        invariants=definition.invariants(),
        derived=definition.derived(),
        parent=parent,
        value=known[base].metrics.get(metric),
        runs=_runs_of(known[base], definition),
        history=[_tried(each, known.get(each.number), metric=metric) for each in proposals],
        seed=zlib.crc32(f"{definition.campaign.name} {definition.autopilot.seed} {len(proposals)}".encode()),
    )


def _runs_of(base: Trial, definition: AutopilotDefinition) -> int:
    """Return over how many runs the baseline's mean is taken: those of its looks, or of its calibration."""
    return definition.decision.calibration if base.verdict is None else max(1, base.verdict.candidate_runs)


def _tried(proposal: Proposal, trial: Trial | None, *, metric: str) -> Tried:
    """Return a proposal of the past with what came of it."""
    mine = trial if trial is not None and trial.proposal == proposal.id else None
    verdict = mine.verdict if mine is not None else None
    return Tried(
        number=proposal.number,
        source=proposal.source,
        config=proposal.config,
        changes=proposal.changes,
        outcome=verdict.outcome if verdict is not None else None,
        value=mine.metrics.get(metric) if mine is not None else None,
        gain=_gain(mine),
        runs=verdict.candidate_runs if verdict is not None else 0,
        failure=mine.failure if mine is not None and mine.failure not in NO_FAULT else "",
        refusal=proposal.refusal,
    )


def _gain(trial: Trial | None) -> float | None:
    """Return the gain: re-measured where fresh runs confirmed it, the shrunk one otherwise."""
    if trial is None or trial.verdict is None:
        return None
    confirmation = trial.confirmation
    if confirmation is not None and confirmation.state is Confirmation.CONFIRMED:
        return confirmation.gain
    return -trial.verdict.shrunk if trial.verdict.direction is Direction.MIN else trial.verdict.shrunk


def _refusals(proposals: Sequence[Proposal], *, since: datetime) -> int:
    """Return how many of the newest proposals were rejected in a row since a person started the loop."""
    return sum(
        1
        for _ in takewhile(lambda each: each.state is State.REJECTED and each.created_at >= since, reversed(proposals))
    )
