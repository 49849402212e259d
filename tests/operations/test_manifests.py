"""Jobs that wait for each other: children at submit and later, both policies, failures that spread, and circles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from tests.engine.world import Fleet, make_factory, memory

from pilothouse.engine.commands import Act
from pilothouse.errors import BadValue, Conflict, KeyReused, NotFound
from pilothouse.fleet.job import Job, Outcome
from pilothouse.fleet.manifest import read_manifest
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch, JobId
from pilothouse.operations.cancel import cancel
from pilothouse.operations.claim import Handover
from pilothouse.operations.submit import submit
from pilothouse.operations.submit_manifest import Submitted, add_children, submit_manifest
from pilothouse.testing import values
from pilothouse.testing.values import PRODUCT

CHILDREN: list[dict[str, Any]] = [{"name": "a"}, {"name": "b", "depends_on": ["a"]}]


class Graphs(Fleet):
    """A fleet that is given manifests."""

    def __init__(self) -> None:
        super().__init__(make_factory(seats=9))
        self.running: list[Handover] = []
        self.ids: Iterator[JobId] = (JobId(f"id-{number}") for number in count(1))

    def put(self, key: str | None = "root", **fields: Any) -> Submitted:
        """Submit a manifest."""
        made = {"command": ["true"], **fields} | ({} if key is None else {"idempotency_key": key})
        manifest = read_manifest(made | {"children": with_commands(made.get("children", []))})
        now = self.clock.now()
        return self.ask(Act(lambda tx: submit_manifest(tx, manifest, product=PRODUCT, ids=self.ids, now=now)))

    def give(self, job: JobId, children: list[dict[str, Any]]) -> Submitted:
        """Give children to a stored job, a second later."""
        self.clock.advance(1)
        given = read_manifest({"command": ["true"], "children": with_commands(children)}).children
        now = self.clock.now()
        return self.ask(Act(lambda tx: add_children(tx, job, given, product=PRODUCT, ids=self.ids, now=now)))

    def stages(self) -> dict[str, str]:
        """Return the stage of every job by its key."""
        with self.store.read() as tx:
            return {job.key: job.stage.value for job in tx.jobs.listed(PRODUCT, limit=100)}

    def end(self, key: str, outcome: Outcome = Outcome.SUCCEEDED) -> None:
        """Let everything run that may, and end the job of this key so; the others stay with the factory."""
        self.running += self.claim(seats=9, jobs=9, held=self.told())
        (found,) = [each for each in self.running if each.key == key]
        self.running.remove(found)
        assert self.complete(found, values.make_report(outcome)) is None

    def told(self) -> list[tuple[JobId, Epoch]]:
        """Return what the factory says that it holds."""
        return [(each.job, each.epoch) for each in self.running]


def with_commands(children: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return children that each have something to do."""
    return [{"command": ["true"], **child, "children": with_commands(child.get("children", []))} for child in children]


@pytest.fixture(name="graphs")
def _graphs() -> Graphs:
    return Graphs()


def same(graphs: Graphs) -> None:
    """Compare the memory with the database."""
    assert memory(graphs.scheduler) == memory(graphs.fresh())


def test_a_parent_runs_after_its_children_and_they_in_their_order(graphs: Graphs) -> None:
    """Each is let go by the end of the one before it."""
    made = graphs.put(children=CHILDREN)
    assert (made.made, made.job.stage, [job.key for job in made.below]) == (True, Stage.BLOCKED, ["root/a", "root/b"])
    seen = []
    for key in ("root/a", "root/b", "root"):
        same(graphs)
        seen.append({name for name, stage in graphs.stages().items() if stage in {"queued", "assigned"}})
        graphs.end(key)

    assert seen == [{"root/a"}, {"root/b"}, {"root"}]
    assert set(graphs.stages().values()) == {"shipped"}


