"""Take in a manifest: one job, or a job with children that it waits for, all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pilothouse.campaigns.steps import generation_of
from pilothouse.errors import BadValue, Conflict, KeyReused, NotFound
from pilothouse.fleet.graph import Need, Parent, Plan, external_deps, hopeless, met, plan, plan_children
from pilothouse.fleet.job import Edge, EdgeKind, Job, NewJob, Placed
from pilothouse.fleet.manifest import Child, Manifest
from pilothouse.fleet.stages import Stage
from pilothouse.ids import JobId, JobNumber, ProductId
from pilothouse.operations.cancel import cancel
from pilothouse.operations.find_job import find_job
from pilothouse.operations.submit import generations
from pilothouse.ports.store import Transaction

_UNSTARTED = frozenset({Stage.BLOCKED, Stage.QUEUED})
REACHED_MAX = 100_000
"""Edges that are looked at for a circle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The job of a manifest, everything below it, and whether it was made by this submission."""

    job: Job
    below: Sequence[Job]
    made: bool


def submit_manifest(
    tx: Transaction, manifest: Manifest, *, product: ProductId, ids: Iterator[JobId], now: datetime
) -> Submitted:
    """Return the job that the manifest asks for: the stored one when its key and all of its body were there before.

    Under a key with another body, what has not started is superseded; what has started holds the key: `KeyReused`.
    A key of the form that a campaign's steps have is a `BadValue`: its job would pass for one that was let through.
    """
    deps = _deps(tx, external_deps(manifest), product=product)
    key = manifest.idempotency_key
    if key is not None and generation_of(key) is not None:
        raise BadValue(
            f"the key {key!r} ends as only those of a campaign's own steps do",
            fix="send the key without # and its number, or take one that does not end so",
        )
    last, free = (None, key) if key is None else generations(tx, product, key)
    if last is not None:
        wanted = plan(_keyed(manifest, last.key), product=product, ids=ids, deps=deps)
        stored = _stored(tx, wanted)
        if stored is not None and _count_born(tx, stored[0]) == len(stored):
            return Submitted(job=stored[0], below=stored[1:], made=False)
        _supersede(tx, last, by=f"{free}", now=now)
    jobs = store_plan(tx, plan(_keyed(manifest, free), product=product, ids=ids, deps=deps), parents={}, now=now)
    return Submitted(job=jobs[0], below=jobs[1:], made=True)


def add_children(
    tx: Transaction,
    job: JobId,
    children: Sequence[Child],
    *,
    product: ProductId,
    ids: Iterator[JobId],
    now: datetime,
) -> Submitted:
    """Return a job that has not started with the children that it now waits for; the same children may come again."""
    found = find_job(tx, job, product=product)
    deps = _deps(tx, external_deps(children), product=product)
    parent = Parent(id=found.id, product=found.product, key=found.key, policy=tx.jobs.spec(found.id).children_policy)
    wanted = plan_children(parent, children, ids=ids, deps=deps, stored=_reached(tx, deps))
    stored = _stored(tx, wanted)
    if stored is not None:
        return Submitted(job=found, below=stored, made=False)
    if found.stage not in _UNSTARTED:
        raise Conflict(
            f"job {job} is {found.stage.value}, and can wait for nothing any more",
            fix="give children to a job that has not started, or submit them as jobs of their own",
        )
    if found.stage is Stage.QUEUED:
        moved = tx.jobs.move(found, stage=Stage.BLOCKED, now=now, why="it was given children")
        assert moved is not None, f"job {job} was read in this same transaction"
        found = moved
    below = store_plan(tx, wanted, parents={found.id: found.number}, now=now)
    return Submitted(job=find_job(tx, job, product=product), below=below, made=True)


def _keyed(manifest: Manifest, key: str | None) -> Manifest:
    return manifest if manifest.idempotency_key == key else manifest.model_copy(update={"idempotency_key": key})


def _stored(tx: Transaction, wanted: Plan) -> Sequence[Job] | None:
    """Return the stored jobs if every one that is wanted is there, and as it is wanted."""
    found = {job.key: job for job in tx.jobs.by_keys(wanted.jobs[0].product, [new.key for new in wanted.jobs])}
    return [found[new.key] for new in wanted.jobs] if all(_is_there(tx, new, found) for new in wanted.jobs) else None


def _count_born(tx: Transaction, root: Job) -> int:
    """Return how many jobs came with this one, itself included; children that it was given later came at other times.

    A body that lacks some of them is another body, though everything it asks for is there.
    """
    tree = [root]
    for job in tree:
        tree.extend(child for child in tx.jobs.children(job) if child.created_at == root.created_at)
    return len(tree)


def _is_there(tx: Transaction, new: NewJob, found: Mapping[str, Job]) -> bool:
    job = found.get(new.key)
    if job is None or (job.pool, job.priority) != (new.pool, new.priority):
        return False
    return tx.jobs.spec(job.id).digest() == new.spec.digest()


def _supersede(tx: Transaction, last: Job, *, by: str, now: datetime) -> None:
    """Cancel a job with everything below it, if nothing of it has started."""
    tree = [last]
    for job in tree:
        tree.extend(tx.jobs.children(job))
    if last.stage is Stage.CANCELLED:
        return
    started = next((job for job in tree if job.stage not in _UNSTARTED and job.stage is not Stage.CANCELLED), None)
    if started is not None:
        raise KeyReused(
            f"the key {last.key!r} belongs to job {last.id}, whose body is another one, "
            f"and {started.id} is {started.stage.value} already",
            fix="take a new key for the new body, or send the first body again",
        )
    _cancel_tree(tx, last, why=f"superseded under the key {by}", now=now)


def _cancel_tree(tx: Transaction, job: Job, *, why: str, now: datetime) -> None:
    """Cancel a job before its children, and these before the siblings they wait for: then none fails of another."""
    cancel(tx, job.id, now=now, why=why)
    for child in reversed(tx.jobs.children(job)):
        _cancel_tree(tx, child, why=why, now=now)


def _deps(tx: Transaction, texts: Sequence[str], *, product: ProductId) -> Mapping[str, JobId]:
    """Return the id for each text: a job's id, or the key of a job of the same product."""
    found: dict[str, JobId] = {}
    for text in texts:
        job = tx.jobs.by_id(JobId(text))
        if job is None or job.product != product:
            job = tx.jobs.by_key(product, text)
        if job is None:
            raise NotFound(f"deps: {text!r} is no job of product {product}", fix="name the id or the key of a job")
        found[text] = job.id
    return found


