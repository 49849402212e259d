"""What every store must do with jobs that wait for each other, and with reviews, as tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pilothouse.errors import Conflict, NotFound
from pilothouse.fleet.claim import DEPENDED_ON, NEEDS_MORE
from pilothouse.fleet.job import Edge, EdgeKind, Placed, Review, Ship
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch, JobNumber
from pilothouse.ports.store import Store, Transaction
from pilothouse.testing import values
from pilothouse.testing.jobs_conformance import LATER, NUMBERLESS, building, insert


class GraphConformance:
    """Edges, children and reviews."""

    def test_a_job_waits_for_what_it_needs_and_is_counted_down(self, store: Store) -> None:
        """An edge is met once; what is waited for is marked, so that its end is told."""
        with store.write() as tx:
            first, second = (insert(tx, values.make_new_job(number)) for number in (1, 2))
            needs = ((first.number, EdgeKind.HARD), (second.number, EdgeKind.SOFT))
            waiting = insert(tx, values.make_new_job(3), stage=Stage.BLOCKED, needs=needs)
            marked = tx.jobs.by_id(first.id)
            edges = tx.jobs.edges(waiting)
            met = tx.jobs.meet(edges[0], now=LATER)
            again = tx.jobs.meet(edges[0], now=LATER)
            back = tx.jobs.edges(first)

        assert (first.marks, waiting.waiting, waiting.stage) == (0, 2, Stage.BLOCKED)
        assert marked is not None
        assert marked.marks == DEPENDED_ON
        assert list(edges) == [
            Edge(job=waiting.number, needs=first.number, kind=EdgeKind.HARD),
            Edge(job=waiting.number, needs=second.number, kind=EdgeKind.SOFT),
        ]
        assert met is not None
        assert met.waiting == 1
        assert again is None
        assert list(back) == [replace(edges[0], met=True)]

    def test_an_edge_joins_two_stored_jobs(self, store: Store) -> None:
        """Neither a job that is not there nor the job itself can be waited for, nor anything twice."""
        with store.write() as tx:
            one, two = (insert(tx, values.make_new_job(number)) for number in (1, 2))
            tx.jobs.link([Edge(job=one.number, needs=two.number, kind=EdgeKind.HARD)])
            with pytest.raises(NotFound), tx.savepoint():
                tx.jobs.link([Edge(job=one.number, needs=NUMBERLESS, kind=EdgeKind.HARD)])
            for needs in (one, two):
                with pytest.raises(Conflict), tx.savepoint():
                    tx.jobs.link([Edge(job=one.number, needs=needs.number, kind=EdgeKind.HARD)])
            found = tx.jobs.by_id(one.id)

        assert found is not None
        assert found.waiting == 1

    def test_children_are_listed_by_number(self, store: Store) -> None:
        """Each names its parent, and a child is marked from its birth."""
        with store.write() as tx:
            parent = insert(tx, values.make_new_job(1))
            news = [replace(values.make_new_job(number), parent=parent.id) for number in (3, 2)]
            placed = [Placed(new=new, stage=Stage.QUEUED, parent=parent.number) for new in news]
            children = tx.jobs.insert(placed, now=LATER)
            listed = tx.jobs.children(parent)
            assert list(tx.jobs.children(children[0])) == []

        assert list(listed) == list(children)
        assert {(child.parent, child.marks) for child in listed} == {(parent.id, DEPENDED_ON)}

    def test_a_job_whose_success_is_not_its_end_is_marked(self, store: Store) -> None:
        """Because of a review, or because a person ships it."""
        specs = [replace(values.make_spec(), approvals=1), replace(values.make_spec(), ship=Ship.MANUAL)]
        with store.write() as tx:
            marks = [insert(tx, values.make_new_job(number, spec=spec)).marks for number, spec in enumerate(specs)]
            stored = [job.marks for job in tx.jobs.listed(values.PRODUCT, limit=2)]

        assert marks == stored == [NEEDS_MORE, NEEDS_MORE]

    def test_the_last_word_of_each_reviewer_counts(self, store: Store) -> None:
        """For the job's present epoch, oldest first."""
        with store.write() as tx:
            job = building(tx)
            review_all(tx, [("ada", False, 1), ("bob", True, 2), ("ada", True, 3)], job_number=job.number)
            found = tx.jobs.reviews(job)
            assert list(tx.jobs.reviews(job._replace(epoch=Epoch(2)))) == []
            with pytest.raises(NotFound), tx.savepoint():
                review_all(tx, [("ada", True, 1)], job_number=NUMBERLESS)

        assert [(each.reviewer, each.approved, each.reason) for each in found] == [
            ("bob", True, "2"),
            ("ada", True, "3"),
        ]


def review_all(tx: Transaction, words: list[tuple[str, bool, int]], *, job_number: JobNumber) -> None:
    """Keep reviews of epoch 1, a second apart."""
    for reviewer, approved, second in words:
        tx.jobs.review(
            Review(
                job=job_number,
                epoch=Epoch(1),
                reviewer=reviewer,
                approved=approved,
                reason=str(second),
                at=LATER + timedelta(seconds=second),
            )
        )
