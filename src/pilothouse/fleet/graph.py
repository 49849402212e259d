"""Who waits for whom: dependencies between jobs, and children that a parent waits for.

    child ──► sibling it depends on          every edge points from the job that waits
      ▲                                      to the one that it needs
      └── parent waits for all its children

A dependency is met when the other job has shipped; a soft one already when it is in testing. A parent waits for its
children in the same way: until all have shipped, or, under the policy `terminal`, until all have ended somehow.

What a failed job does to those that wait for it: one that has ended without shipping will never ship, so every job that
needs it shipped, softly or hard, becomes hopeless and fails at once, with the name and the stage of what it waited for.
This spreads from job to job, so nothing waits for ever. Under `terminal` a parent runs all the same, and looks itself
at how its children ended. A child that fails does not stop its siblings, other than those that depend on it, and
neither the failure nor the cancelling of a parent ends a child.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, assert_never

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.fleet.job import ChildrenPolicy, DepsMode, EdgeKind, NewJob
from pilothouse.fleet.manifest import Child, Manifest
from pilothouse.fleet.stages import ENDS, Stage
from pilothouse.ids import JobId, ProductId
from pilothouse.knobs.config import nearest

Node = TypeVar("Node", bound=Hashable)

CYCLE_SHOWN = 20
"""Jobs of a cycle that its refusal names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The `job` waits for the job that it is `on`."""

    job: JobId
    on: JobId
    kind: EdgeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """What children take from their parent, and what a cycle through it would go by."""

    id: JobId
    product: ProductId
    key: str
    policy: ChildrenPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """New jobs to be stored at once: a parent before its children, a job before those that depend on it."""

    jobs: tuple[NewJob, ...]
    needs: tuple[Need, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DagNode:
    """A job as the view of a graph shows it."""

    id: JobId
    key: str
    stage: Stage
    parent: JobId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dag:
    """A job with all below it, and what these wait for. `outside` are jobs elsewhere that some of them need."""

    root: JobId
    nodes: tuple[DagNode, ...]
    outside: tuple[DagNode, ...]
    needs: tuple[Need, ...]

    def as_json(self) -> dict[str, Json]:
        """Return the graph as JSON values; an edge to a job that is not known any more is neither met nor hopeless."""
        stages = {node.id: node.stage for node in (*self.nodes, *self.outside)}
        return {
            "root": self.root,
            "nodes": [_node_as_json(node, inside=True) for node in self.nodes]
            + [_node_as_json(node, inside=False) for node in self.outside],
            "edges": [_need_as_json(need, stages.get(need.on)) for need in self.needs],
        }


def met(kind: EdgeKind, stage: Stage) -> bool:
    """Whether what is needed has come far enough."""
    match kind:
        case EdgeKind.HARD | EdgeKind.CHILD_SHIPPED:
            return stage is Stage.SHIPPED
        case EdgeKind.SOFT:
            return stage in {Stage.TESTING, Stage.SHIPPED}
        case EdgeKind.CHILD_TERMINAL:
            return stage in ENDS
        case _:
            assert_never(kind)


def hopeless(kind: EdgeKind, stage: Stage) -> bool:
    """Whether what is needed has ended in a way that can never be enough."""
    return stage in ENDS and not met(kind, stage)


def dependency_kind(mode: DepsMode) -> EdgeKind:
    """Return the kind of edge that a job's mode gives its dependencies."""
    return EdgeKind.HARD if mode is DepsMode.HARD else EdgeKind.SOFT


def child_kind(policy: ChildrenPolicy) -> EdgeKind:
    """Return the kind of edge by which a parent waits for its children."""
    return EdgeKind.CHILD_SHIPPED if policy is ChildrenPolicy.SHIPPED else EdgeKind.CHILD_TERMINAL


