"""The board gives every session the best job that may start there, and never more than there is room for."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fleet.board_world import (
    DEMO,
    HERE,
    LARGE,
    NOW,
    OTHER,
    SECOND,
    SMALL,
    THERE,
    add,
    board_of,
    open_place,
    pick,
    pick_all,
    ready,
)

from pilothouse.fleet.capability import Offer
from pilothouse.fleet.claim import Ready
from pilothouse.fleet.job import Cost, Priority, Shape
from pilothouse.fleet.place import EVERY_PRODUCT
from pilothouse.fleet.score import DEFAULT, FactoryFacts, JobFacts, Weights, score, static_order
from pilothouse.ids import Epoch, JobNumber, ShapeNumber


class TestOrder:
    """Who comes first."""

    def test_the_more_urgent_then_the_older_then_the_first(self) -> None:
        """Whatever the order of arrival."""
        board = board_of(SMALL)
        open_place(board, seats=9)
        add(
            board,
            ready(1, priority=Priority.LOW),
            ready(2),
            ready(3, priority=Priority.CRITICAL),
            ready(4, age_seconds=5),
            ready(5, priority=Priority.HIGH),
            ready(6),
        )

        assert pick_all(board) == [3, 5, 4, 2, 6, 1]

    def test_what_has_waited_long_overtakes_the_urgent(self) -> None:
        """Ten minutes are one step, within a shape and between shapes."""
        board = board_of(SMALL, replace(SMALL, pool="elsewhere"))
        open_place(board, seats=9)
        add(
            board,
            ready(1, priority=Priority.HIGH),
            ready(2, priority=Priority.MEDIUM, age_seconds=601),
            ready(3, shape=2, priority=Priority.MEDIUM, age_seconds=599),
            ready(4, shape=2, priority=Priority.LOW, age_seconds=1202),
        )

        assert pick_all(board) == [4, 2, 1, 3]

    @pytest.mark.parametrize("other", [replace(SMALL, timeout_seconds=61.0), replace(SMALL, pool="elsewhere")])
    def test_ties_go_to_the_more_urgent_then_to_the_older_then_to_the_first(self, other: Shape) -> None:
        """Between shapes that no place can tell apart as between any others."""
        board = board_of(SMALL, other)
        board.set_weights(DEMO, Weights(age=0.0, priority=0.0))
        open_place(board, seats=9)
        add(board, ready(1, shape=2), ready(2), ready(3, shape=2, age_seconds=1), ready(4, age_seconds=2))
        add(board, ready(5, shape=2, priority=Priority.HIGH), ready(6, priority=Priority.CRITICAL))

        assert pick_all(board) == [6, 5, 4, 3, 1, 2]

    def test_a_tie_between_an_urgent_job_and_an_old_one_goes_to_the_urgent(self) -> None:
        """Ten minutes are worth exactly one step of priority, whatever floats make of the times of day."""
        odd = 1.234567
        for eighths in range(8, 48):
            board = board_of(SMALL, replace(SMALL, pool="elsewhere"))
            open_place(board)
            age = 7.5 * eighths - odd
            add(board, ready(1, age_seconds=age + 600), ready(2, shape=2, priority=Priority.HIGH, age_seconds=age))

            assert pick_all(board, now_us=NOW + round(odd * SECOND)) == [2, 1]

    @pytest.mark.parametrize("weight", [1.0, 1e6])
    def test_the_last_digit_of_a_score_counts(self, weight: float) -> None:
        """However large the other terms are, the factory's fit decides between jobs of one age."""
        shapes = [replace(SMALL, requires=tuple(f"tool-{tool}" for tool in range(count))) for count in range(5)]
        board = board_of(*shapes)
        board.set_weights(DEMO, Weights(age=weight))
        open_place(board, seats=9).offer = Offer.read(f"tool-{tool}" for tool in range(5))
        add(board, *(ready(number, shape=number, age_seconds=1e5) for number in (3, 1, 5, 2, 4)))

        assert pick_all(board) == [5, 4, 3, 2, 1]

    def test_a_large_job_without_room_does_not_stop_a_small_one_behind_it(self) -> None:
        """Unless a place is kept for it, which takes its time."""
        board = board_of(SMALL, LARGE)
        open_place(board, seats=2)
        add(board, ready(1, shape=2, priority=Priority.CRITICAL), ready(2))

        assert pick_all(board) == [2]

    def test_a_shape_that_the_machine_fits_better_comes_first(self) -> None:
        """An empty heap and one whose jobs cannot run here do not count."""
        liked = replace(SMALL, prefers_engine="claude")
        board = board_of(SMALL, liked, replace(SMALL, engine="codex"))
        place = open_place(board)
        place.engines = frozenset({"claude"})
        add(board, ready(1), ready(2, shape=2), ready(3, shape=3))

        assert pick_all(board) == [2, 1]

    @given(
        st.lists(st.tuples(st.sampled_from(Priority), st.integers(0, 10**12), st.booleans()), min_size=1, max_size=12),
        st.builds(Weights, age=st.sampled_from((0.0, 0.5, 1.0, 7.0)), priority=st.sampled_from((0.0, 1.0, 10.0))),
    )
    def test_a_heap_has_the_static_order(self, jobs: list[tuple[Priority, int, bool]], weights: Weights) -> None:
        """Whether its jobs were there at the start, came later, or were weighed anew."""
        board = board_of(SMALL)
        waiting = [
            Ready(JobNumber(number), ShapeNumber(1), priority.rank, NOW - age, Epoch(0), 0)
            for number, (priority, age, _) in enumerate(jobs)
        ]
        board.load(job for job, (_, _, early) in zip(waiting, jobs, strict=True) if early)
        board.set_weights(DEMO, weights)
        add(board, *(job for job, (_, _, early) in zip(waiting, jobs, strict=True) if not early))
        open_place(board, seats=len(jobs))

        heads = [job.number for job in board.heads(ShapeNumber(1), len(jobs))]
        picked = pick_all(board)

        assert sorted(picked) == [job.number for job in waiting]
        assert picked == heads
        for before, after in pairwise(picked):
            first, second = (static_order(jobs[n][0], waiting[n].created_us, weights) for n in (before, after))
            # The board takes a product apart that the rule keeps together, so the last digit may differ.
            assert first[0] <= second[0] + 1e-3
            if first[0] == second[0]:
                assert first <= second

    def test_the_same_order_before_and_after_a_restart(self) -> None:
        """The scan and the arrivals give the same keys, bit by bit."""
        jobs = [
            ready(number, priority=priority, age_seconds=0.1 * number * rank)
            for rank, priority in enumerate(Priority)
            for number in range(rank * 10, rank * 10 + 10)
        ]
        one, other = board_of(SMALL), board_of(SMALL)
        add(one, *jobs)
        other.load(jobs)

        assert one.heads(ShapeNumber(1), 40) == other.heads(ShapeNumber(1), 40)