@pytest.mark.parametrize(
    ("policy", "end"), [("shipped", "failed"), ("terminal", "queued")], ids=["shipped", "terminal"]
)
def test_the_policy_says_what_a_failed_child_means(graphs: Graphs, policy: str, end: str) -> None:
    """All must ship, or all must end; the sibling that waits for it fails in either case, the other one goes on."""
    graphs.put(children=[*CHILDREN, {"name": "c"}], children_policy=policy)
    graphs.end("root/a", Outcome.OUT_OF_MEMORY)
    assert graphs.stages()["root/b"] == "failed"
    assert graphs.stages()["root/c"] in {"queued", "assigned"}
    graphs.end("root/c")

    assert graphs.stages()["root"] == end
    with graphs.store.read() as tx:
        parent = tx.jobs.by_key(PRODUCT, "root")
        assert parent is not None
        if end == "failed":
            assert "which is failed" in tx.jobs.events(parent.id)[-1].why
    same(graphs)


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_a_dependency_is_met_as_its_mode_says(graphs: Graphs, mode: str) -> None:
    """A soft one by testing already; both fail with it."""
    graphs.put("first", ship="manual")
    graphs.put("second", deps=["first"], deps_mode=mode)
    graphs.end("first")

    assert graphs.stages() == {"first": "testing", "second": "queued" if mode == "soft" else "blocked"}
    same(graphs)


def test_a_dependency_that_can_never_be_met_is_refused(graphs: Graphs) -> None:
    """And one that nobody knows."""
    gone = graphs.put("gone").job
    graphs.ask(Act(lambda tx: cancel(tx, gone.id, now=graphs.clock.now())))

    with pytest.raises(BadValue, match="cancelled"):
        graphs.put("late", deps=["gone"])
    with pytest.raises(NotFound, match="nobody"):
        graphs.put("lost", deps=["nobody"])
    assert set(graphs.stages()) == {"gone"}


class TestTheSameKey:
    """What comes twice under one key."""

    def test_the_same_body_is_the_same_job(self, graphs: Graphs) -> None:
        """With the same children, before and after it has run, and after it was given more of them."""
        first = graphs.put(children=CHILDREN)
        again = graphs.put(children=CHILDREN)
        graphs.give(first.job.id, [{"name": "later"}])
        third = graphs.put(children=CHILDREN)

        assert [each.made for each in (again, third)] == [False, False]
        assert {each.job.id for each in (first, again, third)} == {first.job.id}
        assert [job.id for job in again.below] == [job.id for job in first.below]

    @pytest.mark.parametrize(
        "other",
        [
            [],
            CHILDREN[:1],
            [*CHILDREN, {"name": "c"}],
            [{"name": "a"}, {"name": "b"}],
            [{"name": "a", "seats": 2}, CHILDREN[1]],
            [{"name": "a", "children": [{"name": "x"}]}, CHILDREN[1]],
        ],
        ids=["none", "fewer", "more", "other order", "other spec", "deeper"],
    )
    @pytest.mark.parametrize("started", [False, True])
    def test_other_children_are_another_body(self, graphs: Graphs, other: list[dict[str, Any]], started: bool) -> None:
        """Which supersedes what has not started, children and all, and is refused once any of it has."""
        first = graphs.put(children=CHILDREN)
        if started:
            graphs.claim()
            before = graphs.stages()
            with pytest.raises(KeyReused, match="root"):
                graphs.put(children=other)
            assert graphs.stages() == before
            return

        second = graphs.put(children=other)

        assert second.made
        assert second.job.id != first.job.id
        for job in (first.job, *first.below):
            assert graphs.job(job.id).stage is Stage.CANCELLED
        assert len(second.below) == len(graphs.put(children=other).below)
        same(graphs)

    def test_a_body_without_children_is_another_one_with_some(self, graphs: Graphs) -> None:
        """In either direction."""
        graphs.put()
        assert graphs.put(children=CHILDREN).made
        assert graphs.put().made