def _reached(tx: Transaction, deps: Mapping[str, JobId]) -> Iterator[tuple[JobId, JobId]]:
    """Yield every edge that can be reached from the dependencies."""
    todo = list(deps.values())
    seen = set(todo)
    count = 0
    while todo:
        job = find_job(tx, todo.pop())
        for edge in tx.jobs.edges(job):
            if edge.job != job.number:
                continue
            on = tx.jobs.by_number(edge.needs)
            assert on is not None, f"an edge of job {job.id} leads to nothing"
            yield job.id, on.id
            count += 1
            if count > REACHED_MAX:
                raise BadValue("the dependencies reach too far to be checked", fix="depend on fewer jobs")
            if on.id not in seen:
                seen.add(on.id)
                todo.append(on.id)


def store_plan(tx: Transaction, wanted: Plan, *, parents: Mapping[JobId, JobNumber], now: datetime) -> Sequence[Job]:
    """Return the jobs as stored, in the plan's order: a parent before its children, a job before what waits for it.

    A parent's edges to its children lead forward in that order, so they are added when the children are there.
    """
    numbers: dict[JobId, JobNumber] = dict(parents)
    planned = {new.id for new in wanted.jobs}
    waits: dict[JobId, list[Need]] = {}
    for need in wanted.needs:
        waits.setdefault(need.job, []).append(need)
    jobs: list[Job] = []
    later = [need for job in parents for need in waits.get(job, [])]
    for new in wanted.jobs:
        forward = [need for need in waits.get(new.id, []) if need.on in planned and need.on not in numbers]
        back = [need for need in waits.get(new.id, []) if need not in forward]
        needs = tuple(each for need in back for each in _open_need(tx, need, numbers))
        placed = Placed(
            new=new,
            stage=Stage.BLOCKED if needs or forward else Stage.QUEUED,
            needs=needs,
            parent=numbers[new.parent] if new.parent is not None else None,
        )
        job = tx.jobs.insert([placed], now=now)[0]
        numbers[job.id] = job.number
        jobs.append(job)
        later += forward
    if not later:
        return jobs
    tx.jobs.link([Edge(job=numbers[need.job], needs=numbers[need.on], kind=need.kind) for need in later])
    return [find_job(tx, job.id) for job in jobs]


def _open_need(tx: Transaction, need: Need, numbers: dict[JobId, JobNumber]) -> Sequence[tuple[JobNumber, EdgeKind]]:
    """Return what is left to wait for of one need, nothing if it is met; one that can never be met is refused."""
    known = numbers.get(need.on)
    if known is not None:
        return [(known, need.kind)]
    other = find_job(tx, need.on)
    if hopeless(need.kind, other.stage):
        raise BadValue(
            f"the dependency {other.id} is {other.stage.value}, so a job that waits for it could never start",
            fix="leave it out, or depend on a job that can still ship",
        )
    return [] if met(need.kind, other.stage) else [(other.number, need.kind)]
