"""Who waits for whom."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.errors import BadValue
from pilothouse.fleet.graph import (
    DagNode,
    Need,
    Parent,
    Plan,
    check_acyclic,
    child_kind,
    dependency_kind,
    external_deps,
    hopeless,
    in_order,
    met,
    plan,
    plan_children,
    subtree,
)
from pilothouse.fleet.job import ChildrenPolicy, DepsMode, EdgeKind
from pilothouse.fleet.manifest import Child, read_children, read_manifest
from pilothouse.fleet.stages import ENDS, Stage, may_move
from pilothouse.ids import JobId, ProductId

PRODUCT = ProductId("demo")
RUN = ["run"]
PARENT = Parent(id=JobId("p"), product=PRODUCT, key="p", policy=ChildrenPolicy.SHIPPED)
EDGES = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=20)


def ids() -> Iterator[JobId]:
    return iter([JobId(f"id-{number}") for number in range(100)])


def children(*names: str, **needs: list[str]) -> tuple[Child, ...]:
    return read_children(
        {"children": [{"name": name, "command": RUN, "depends_on": needs.get(name, [])} for name in names]}
    ).children


def given_to_parent(*names: str, **needs: list[str]) -> Plan:
    return plan_children(PARENT, children(*names, **needs), ids=ids(), deps={})


def reaches(edges: list[tuple[int, int]]) -> bool:
    """Whether any node reaches itself, by the definition."""
    closure = set(edges)
    while True:
        more = {(a, d) for a, b in closure for c, d in closure if b == c} | closure
        if more == closure:
            return any(a == b for a, b in closure)
        closure = more


@given(edges=EDGES)
def test_a_circle_is_refused_and_nothing_else(edges: list[tuple[int, int]]) -> None:
    """As the definition has it; what passes can be put in order."""
    if reaches(edges):
        with pytest.raises(BadValue, match="in a circle"):
            check_acyclic(edges)
    else:
        check_acyclic(edges)
        needs = {node: [on for job, on in edges if job == node] for node in range(9)}
        order = in_order(needs)
        assert sorted(order) == list(range(9))
        assert all(order.index(on) < order.index(job) for job, on in edges)


@given(edges=EDGES)
def test_the_circle_is_named_in_its_order(edges: list[tuple[int, int]]) -> None:
    """Each named job needs the next, and the last is the first."""
    try:
        check_acyclic(edges)
    except BadValue as error:
        named = [int(name) for name in error.message.split(": ")[1].rstrip(".").split(" needs ")]
    else:
        return

    assert named[0] == named[-1]
    assert set(pairwise(named)) <= set(edges)


def test_a_circle_is_named_for_its_reader() -> None:
    """With the edge to cut."""
    with pytest.raises(BadValue, match=r"circle: b needs c needs b\.") as caught:
        check_acyclic([("a", "b"), ("b", "c"), ("c", "b")])

    assert "let b not depend on c" in caught.value.fix


def test_a_long_chain_is_no_problem() -> None:
    """The walk keeps its own stack; a circle of that length is told in short."""
    chain = [(number, number + 1) for number in range(50_000)]

    check_acyclic(chain)
    with pytest.raises(BadValue, match="18 needs … needs 0") as caught:
        check_acyclic([*chain, (50_000, 0)])
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("kind", EdgeKind)
def test_nothing_waits_for_ever(kind: EdgeKind) -> None:
    """At every end an edge is met or hopeless, never both; and before the end it is never hopeless."""
    for stage in Stage:
        assert not (met(kind, stage) and hopeless(kind, stage))
        assert not hopeless(kind, stage) or stage in ENDS
        assert met(kind, stage) or hopeless(kind, stage) or stage not in ENDS


@pytest.mark.parametrize(
    ("kind", "stages"),
    [
        (dependency_kind(DepsMode.HARD), {Stage.SHIPPED}),
        (dependency_kind(DepsMode.SOFT), {Stage.SHIPPED, Stage.TESTING}),
        (child_kind(ChildrenPolicy.SHIPPED), {Stage.SHIPPED}),
        (child_kind(ChildrenPolicy.TERMINAL), set(ENDS)),
    ],
)
def test_when_an_edge_is_met(kind: EdgeKind, stages: set[Stage]) -> None:
    """And at no other stage; what is hopeless can never be met."""
    assert {stage for stage in Stage if met(kind, stage)} == stages
    for stage in Stage:
        if hopeless(kind, stage):
            assert not any(may_move(stage, later) for later in Stage)


def test_children_come_in_the_order_of_their_dependencies() -> None:
    """The parent waits for each of them, and each for what it depends on."""
    made = given_to_parent("c", "a", "b", c=["b"], b=["a"])

    assert [(job.id, job.key, job.parent) for job in made.jobs] == [
        ("id-0", "p/a", "p"),
        ("id-1", "p/b", "p"),
        ("id-2", "p/c", "p"),
    ]
    assert {(need.job, need.on, need.kind) for need in made.needs} == {
        ("p", "id-0", EdgeKind.CHILD_SHIPPED),
        ("p", "id-1", EdgeKind.CHILD_SHIPPED),
        ("p", "id-2", EdgeKind.CHILD_SHIPPED),
        ("id-1", "id-0", EdgeKind.HARD),
        ("id-2", "id-1", EdgeKind.HARD),
    }


def test_a_tree_is_planned_at_once() -> None:
    """Every job with its own mode and its own policy; dependencies elsewhere are known by their texts."""
    manifest = read_manifest(
        {
            "command": RUN,
            "idempotency_key": "k",
            "deps": ["elsewhere"],
            "children_policy": "terminal",
            "children": [
                {"name": "x", "command": RUN, "children": [{"name": "y", "command": RUN, "deps": ["other"]}]},
                {"name": "z", "command": RUN, "depends_on": ["x"], "deps_mode": "soft", "priority": "low"},
            ],
        }
    )
    deps = {"elsewhere": JobId("e"), "other": JobId("o")}

    made = plan(manifest, product=PRODUCT, ids=ids(), deps=deps)

    assert external_deps(manifest) == ("elsewhere", "other")
    assert external_deps(manifest.children) == ("other",)
    assert [job.key for job in made.jobs] == ["k", "k/x", "k/x/y", "k/z"]
    assert [(need.job, need.on, need.kind) for need in made.needs] == [
        ("id-0", "e", EdgeKind.HARD),
        ("id-0", "id-1", EdgeKind.CHILD_TERMINAL),
        ("id-1", "id-2", EdgeKind.CHILD_SHIPPED),
        ("id-2", "o", EdgeKind.HARD),
        ("id-0", "id-3", EdgeKind.CHILD_TERMINAL),
        ("id-3", "id-1", EdgeKind.SOFT),
    ]
    assert made.jobs[3].deps == ("id-1",)
    assert made.jobs[3].spec.deps == ("k/x",)


def test_the_same_request_has_the_same_specs() -> None:
    """Under other ids, so a reused key is recognised; without a key the id is the key."""
    manifest = read_manifest(
        {
            "command": RUN,
            "idempotency_key": "k",
            "children": [{"name": "a", "command": RUN}, {"name": "b", "command": RUN, "depends_on": ["a"]}],
        }
    )
    others = (JobId(f"other-{number}") for number in range(9))

    first, second = (plan(manifest, product=PRODUCT, ids=each, deps={}) for each in (ids(), others))

    assert [job.spec.digest() for job in first.jobs] == [job.spec.digest() for job in second.jobs]
    assert plan(read_manifest({"command": RUN}), product=PRODUCT, ids=ids(), deps={}).jobs[0].key == "id-0"


@pytest.mark.parametrize(
    ("names", "needs", "message", "fix"),
    [
        (["a", "a"], {}, "two children named 'a'", "a name of its own"),
        (["a"], {"a": ["a"]}, "'a' of p depends on itself", "take 'a' out"),
        (["data", "train"], {"train": ["dada"]}, "'dada', which is none of its siblings", "did you mean 'data'"),
        (["a"], {"a": ["x"]}, "'x', which is none of its siblings", "none. A job elsewhere is named under deps"),
        (["a", "b"], {"a": ["b"], "b": ["a"]}, "circle: a needs b needs a", "let a not depend on b"),
    ],
)
def test_bad_siblings_are_refused(names: list[str], needs: dict[str, list[str]], message: str, fix: str) -> None:
    """With the names and the mend."""
    with pytest.raises(BadValue, match=message) as caught:
        given_to_parent(*names, **needs)

    assert fix in caught.value.fix


def test_a_late_child_may_not_depend_on_who_waits_for_its_parent() -> None:
    """Directly, or through jobs that are stored."""
    late = read_children({"children": [{"name": "a", "command": RUN, "deps": ["up"]}]}).children
    stored = [(JobId("up"), JobId("mid")), (JobId("mid"), JobId("p"))]

    assert len(plan_children(PARENT, late, ids=ids(), deps={"up": JobId("up")}, stored=stored[:1]).jobs) == 1
    with pytest.raises(BadValue, match=r"circle: p needs p/a needs up needs mid needs p\."):
        plan_children(PARENT, late, ids=ids(), deps={"up": JobId("up")}, stored=stored)
    with pytest.raises(BadValue, match=r"circle: p needs p/a needs p\."):
        plan_children(PARENT, late, ids=ids(), deps={"up": PARENT.id})


def node(name: str, stage: Stage, parent: str | None) -> DagNode:
    return DagNode(id=JobId(name), key=f"k/{name}", stage=stage, parent=JobId(parent) if parent else None)


def test_the_subtree_has_all_below_and_what_it_needs() -> None:
    """Level by level; a job beside it stands outside, and what is unrelated is left out."""
    known = [
        node("top", Stage.BLOCKED, None),
        node("root", Stage.BLOCKED, "top"),
        node("a", Stage.SHIPPED, "root"),
        node("deep", Stage.QUEUED, "a"),
        node("b", Stage.BLOCKED, "root"),
        node("beside", Stage.FAILED, "top"),
        node("unrelated", Stage.QUEUED, None),
    ]
    needs = [
        Need(job=JobId("root"), on=JobId("a"), kind=EdgeKind.CHILD_SHIPPED),
        Need(job=JobId("b"), on=JobId("beside"), kind=EdgeKind.HARD),
        Need(job=JobId("b"), on=JobId("pruned"), kind=EdgeKind.SOFT),
        Need(job=JobId("top"), on=JobId("root"), kind=EdgeKind.CHILD_SHIPPED),
    ]

    shown = subtree(JobId("root"), nodes=known, needs=needs)

    assert [item.id for item in shown.nodes] == ["root", "a", "b", "deep"]
    assert [item.id for item in shown.outside] == ["beside"]
    assert shown.as_json() == {
        "root": "root",
        "nodes": [
            {"id": "root", "key": "k/root", "stage": "blocked", "parent": "top", "inside": True},
            {"id": "a", "key": "k/a", "stage": "shipped", "parent": "root", "inside": True},
            {"id": "b", "key": "k/b", "stage": "blocked", "parent": "root", "inside": True},
            {"id": "deep", "key": "k/deep", "stage": "queued", "parent": "a", "inside": True},
            {"id": "beside", "key": "k/beside", "stage": "failed", "parent": "top", "inside": False},
        ],
        "edges": [
            {"job": "root", "needs": "a", "kind": "child_shipped", "met": True, "hopeless": False},
            {"job": "b", "needs": "beside", "kind": "hard", "met": False, "hopeless": True},
            {"job": "b", "needs": "pruned", "kind": "soft", "met": False, "hopeless": False},
        ],
    }