class TestChildrenLater:
    """Children that a stored job is given."""

    def test_a_job_that_waits_for_its_turn_waits_for_them_instead(self, graphs: Graphs) -> None:
        """Under a new epoch, so that no claim can have it in between."""
        parent = graphs.put().job
        given = graphs.give(parent.id, CHILDREN)

        assert (given.made, given.job.stage, given.job.epoch, given.job.waiting) == (True, Stage.BLOCKED, 1, 2)
        assert {each.key for each in graphs.claim(jobs=9, seats=9)} == {"root/a"}
        assert graphs.give(parent.id, CHILDREN).made is False
        same(graphs)

    def test_a_claim_of_the_same_batch_gets_the_child(self, graphs: Graphs) -> None:
        """Or, if it came first, the parent, which then cannot wait any more."""
        for first in (False, True):
            parent = graphs.put(f"root-{first}").job
            given = read_manifest({"command": ["true"], "children": with_commands([{"name": "a"}])}).children

            def give(tx: Any, parent: Job = parent, given: Any = given) -> Submitted:
                return add_children(tx, parent.id, given, product=PRODUCT, ids=graphs.ids, now=graphs.clock.now())

            act, claim = Act(give), graphs.claim_of(jobs=9, seats=9, held=graphs.told())
            graphs.run(*((claim, act) if first else (act, claim)))
            assert [each.key for each in claim.value()] == ([parent.key] if first else [])
            graphs.running += claim.value()
            if first:
                with pytest.raises(Conflict, match="assigned"):
                    act.value()
            else:
                later = graphs.claim(held=graphs.told())
                assert [each.key for each in later] == [f"{parent.key}/a"]
                graphs.running += later
            same(graphs)

    def test_a_parent_that_comes_with_children_is_never_ready_before_them(self, graphs: Graphs) -> None:
        """Not even for claims of the same batch."""
        manifest = read_manifest({"command": ["true"], "idempotency_key": "root", "children": with_commands(CHILDREN)})
        now = graphs.clock.now()
        act = Act(lambda tx: submit_manifest(tx, manifest, product=PRODUCT, ids=graphs.ids, now=now))
        claims = [graphs.claim_of(jobs=9, seats=9, wait_seconds=60) for _ in range(2)]
        graphs.run(claims[0], act, claims[1])

        handed = [each.key for claim in graphs.retry() for each in claim.value()]
        assert handed == ["root/a"]
        assert graphs.stages() == {"root": "blocked", "root/a": "assigned", "root/b": "blocked"}

    def test_a_started_job_can_wait_for_nothing(self, graphs: Graphs) -> None:
        """Neither one that has ended; nothing of it is stored."""
        parent = graphs.put().job
        handover = graphs.take()
        for _ in range(2):
            with pytest.raises(Conflict):
                graphs.give(parent.id, CHILDREN)
            graphs.complete(handover)

        assert set(graphs.stages()) == {"root"}

    def test_a_circle_through_what_is_stored_is_refused(self, graphs: Graphs) -> None:
        """A child must not wait for a job that waits for its parent, over any number of others."""
        parent = graphs.put("parent").job
        graphs.put("middle", deps=["parent"])
        graphs.put("last", deps=["middle"])

        for on in ("parent", "middle", "last"):
            with pytest.raises(BadValue, match="circle"):
                graphs.give(parent.id, [{"name": "a", "deps": [on]}])
        assert set(graphs.stages()) == {"parent", "middle", "last"}
        assert graphs.job(parent.id).stage is Stage.QUEUED
        same(graphs)


def test_a_parent_that_goes_back_to_the_queue_waits_for_nothing_again(graphs: Graphs) -> None:
    """Its children have ended and stay so."""
    made = graphs.put(children=[{"name": "a"}], retry=1)
    graphs.end("root/a")
    graphs.end("root", Outcome.PREEMPTED)

    assert graphs.stages() == {"root": "queued", "root/a": "shipped"}
    assert graphs.job(made.job.id).waiting == 0
    graphs.end("root")
    same(graphs)


def test_a_cancelled_parent_ends_no_child(graphs: Graphs) -> None:
    """They go on, and nothing hangs."""
    made = graphs.put(children=CHILDREN)
    graphs.ask(Act(lambda tx: cancel(tx, made.job.id, now=graphs.clock.now())))
    for key in ("root/a", "root/b"):
        graphs.end(key)

    assert graphs.stages() == {"root": "cancelled", "root/a": "shipped", "root/b": "shipped"}


def test_a_failure_goes_through_the_whole_graph_in_one_commit(graphs: Graphs) -> None:
    """However long the chain, nothing is left waiting."""
    first = graphs.put("0").job
    for number in range(1, 40):
        graphs.put(str(number), deps=[str(number - 1)])
    later = replace(values.make_new_job(1), deps=(JobId("id-40"),))
    graphs.ask(Act(lambda tx: submit(tx, later, now=graphs.clock.now() + timedelta(seconds=1))))
    graphs.ask(Act(lambda tx: cancel(tx, first.id, now=graphs.clock.now())))

    assert set(graphs.stages().values()) == {"failed", "cancelled"}
    same(graphs)