class TestScore:
    """The board's sum is the one that is explained."""

    @given(
        priority=st.sampled_from(Priority),
        age_us=st.integers(0, 10**13),
        usd=st.none() | st.floats(0, 1e6),
        price=st.none() | st.floats(0, 1e3),
        seats=st.integers(1, 8),
        taken=st.integers(0, 8),
        health=st.floats(0, 1),
        familiar=st.booleans(),
        liked=st.sampled_from(("", "claude", "codex")),
        weights=st.builds(Weights, *[], age=st.floats(0, 100), load=st.floats(0, 100), health=st.floats(0, 100)),
    )
    def test_it_agrees_with_the_score_of_its_terms(
        self,
        *,
        priority: Priority,
        age_us: int,
        usd: float | None,
        price: float | None,
        seats: int,
        taken: int,
        health: float,
        familiar: bool,
        liked: str,
        weights: Weights,
    ) -> None:
        """For every job at every place."""
        shape = replace(SMALL, cost=Cost(usd=usd), prefers_engine=liked)
        board = board_of(shape)
        place = open_place(board, seats=seats)
        place.usd_per_hour, place.engines, place.health = price, frozenset({"claude"}), {"": health}
        if familiar:
            place.familiar.add(DEMO)
        place.seats_taken = min(taken, seats)
        board.set_weights(DEMO, weights)
        job = Ready(JobNumber(1), ShapeNumber(1), priority.rank, NOW - age_us, Epoch(0), 0)

        suited = board.suits(place, ShapeNumber(1))
        assert suited is not None
        facts = JobFacts(
            priority=priority, age_seconds=age_us / SECOND, fit=suited, engine_match=liked == "claude", usd=usd
        )
        factory = FactoryFacts(load=min(taken, seats) / seats, health=health, usd_per_hour=price, familiar=familiar)
        expected = score(facts, factory, weights).total

        assert board.score(job, place, now_us=NOW) == pytest.approx(expected, rel=1e-9, abs=1e-9)

    def test_a_request_may_bring_its_own_weights(self) -> None:
        """They decide between shapes for this one claim."""
        board = board_of(SMALL, replace(SMALL, pool="elsewhere"))
        open_place(board)
        add(board, ready(1, priority=Priority.HIGH), ready(2, shape=2, age_seconds=60))
        by_age = replace(DEFAULT, priority=0.0)

        assert pick(board, weights=by_age) == 2
        board.release(JobNumber(2))
        board.add(ready(2, shape=2, age_seconds=60))
        assert pick(board) == 1

    def test_new_weights_sort_what_waits_of_their_product_only(self) -> None:
        """By age alone, the more urgent is second; the other product keeps its order."""
        board = board_of(SMALL, replace(SMALL, product=OTHER))
        urgent, old = ready(1, priority=Priority.HIGH), ready(2, age_seconds=60)
        add(board, urgent, old, ready(3, shape=2, priority=Priority.HIGH), ready(4, shape=2, age_seconds=60))

        board.set_weights(DEMO, replace(DEFAULT, priority=0.0))

        assert [job.number for job in board.heads(ShapeNumber(1), 2)] == [2, 1]
        assert [job.number for job in board.heads(ShapeNumber(2), 2)] == [3, 4]


