"""Gather what the flywheel decides from: one consistent snapshot, steps looked up as they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pilothouse.campaigns.facts import StepFacts
from pilothouse.campaigns.flywheel import FlywheelFacts
from pilothouse.campaigns.record import Campaign, Promotion
from pilothouse.campaigns.steps import StepFact, generation_of
from pilothouse.fleet.job import Job
from pilothouse.fleet.stages import Stage
from pilothouse.ids import ArtifactDigest, ProductId
from pilothouse.ports.store import Transaction

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One start of a campaign's loop by a person: since when, how far, and what they allowed."""

    since: datetime
    trials_max: int | None
    restore_golden: bool = False


def flywheel_facts(tx: Transaction, campaign: Campaign, session: Session, *, moved: bool) -> FlywheelFacts:
    """Return the facts of a campaign as this transaction sees them; of several proposals of a trial the last counts."""
    product, name = campaign.product, campaign.name
    promotions = tx.campaigns.promotions(product, name)
    return FlywheelFacts(
        step=step_facts(tx, product),
        trials=tx.campaigns.trials(product, name),
        promotions=promotions,
        golden={golden.name: golden for golden in tx.campaigns.golden_sets(product, name)},
        proposals={proposal.number: proposal for proposal in tx.proposals.listed(product, name)},
        damaged=_damaged(tx, product, promotions),
        spent_hours=tx.jobs.seconds_spent(product, campaign=name) / SECONDS_PER_HOUR,
        since=session.since,
        trials_max=session.trials_max,
        restore_golden=session.restore_golden,
        moved=moved,
    )


def step_facts(tx: Transaction, product: ProductId, *, shipped: dict[str, StepFact] | None = None) -> StepFacts:
    """Return a look-up of steps by key that asks the store once for each.

    Steps that have shipped are kept in `shipped` for the next look-up, where their artifacts are not at stake.
    """
    known: dict[str, StepFact | None] = {}

    def look(key: str, /) -> StepFact | None:
        if shipped is not None and key in shipped:
            return shipped[key]
        if key not in known:
            jobs = launches_of(tx, product, key)
            known[key] = found = step_fact(tx, max(jobs, key=_generation)) if jobs else None
            if shipped is not None and found is not None and found.stage is Stage.SHIPPED:
                shipped[key] = found
        return known[key]

    return look


def launches_of(tx: Transaction, product: ProductId, step: str) -> list[Job]:
    """Return the jobs that were submitted for a step, oldest first; their children are none of them."""
    return [job for job in tx.jobs.keys_like(product, f"{step}#") if generation_of(job.key) is not None]


def step_fact(tx: Transaction, job: Job) -> StepFact:
    """Return what is known of the step whose newest job this is."""
    attempts = tx.jobs.attempts(job.id)
    last = attempts[-1] if attempts else None
    shipped = job.stage is Stage.SHIPPED
    return StepFact(
        job=job.id,
        generation=_generation(job),
        stage=job.stage,
        outcome=last.outcome if last is not None else None,
        detail=last.detail if last is not None else "",
        artifacts={artifact.name: artifact for artifact in tx.jobs.artifacts(job.id)} if shipped else {},
        metrics=last.metrics if last is not None and shipped else {},
        seconds=sum(attempt.seconds or 0.0 for attempt in attempts),
        attempts=len(attempts),
        ended_at=last.ended_at if last is not None else None,
    )


def _generation(job: Job) -> int:
    generation = generation_of(job.key)
    assert generation is not None, f"job {job.id} is no step's: {job.key!r}"
    return generation


def _damaged(tx: Transaction, product: ProductId, promotions: Sequence[Promotion]) -> frozenset[ArtifactDigest]:
    """Return which artifacts of the current baseline have no intact copy."""
    wanted = {
        digest
        for promotion in promotions[-1:]
        for digest in (promotion.checkpoint, promotion.samples)
        if digest is not None
    }
    return frozenset(digest for digest in wanted if not tx.jobs.is_intact(product, digest))