def check_acyclic(edges: Iterable[tuple[Node, Node]]) -> None:
    """Raise `BadValue` with the cycle in its order, if the pairs of a job and what it needs have one."""
    graph: dict[Node, list[Node]] = {}
    for job, on in edges:
        graph.setdefault(job, []).append(on)
    done: set[Node] = set()
    for start in graph:
        cycle = _cycle_from(start, graph, done)
        if cycle is not None:
            names = [str(node) for node in cycle]
            shown = names if len(names) <= CYCLE_SHOWN else [*names[: CYCLE_SHOWN - 1], "…", names[-1]]
            raise BadValue(
                f"jobs wait for each other in a circle: {' needs '.join(shown)}.",
                fix=f"let {names[0]} not depend on {names[1]}, or cut the circle elsewhere.",
            )


def in_order(edges: Mapping[Node, Sequence[Node]]) -> list[Node]:
    """Return the jobs, each after all that it needs, otherwise as they stand; the edges must have no cycle."""
    done: dict[Node, None] = {}
    for start in edges:
        for node, enters in _walk(start, edges, done):
            if not enters:
                done[node] = None
    return list(done)


def plan(manifest: Manifest, *, product: ProductId, ids: Iterator[JobId], deps: Mapping[str, JobId]) -> Plan:
    """Return the job that a manifest asks for with all below it. `deps` gives the id for each text under `deps`.

    Nothing that is stored can wait for a job that is new, so a circle could only be among siblings.
    """
    root = _new(manifest, product=product, job=next(ids), key=manifest.idempotency_key, parent=None, deps=deps)
    below = _below(manifest.children, of=root, policy=manifest.children_policy, ids=ids, deps=deps)
    return Plan(jobs=(root, *below.jobs), needs=(*_needs(root, manifest), *below.needs))


def plan_children(
    parent: Parent,
    children: Sequence[Child],
    *,
    ids: Iterator[JobId],
    deps: Mapping[str, JobId],
    stored: Iterable[tuple[JobId, JobId]] = (),
) -> Plan:
    """Return the children that a stored job is given, with all below them and the edges by which it waits for them.

    `stored` are the edges that can be reached from `deps`: a child may not depend on a job that waits for its parent.
    """
    below = _below(children, of=parent, policy=parent.policy, ids=ids, deps=deps)
    keys = {parent.id: parent.key, **{job.id: job.key for job in below.jobs}}
    edges = [*((need.job, need.on) for need in below.needs), *stored]
    check_acyclic((keys.get(job, job), keys.get(on, on)) for job, on in edges)
    return below


def external_deps(work: Manifest | Child | Sequence[Child]) -> tuple[str, ...]:
    """Return every text under `deps`, here and below, once; their ids are what planning needs to know."""
    todo: list[Manifest | Child] = list(work) if isinstance(work, Sequence) else [work]
    found: dict[str, None] = {}
    while todo:
        item = todo.pop(0)
        found.update(dict.fromkeys(item.deps))
        todo += item.children
    return tuple(found)


def subtree(root: JobId, *, nodes: Iterable[DagNode], needs: Iterable[Need]) -> Dag:
    """Return a job with its children, theirs and so on, level by level, out of all that is known."""
    known = {node.id: node for node in nodes}
    below: dict[JobId | None, list[DagNode]] = {}
    for node in known.values():
        below.setdefault(node.parent, []).append(node)
    found: dict[JobId, DagNode] = {}
    todo = deque([known[root]])
    while todo:
        node = todo.popleft()
        if node.id not in found:
            found[node.id] = node
            todo += below.get(node.id, [])
    kept = tuple(need for need in needs if need.job in found)
    outside = dict.fromkeys(need.on for need in kept if need.on not in found and need.on in known)
    return Dag(root=root, nodes=tuple(found.values()), outside=tuple(known[job] for job in outside), needs=kept)