class TestWhoMay:
    """What keeps a job from a place."""

    @pytest.mark.parametrize(
        "shape",
        [
            replace(SMALL, product=OTHER),
            replace(SMALL, seats=5),
            replace(SMALL, gpus=3),
            replace(SMALL, engine="codex"),
            replace(SMALL, requires=("cuda>=12",)),
            replace(SMALL, pool="elsewhere"),
        ],
        ids=["product", "seats", "gpus", "engine", "capability", "pool"],
    )
    def test_a_job_that_could_never_run_here_is_passed_over(self, shape: Shape) -> None:
        """The one behind it is taken, and it stays for others."""
        board = board_of(shape, SMALL)
        place = open_place(board, gpus=2)
        place.engines, place.offer = frozenset({"claude"}), Offer.read(("cuda:11",))
        add(board, ready(1, age_seconds=999), ready(2, shape=2))

        assert pick(board, pools=("local",)) == 2
        assert pick(board, pools=("local",)) is None
        assert len(board) == 1

    def test_a_factory_of_every_product_serves_them_all(self) -> None:
        """A place of one product serves only that."""
        board = board_of(SMALL, replace(SMALL, product=OTHER))
        open_place(board, product=EVERY_PRODUCT)
        add(board, ready(1), ready(2, shape=2))

        assert pick_all(board) == [1, 2]

    def test_what_a_factory_offers_may_change(self) -> None:
        """The fit is worked out anew once it is forgotten."""
        board = board_of(replace(SMALL, requires=("cuda>=12",)))
        place = open_place(board)
        add(board, ready(1))
        assert pick(board) is None

        place.offer, place.fits = Offer.read(("cuda:12",)), {}

        assert pick(board) == 1

    def test_no_more_is_given_than_there_are_seats_and_gpus(self) -> None:
        """Nor than the factory says it has free."""
        board = board_of(replace(SMALL, gpus=1))
        open_place(board, seats=4, gpus=2)
        add(board, *(ready(number) for number in range(4)))
        assert pick(board, seats=0) is None

        assert len(pick_all(board)) == 2

    def test_a_lock_lets_one_job_of_its_product_run(self) -> None:
        """On whatever machine; the next one starts when it has ended."""
        locked = replace(SMALL, lock="database")
        board = board_of(locked, replace(locked, product=OTHER), replace(locked, pool="elsewhere"))
        open_place(board, HERE, product=EVERY_PRODUCT)
        open_place(board, THERE, product=EVERY_PRODUCT)
        add(board, ready(1, age_seconds=1), ready(2), ready(3, shape=2), ready(4, shape=3))

        assert pick(board) == 1
        assert pick_all(board, THERE) == [3]
        board.release(JobNumber(1))
        assert pick_all(board, THERE) == [2]

    def test_a_closed_place_takes_nothing(self) -> None:
        """While it drains, or while its engine is not to be trusted."""
        board = board_of(SMALL)
        place = open_place(board)
        add(board, ready(1))

        place.open = False
        assert pick(board) is None
        place.open = True
        place.health = {"": 0.0}
        assert pick(board) is None
        place.health = {"": 0.1}
        assert pick(board) == 1

    def test_what_the_budget_holds_back_waits(self) -> None:
        """Only its own shape."""
        board = board_of(SMALL, replace(SMALL, engine="dear"))
        open_place(board).engines = frozenset({"dear"})
        add(board, ready(1, shape=2, age_seconds=999), ready(2))

        assert pick(board, funds=lambda shape, _: "exhausted" if shape.engine else None) == 2
        assert pick(board, funds=lambda shape, _: "exhausted" if shape.engine else None) is None
        assert pick(board, funds=lambda _, __: None) == 1


