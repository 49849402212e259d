"""What a campaign over seeds has brought: the best config, what was tried, what was spent, and who proposed well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pilothouse.campaigns.arms import NO_FAULT
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.error_rate import grant_of
from pilothouse.campaigns.record import Campaign, Promotion, Trial
from pilothouse.campaigns.stop_rules import was_kept
from pilothouse.canonical import Json
from pilothouse.evidence.seeds import SeedComparison
from pilothouse.evidence.trial_verdict import method_of
from pilothouse.evidence.verdict import Outcome
from pilothouse.ids import ProposalId
from pilothouse.knobs.delta import effective_delta
from pilothouse.proposals.agent_run import AgentIncident, AgentRun, spending_of
from pilothouse.proposals.proposal import Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is stored of the campaign.

    `overall` compares the present baseline's own runs with those of the first one. No look has chosen them, but they
    have passed the confirmation. None while they are one and the same, or where either has too few.
    """

    definition: AutopilotDefinition
    campaign: Campaign
    trials: Sequence[Trial]
    proposals: Sequence[Proposal]
    promotions: Sequence[Promotion]
    spent_hours: float
    overall: SeedComparison | None
    agents: Sequence[AgentRun] = ()
    incidents: Sequence[AgentIncident] = ()


def report_json(record: Record) -> dict[str, Json]:
    """Return the report."""
    by_trial = {trial.proposal: trial for trial in record.trials if trial.proposal is not None}
    decision = record.definition.decision
    grant = grant_of(decision, record.trials, number=len(record.trials) + 1)
    book = grant.book
    return {
        "campaign": record.campaign.name,
        "product": record.campaign.product,
        "halted": record.campaign.halt.value if record.campaign.halt is not None else None,
        "best": _best(record),
        "trials": [_trial(trial, record) for trial in record.trials if trial.number > 0],
        "refused": [
            {"proposal": each.id, "source": each.source, "reason": each.refusal}
            for each in record.proposals
            if each.refusal and each.id not in by_trial
        ],
        "alpha": {
            "mode": decision.mode,
            "promised": decision.promised if book is not None else decision.alpha,
            "charged": book.charged_in_all if book is not None else None,
            "given_back": book.given_back if book is not None else None,
            "spent": book.spent - book.regained if book is not None else None,
            "left": book.left if book is not None else None,
        },
        "cost": _cost(record),
        "sources": _sources(record, by_trial),
        "agents": _agents(record),
    }


def _best(record: Record) -> dict[str, Json]:
    """Return the present baseline against the one that the campaign began with."""
    name, metric = record.definition.primary()
    first, now = record.promotions[0], record.promotions[-1]
    knobs = record.definition.knobs
    changes = effective_delta(*({knob: each.config[knob] for knob in knobs} for each in (first, now)))
    values: dict[str, Json] = {
        "trial": now.trial,
        "config": {knob: now.config[knob] for knob in knobs},
        "changes": [{"knob": each.knob, "before": each.before, "after": each.after} for each in changes],
        "metric": name,
        "direction": metric.direction,
    }
    found = record.overall
    if found is None:
        return values
    return values | {
        "first": float(found.baseline.mean()),
        "best": float(found.candidate.mean()),
        "difference": found.difference,
        "interval": [found.interval.low, found.interval.high],
        "alpha": found.alpha,
        "runs": [len(found.baseline), len(found.candidate)],
        "method": f"{method_of(found)}, on runs that no look has chosen, but which passed the confirmation",
    }


def _trial(trial: Trial, record: Record) -> dict[str, Json]:
    proposal = next((each for each in record.proposals if each.id == trial.proposal), None)
    verdict, confirmation = trial.verdict, trial.confirmation
    return {
        "number": trial.number,
        "state": trial.state.value,
        "source": proposal.source if proposal is not None else None,
        "changes": []
        if proposal is None
        else [{"knob": each.knob, "before": each.before, "after": each.after} for each in proposal.changes],
        "verdict": verdict.as_json() if verdict is not None else None,
        "confirmation": confirmation.as_json() if confirmation is not None else None,
        "kept": was_kept(trial),
        "failure": trial.failure or None,
        "seconds": sum(trial.seconds.values()),
    }


def _cost(record: Record) -> dict[str, Json]:
    """Return what every attempt and every agent has used; without a price the dollars are unknown, which is no zero."""
    price = record.definition.budget.usd_per_hour
    gpus = record.definition.trainer.requires.gpus
    asked = spending_of(record.agents)
    return {
        "hours": record.spent_hours,
        "gpu_hours": record.spent_hours * gpus,
        "usd": None if price is None or asked.unknown else record.spent_hours * price + asked.usd,
        "agents_usd": None if asked.unknown else asked.usd,
    }


def _agents(record: Record) -> dict[str, Json]:
    """Return for each agent how it ran and what it was refused; a number that some run did not tell is unknown."""
    proposed = {each.id: each.source for each in record.proposals}
    # Where an answer was not taken the proposal may be another's, and a patch is no proposal.
    sources = {
        (run.proposal, run.about): f"agent:{run.record['runner']}" if "runner" in run.record else proposed[run.proposal]
        for run in record.agents
    }
    table: dict[str, Json] = {}
    for source in sorted(set(sources.values())):
        runs = [run for run in record.agents if sources[run.proposal, run.about] == source]
        usage = [run.record["usage"] for run in runs]
        kinds = [each for each in record.incidents if sources.get((each.proposal, each.about)) == source]
        table[source] = {
            "runs": len(runs),
            "levels": sorted({str(run.record["level"]) for run in runs}),
            "seconds": sum(float(str(run.record["seconds"])) for run in runs),
            **{name: _told(usage, name) for name in ("turns", "tokens_in", "tokens_cached", "tokens_out")},
            "usd": None if spending_of(runs).unknown else spending_of(runs).usd,
            "incidents": {
                kind: sum(each.occurrences for each in kinds if each.diagnosis == kind)
                for kind in sorted({each.diagnosis for each in kinds})
            },
        }
    return table


def _told(usage: Sequence[Json], name: str) -> int | None:
    """Return the sum over all runs of what they told of themselves, None where one of them did not."""
    values = [each.get(name) if isinstance(each, Mapping) else None for each in usage]
    counts = [value for value in values if isinstance(value, int)]
    return sum(counts) if len(counts) == len(values) else None


def _sources(record: Record, by_trial: Mapping[ProposalId, Trial]) -> dict[str, Json]:
    """Return for each source of proposals what came of them; `gain` is the mean of the kept, re-measured ones."""
    table: dict[str, Json] = {}
    for source in sorted({each.source for each in record.proposals}):
        mine = [each for each in record.proposals if each.source == source]
        trials = [by_trial[each.id] for each in mine if each.id in by_trial]
        gains = [
            trial.confirmation.gain
            for trial in trials
            if was_kept(trial) and trial.confirmation is not None and trial.confirmation.gain is not None
        ]
        outcomes = [trial.verdict.outcome for trial in trials if trial.verdict is not None]
        table[source] = {
            "proposals": len(mine),
            "refused": sum(bool(each.refusal) and each.id not in by_trial for each in mine),
            "kept": sum(was_kept(trial) for trial in trials),
            "regressed": outcomes.count(Outcome.REGRESSED),
            "failed": sum(trial.failure not in NO_FAULT for trial in trials),
            "mean_gain": sum(gains) / len(gains) if gains else None,
            "seconds": sum(sum(trial.seconds.values()) for trial in trials),
        }
    return table
