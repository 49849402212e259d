"""Gather what the folders of a campaign's runs are made from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.kinds import definition_of
from pilothouse.campaigns.record import Campaign, Incident, Promotion, Run, Trial
from pilothouse.campaigns.run_record import RunRecord, parent_config, purpose_words, tries_the_trial
from pilothouse.fleet.job import Job
from pilothouse.fleet.stages import ENDS
from pilothouse.ids import JobId, ProposalId, RunId
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import Proposal

RUNS_READ = 100_000
RUNS_RECENT = 2_000
"""More runs than this are never begun while an older one goes on."""


def ended_runs(
    tx: Transaction, campaign: Campaign, *, known: Collection[RunId] = (), recent: bool = False
) -> Iterator[RunRecord]:
    """Yield the runs that have ended, oldest first, without those that are known; only the `recent` ones if asked."""
    limit = RUNS_RECENT if recent else RUNS_READ
    runs = tx.campaigns.runs(campaign.product, campaign=campaign.name, limit=limit)
    wanted = [run for run in reversed(runs) if run.id not in known]
    around = _around(tx, campaign) if wanted else None
    for run in wanted:
        job = tx.jobs.by_id(run.job)
        if around is not None and job is not None and job.stage in ENDS:
            yield _record(tx, run, job, around)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """What is stored of the campaign and asked for by every run."""

    definition: Definition
    trials: Mapping[int, Trial]
    promotions: tuple[Promotion, ...]
    proposals: Mapping[ProposalId, Proposal]
    incidents: Mapping[JobId, list[Incident]]


def _around(tx: Transaction, campaign: Campaign) -> _Around:
    product, name = campaign.product, campaign.name
    incidents: defaultdict[JobId, list[Incident]] = defaultdict(list)
    for incident in tx.campaigns.incidents(product, name):
        incidents[incident.job].append(incident)
    return _Around(
        definition=definition_of(campaign.definition),
        trials={trial.number: trial for trial in tx.campaigns.trials(product, name)},
        promotions=tuple(tx.campaigns.promotions(product, name)),
        proposals={proposal.id: proposal for proposal in tx.proposals.listed(product, name)},
        incidents=incidents,
    )


def _record(tx: Transaction, run: Run, job: Job, around: _Around) -> RunRecord:
    spec, trial = tx.jobs.spec(job.id), around.trials.get(run.trial)
    purpose = purpose_words(around.definition, run)
    tried = tries_the_trial(around.definition, trial, spec, purpose=purpose)
    identity = trial.proposal if trial is not None and tried else None
    return RunRecord(
        run=run,
        job=job,
        spec=spec,
        attempts=tuple(tx.jobs.attempts(job.id)),
        artifacts=tuple(tx.jobs.artifacts(job.id)),
        incidents=tuple(around.incidents.get(job.id, ())),
        purpose=purpose,
        parent=parent_config(around.promotions, trial),
        proposal=around.proposals.get(identity) if identity is not None else None,
    )
