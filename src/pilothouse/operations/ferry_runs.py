"""What the platform's own record says of a ferry's runs: how they ended, what they measured, how they failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from pilothouse.campaigns.ferry_failure import Failure, failure_of
from pilothouse.campaigns.ferry_judging import Measured
from pilothouse.campaigns.record import Campaign, Incident
from pilothouse.campaigns.steps import StepFact
from pilothouse.fleet.job import Job
from pilothouse.fleet.stages import ENDS, Stage
from pilothouse.ids import JobId
from pilothouse.operations.campaign_facts import launches_of, step_fact
from pilothouse.ports.store import Transaction

RUNS_READ = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FerryRuns:
    """Everything a ferry has launched: the shipped job of each seed by seed, and every job in its order."""

    shipped: Mapping[int, StepFact]
    jobs: tuple[JobId, ...]
    measured: Measured


def runs_of(tx: Transaction, campaign: Campaign, number: int) -> FerryRuns:
    """Return what a ferry has launched; measures are means over its seeds, and sums over all attempts."""
    found = [
        run
        for run in reversed(tx.campaigns.runs(campaign.product, campaign=campaign.name, limit=RUNS_READ))
        if run.trial == number
    ]
    jobs = {run.job: tx.jobs.by_id(run.job) for run in found}
    facts = {run.job: step_fact(tx, job) for run in found if (job := jobs[run.job]) is not None}
    shipped = {run.seed: facts[run.job] for run in found if facts[run.job].stage is Stage.SHIPPED}
    # What one seed lacks is missing: a mean over the others would tell of a ferry that nobody has sailed.
    names = dict.fromkeys(name for fact in shipped.values() for name in fact.metrics)
    metrics = {
        name: fmean([fact.metrics[name] for fact in shipped.values()])
        for name in names
        if all(name in fact.metrics for fact in shipped.values())
    }
    seeds = {run.job: run.seed for run in found}
    own = _own(tx, campaign, facts, seeds)
    return FerryRuns(shipped=shipped, jobs=tuple(facts), measured=Measured(metrics=metrics, own=own))


def failures_of(tx: Transaction, campaign: Campaign, key: str) -> tuple[Failure, ...]:
    """Return how the launches of a step have failed, oldest first."""
    failed = failed_jobs(tx, campaign, key)
    if not failed:
        return ()
    incidents = tx.campaigns.incidents(campaign.product, campaign.name)
    return tuple(failure_of(step_fact(tx, job), evidence_of(incidents, job.id)) for job in failed)


def failed_jobs(tx: Transaction, campaign: Campaign, key: str) -> list[Job]:
    """Return the launches of a step that have failed, oldest first."""
    jobs = launches_of(tx, campaign.product, key)
    return [job for job in jobs if job.stage in ENDS and job.stage is not Stage.SHIPPED]


def evidence_of(incidents: Sequence[Incident], job: JobId) -> str:
    """Return the end of the log of a job's last incident, empty without one."""
    return next((each.evidence for each in reversed(incidents) if each.job == job), "")


def _own(
    tx: Transaction, campaign: Campaign, facts: Mapping[JobId, StepFact], seeds: Mapping[JobId, int]
) -> dict[str, float]:
    """Return what the platform itself has seen; `steps` are those of the seed that came least far, if each has any."""
    tried = {job: tx.jobs.attempts(job) for job in facts}
    attempts = [attempt for each in tried.values() for attempt in each]
    furthest: dict[int, int] = {}
    for job, each in tried.items():
        told = [one.progress.step for one in each if one.progress is not None and one.progress.step is not None]
        if told:
            furthest[seeds[job]] = max(*told, furthest.get(seeds[job], 0))
    own = {
        "seconds": sum(fact.seconds for fact in facts.values()),
        "attempts": float(len(attempts)),
        "incidents": float(sum(each.job in facts for each in tx.campaigns.incidents(campaign.product, campaign.name))),
    }
    return {**own, "steps": float(min(furthest.values()))} if furthest.keys() == {*seeds.values()} != set() else own