class TestWaiting:
    """What waits, and under which epoch."""

    def test_only_the_present_epoch_of_a_job_counts(self) -> None:
        """A stale entry is passed over, wherever it stands."""
        board = board_of(SMALL)
        open_place(board)
        first = ready(1, age_seconds=9)
        add(board, first, ready(2, age_seconds=5), first._replace(epoch=Epoch(3)))

        assert [job.epoch for job in board.heads(ShapeNumber(1), 3)] == [3, 0]
        assert pick_all(board) == [1, 2]
        assert board.held[JobNumber(1)].epoch == 4

    def test_a_job_that_is_added_twice_waits_once(self) -> None:
        """Also when it was forgotten in between."""
        board = board_of(SMALL)
        open_place(board)
        add(board, ready(1), ready(1))
        board.forget(JobNumber(1))
        assert (len(board), pick(board)) == (0, None)
        add(board, ready(1))
        assert len(board) == 1
        assert len(board.heads(ShapeNumber(1), 3)) == 1

        assert pick_all(board) == [1]

    def test_a_job_that_is_forgotten_just_before_it_is_due_is_not_served(self) -> None:
        """It has been looked at already, and came close."""
        board = board_of(*(replace(SMALL, pool=f"pool-{number}") for number in range(3)))
        open_place(board)
        add(board, *(ready(number, shape=number, age_seconds=-number) for number in (1, 2, 3)))
        assert pick(board) == 1

        board.forget(JobNumber(2))

        assert pick_all(board) == [3]

    def test_a_waiting_job_that_others_begin_to_depend_on_is_marked(self) -> None:
        """Otherwise its success would be told to nobody."""
        board = board_of(SMALL)
        open_place(board)
        add(board, ready(1), ready(1)._replace(marks=1))

        assert [job.marks for job in board.heads(ShapeNumber(1), 1)] == [1]
        picked = board.pick(HERE, seats=1, now_us=NOW)

        assert picked is not None
        assert (picked.marks, board.held[JobNumber(1)].marks) == (1, 1)

    def test_the_first_jobs_are_found_behind_any_number_of_stale_ones(self) -> None:
        """However many entries are out of date."""
        board = board_of(SMALL)
        old = [ready(number, age_seconds=50) for number in range(20)]
        add(board, *old, ready(99))
        for job in old:
            board.forget(job.number)

        assert [job.number for job in board.heads(ShapeNumber(1), 2)] == [99]

    def test_a_job_that_comes_back_finds_everything_as_it_was(self) -> None:
        """With its seats, its lock and its place in the order."""
        board = board_of(replace(SMALL, lock="one"))
        place = open_place(board)
        first = ready(1, age_seconds=5)
        add(board, first, ready(2))
        assert pick(board) == 1

        board.release(first.number)
        board.add(first)

        assert (place.seats_free, len(board), board.held) == (4, 2, {})
        assert pick(board) == 1

    def test_what_a_closed_session_held_is_still_held(self) -> None:
        """Until it is taken back: its lock stays taken, and nobody is given its job."""
        board = board_of(replace(SMALL, lock="one"))
        open_place(board, HERE)
        open_place(board, THERE)
        add(board, ready(1, age_seconds=5), ready(2))
        pick(board)

        held = board.close_place(HERE)

        assert [job.number for job in held] == [1]
        assert pick(board, THERE) is None
        board.release(JobNumber(1))
        assert pick(board, THERE) == 2