def _below(
    children: Sequence[Child],
    *,
    of: NewJob | Parent,
    policy: ChildrenPolicy,
    ids: Iterator[JobId],
    deps: Mapping[str, JobId],
) -> Plan:
    """Return the jobs below another and their edges; siblings come in the order of their dependencies."""
    named = _by_name(children, of=of.key)
    check_acyclic((name, on) for name, child in named.items() for on in child.depends_on)
    jobs: list[NewJob] = []
    needs: list[Need] = []
    siblings: dict[str, NewJob] = {}
    for name in in_order({name: child.depends_on for name, child in named.items()}):
        child = named[name]
        job = _new(child, product=of.product, job=next(ids), key=f"{of.key}/{name}", parent=of.id, deps=deps)
        on = [siblings[sibling] for sibling in child.depends_on]
        # The spec names siblings by their keys: an id is new each time, and would make the same request another one.
        siblings[name] = job = replace(
            job,
            spec=replace(job.spec, deps=(*job.spec.deps, *(sibling.key for sibling in on))),
            deps=(*job.deps, *(sibling.id for sibling in on)),
        )
        below = _below(child.children, of=job, policy=child.children_policy, ids=ids, deps=deps)
        jobs += [job, *below.jobs]
        needs += [Need(job=of.id, on=job.id, kind=child_kind(policy)), *_needs(job, child), *below.needs]
    return Plan(jobs=tuple(jobs), needs=tuple(needs))


def _by_name(children: Sequence[Child], *, of: str) -> dict[str, Child]:
    """Return the siblings by name; a name that stands twice, and a dependency that is no sibling, are refused."""
    named: dict[str, Child] = {}
    for child in children:
        if child.name in named:
            raise BadValue(f"{of} has two children named {child.name!r}.", fix="give each sibling a name of its own.")
        named[child.name] = child
    for name, child in named.items():
        for on in child.depends_on:
            if on == name:
                raise BadValue(f"{name!r} of {of} depends on itself.", fix=f"take {on!r} out of its depends_on.")
            if on not in named:
                raise _no_sibling(name, on, of=of, siblings=sorted(named.keys() - {name}))
    return named


def _no_sibling(name: str, on: str, *, of: str, siblings: list[str]) -> BadValue:
    close = nearest(on, siblings)
    hint = f"did you mean {close!r}? " if close else ""
    known = ", ".join(siblings[:CYCLE_SHOWN]) or "none"
    return BadValue(
        f"{name!r} of {of} depends on {on!r}, which is none of its siblings.",
        fix=f"{hint}Its siblings are: {known}. A job elsewhere is named under deps.",
    )


def _new(
    work: Manifest | Child,
    *,
    product: ProductId,
    job: JobId,
    key: str | None,
    parent: JobId | None,
    deps: Mapping[str, JobId],
) -> NewJob:
    return NewJob(
        id=job,
        product=product,
        pool=work.pool,
        key=job if key is None else key,
        spec=work.to_spec(),
        priority=work.priority,
        parent=parent,
        deps=tuple(dict.fromkeys(deps[text] for text in work.deps)),
    )


def _needs(job: NewJob, work: Manifest | Child) -> list[Need]:
    """Return the edges to what the job depends on."""
    return [Need(job=job.id, on=on, kind=dependency_kind(work.deps_mode)) for on in job.deps]


def _cycle_from(start: Node, graph: Mapping[Node, Sequence[Node]], done: set[Node]) -> list[Node] | None:
    """Return the first cycle that a walk meets, closed by the job it begins with; mark as done what has none."""
    path: dict[Node, None] = {}
    for node, enters in _walk(start, graph, done):
        if not enters:
            del path[node]
            done.add(node)
        elif node in path:
            names = list(path)
            return [*names[names.index(node) :], node]
        else:
            path[node] = None
    return None


def _walk(start: Node, graph: Mapping[Node, Sequence[Node]], done: Container[Node]) -> Iterator[tuple[Node, bool]]:
    """Yield each job that is not done as a walk along its needs enters it (True) and leaves it (False)."""
    todo = [(start, True)]
    while todo:
        node, enters = todo.pop()
        if enters and node in done:
            continue
        yield node, enters
        if enters:
            todo.append((node, False))
            todo += [(on, True) for on in reversed(graph.get(node, ()))]


def _node_as_json(node: DagNode, *, inside: bool) -> dict[str, Json]:
    return {"id": node.id, "key": node.key, "stage": node.stage.value, "parent": node.parent, "inside": inside}


def _need_as_json(need: Need, stage: Stage | None) -> dict[str, Json]:
    return {
        "job": need.job,
        "needs": need.on,
        "kind": need.kind.value,
        "met": stage is not None and met(need.kind, stage),
        "hopeless": stage is not None and hopeless(need.kind, stage),
    }
