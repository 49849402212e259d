"""Store a job with its children, or the children that a stored job is given later: all of them, or none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pilothouse.errors import Conflict, NotFound
from pilothouse.fleet.graph import Plan, met
from pilothouse.fleet.job import Edge, Job, NewJob, Placed
from pilothouse.fleet.stages import Stage
from pilothouse.ids import JobId, JobNumber, ProductId
from pilothouse.operations.submit import submit
from pilothouse.ports.store import Transaction

_OPEN = frozenset({Stage.BLOCKED, Stage.QUEUED})


def submit_plan(tx: Transaction, plan: Plan, *, now: datetime) -> Job:
    """Return the first job of a plan, stored with everything below it; sent again it is the stored one, unchanged."""
    root = plan.jobs[0]
    if len(plan.jobs) == 1:
        return submit(tx, root, now=now)
    stored = tx.jobs.by_key(root.product, root.key)
    if stored is not None:
        return submit(tx, root, now=now)
    return _insert(tx, plan, known={}, now=now)[0]


def add_children(tx: Transaction, parent: Job, plan: Plan, *, now: datetime) -> Sequence[Job]:
    """Return the children, stored; a parent that has not started waits for them from now on.

    Children under keys that are stored already are those, so that the same request may come twice.
    """
    known = [tx.jobs.by_key(parent.product, job.key) for job in plan.jobs]
    if plan.jobs and all(job is not None and job.parent is not None for job in known):
        return [job for job in known if job is not None]
    if parent.stage not in _OPEN:
        raise Conflict(
            f"job {parent.id} is {parent.stage.value}: only one that has not started can wait for children",
            fix="give the children to a job that has not started, or submit them by themselves",
        )
    if parent.stage is Stage.QUEUED:
        blocked = tx.jobs.move(parent, stage=Stage.BLOCKED, now=now, why="it waits for children")
        assert blocked is not None, f"job {parent.id} was read at epoch {parent.epoch} in this same transaction"
    return _insert(tx, plan, known={parent.id: parent}, now=now)


def resolve(tx: Transaction, product: ProductId, texts: Sequence[str]) -> dict[str, JobId]:
    """Return the job that each text names, by its id or its key."""
    found = {}
    for text in texts:
        job = tx.jobs.by_id(JobId(text))
        if job is None or job.product != product:
            job = tx.jobs.by_key(product, text)
        if job is None:
            raise NotFound(f"the dependency {text!r} is no job of product {product}", fix="name a job's id or key")
        found[text] = job.id
    return found


def _insert(tx: Transaction, plan: Plan, *, known: dict[JobId, Job], now: datetime) -> list[Job]:
    """Store the jobs in their order, then the edges between them, which count what each has to wait for."""
    waits = {need.job for need in plan.needs}
    numbers: dict[JobId, JobNumber] = {job: stored.number for job, stored in known.items()}
    for new in plan.jobs:
        placed = Placed(
            new=new,
            stage=Stage.BLOCKED if new.id in waits else Stage.QUEUED,
            parent=None if new.parent is None else numbers[new.parent],
        )
        numbers[new.id] = tx.jobs.insert([placed], now=now)[0].number
    edges = [_edge(tx, need.job, need.on, plan, numbers) for need in plan.needs]
    tx.jobs.link([edge for edge in edges if edge is not None])
    return [_started(tx, numbers[new.id], new, now=now) for new in plan.jobs]


def _edge(tx: Transaction, job: JobId, on: JobId, plan: Plan, numbers: dict[JobId, JobNumber]) -> Edge | None:
    kind = next(need.kind for need in plan.needs if (need.job, need.on) == (job, on))
    other = tx.jobs.by_number(numbers[on]) if on in numbers else tx.jobs.by_id(on)
    if other is None:
        raise NotFound(f"the dependency {on!r} is not stored", fix="name a job's id or key")
    if met(kind, other.stage):
        return None
    return Edge(job=numbers[job], needs=other.number, kind=kind)


def _started(tx: Transaction, number: JobNumber, new: NewJob, *, now: datetime) -> Job:
    """Return a stored job; one whose needs were all met before it came does not wait."""
    job = tx.jobs.by_number(number)
    assert job is not None, f"job {new.id} was stored in this transaction"
    if job.stage is Stage.BLOCKED and not job.waiting:
        moved = tx.jobs.move(job, stage=Stage.QUEUED, now=now, why="everything it waited for is there")
        assert moved is not None, f"job {new.id} was stored in this transaction"
        return moved
    return job
