"""What is told of jobs: lists, histories and graphs. Whose product is asked for is never told of another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.fleet.graph import DagNode, Need, subtree
from pilothouse.fleet.job import Attempt, Job, Priority
from pilothouse.fleet.stages import Stage
from pilothouse.fleet.wire import number_as_json, progress_as_json
from pilothouse.ids import JobId, JobNumber, ProductId
from pilothouse.operations.find_job import find_job
from pilothouse.ports.store import Transaction

DAG_JOBS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which jobs are listed: newest first, after the job that a page before it ended with."""

    limit: int
    after: JobId | None = None
    stage: Stage | None = None
    priority: Priority | None = None
    campaign: str | None = None


def job_page(tx: Transaction, product: ProductId, page: Page) -> tuple[Sequence[Job], JobId | None]:
    """Return the jobs of one page, and the job to go on after if there may be more."""
    before: JobNumber | None = None
    if page.after is not None:
        before = find_job(tx, page.after, product=product).number
    found = tx.jobs.listed(
        product,
        campaign=page.campaign,
        stage=page.stage,
        priority=page.priority,
        before=before,
        limit=page.limit + 1,
    )
    more = len(found) > page.limit
    return found[: page.limit], found[page.limit - 1].id if more else None


def job_json(job: Job) -> dict[str, Json]:
    """Return a job as it is told."""
    return {
        "id": job.id,
        "product": job.product,
        "pool": job.pool,
        "key": job.key,
        "stage": job.stage.value,
        "epoch": job.epoch,
        "priority": job.priority.value,
        "seats": job.seats,
        "created_at": job.created_at.isoformat(),
        "changed_at": job.changed_at.isoformat(),
        "parent": job.parent,
        "factory": job.factory,
        "failures": job.failures,
        "preemptions": job.preemptions,
        "losses": job.losses,
        "waiting": job.waiting,
        "stop_at": job.stop_at.isoformat() if job.stop_at is not None else None,
    }


def runs_json(tx: Transaction, product: ProductId, job: JobId) -> list[Json]:
    """Return a job's attempts, oldest first."""
    found = find_job(tx, job, product=product)
    return [_run_json(attempt) for attempt in tx.jobs.attempts(found.id)]


def events_json(tx: Transaction, product: ProductId, job: JobId) -> list[Json]:
    """Return a job's history, oldest first."""
    found = find_job(tx, job, product=product)
    return [
        {
            "sequence": event.sequence,
            "at": event.at.isoformat(),
            "epoch": event.epoch,
            "previous": event.previous.value if event.previous is not None else None,
            "stage": event.stage.value,
            "why": event.why,
        }
        for event in tx.jobs.events(found.id)
    ]


def dag_json(tx: Transaction, product: ProductId, job: JobId) -> dict[str, Json]:
    """Return a job with everything below it, and what these wait for."""
    root = find_job(tx, job, product=product)
    nodes: dict[JobNumber, Job] = {root.number: root}
    needs: list[Need] = []
    todo = [root]
    while todo:
        one = todo.pop()
        if len(nodes) > DAG_JOBS_MAX:
            raise BadValue(f"more than {DAG_JOBS_MAX} jobs are below {job}", fix="ask for one of its children")
        for edge in tx.jobs.edges(one):
            if edge.job == one.number:
                other = nodes.get(edge.needs) or tx.jobs.by_number(edge.needs)
                assert other is not None, f"an edge of job {one.id} leads to nothing"
                nodes[other.number] = other
                needs.append(Need(job=one.id, on=other.id, kind=edge.kind))
        children = tx.jobs.children(one)
        nodes.update({child.number: child for child in children})
        todo += children
    shown = [DagNode(id=each.id, key=each.key, stage=each.stage, parent=each.parent) for each in nodes.values()]
    return subtree(root.id, nodes=shown, needs=needs).as_json()


def artifacts_json(tx: Transaction, product: ProductId, job: JobId) -> list[Json]:
    """Return what a job has published."""
    found = find_job(tx, job, product=product)
    return [
        {
            "name": artifact.name,
            "digest": artifact.digest,
            "size_bytes": artifact.size_bytes,
            "meta": dict(artifact.meta),
        }
        for artifact in tx.jobs.artifacts(found.id)
    ]


def _run_json(attempt: Attempt) -> Json:
    return {
        "job": attempt.job,
        "epoch": attempt.epoch,
        "factory": attempt.factory,
        "boot": attempt.boot,
        "claimed_at": attempt.claimed_at.isoformat(),
        "started_at": attempt.started_at.isoformat() if attempt.started_at is not None else None,
        "ended_at": attempt.ended_at.isoformat() if attempt.ended_at is not None else None,
        "outcome": attempt.outcome.value if attempt.outcome is not None else None,
        "detail": attempt.detail,
        "exit_code": attempt.exit_code,
        "seconds": attempt.seconds,
        "peak_memory_mb": attempt.peak_memory_mb,
        "metrics": {name: number_as_json(value) for name, value in attempt.metrics.items()},
        "progress": progress_as_json(attempt.progress) if attempt.progress is not None else None,
    }
