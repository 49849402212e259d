"""The board gives every session the best job that may start there, and never more than there is room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pilothouse.fleet.board import RESERVE_AFTER_SECONDS, Board, counts
from pilothouse.fleet.capability import Offer
from pilothouse.fleet.claim import Ready
from pilothouse.fleet.job import Cost, Priority, Shape
from pilothouse.fleet.place import EVERY_PRODUCT, HeldJob, Place
from pilothouse.fleet.score import DEFAULT, FactoryFacts, JobFacts, Weights, score, static_order
from pilothouse.ids import Epoch, FactoryName, JobNumber, ProductId, SessionNumber, ShapeNumber

DEMO, OTHER = ProductId("demo"), ProductId("other")
HERE, THERE = SessionNumber(1), SessionNumber(2)
SECOND = 1_000_000
NOW = 1_767_000_000 * SECOND
"""Some time in 2025, in microseconds: large, as real times are, so that rounding shows."""
SMALL = Shape(product=DEMO, pool="local", timeout_seconds=600.0)
LARGE = replace(SMALL, seats=4)


def board_of(*shapes: Shape) -> Board:
    """Return a board that knows these shapes by their positions, counted from 1."""
    board = Board()
    board.shapes.update({ShapeNumber(number): shape for number, shape in enumerate(shapes, start=1)})
    return board


def open_place(
    board: Board, session: SessionNumber = HERE, *, seats: int = 4, gpus: int = 0, product: ProductId = DEMO
) -> Place:
    """Return a new place of a factory without anything special."""
    place = Place(
        session=session,
        factory=FactoryName(f"factory-{session}"),
        product=product,
        offer=Offer.read(()),
        engines=frozenset(),
        seats=seats,
        gpus=gpus,
    )
    board.open_place(place)
    return place


def ready(number: int, *, shape: int = 1, priority: Priority = Priority.MEDIUM, age_seconds: float = 0.0) -> Ready:
    """Return a job that waits since so long."""
    created = NOW - round(age_seconds * SECOND)
    return Ready(JobNumber(number), ShapeNumber(shape), priority.rank, created, Epoch(0), 0)


def add(board: Board, *jobs: Ready) -> None:
    """Let jobs wait."""
    for job in jobs:
        board.add(job)


def pick(
    board: Board,
    session: SessionNumber = HERE,
    *,
    seats: int = 99,
    now_us: int = NOW,
    pools: Sequence[str] | None = None,
    funds: Callable[[Shape, Place], str | None] | None = None,
    weights: Weights | None = None,
) -> int | None:
    """Return the number of the job that the session is given."""
    picked = board.pick(session, seats=seats, now_us=now_us, pools=pools, funds=funds, weights=weights)
    return None if picked is None else picked.number


def pick_all(board: Board, session: SessionNumber = HERE, *, now_us: int = NOW) -> list[int]:
    """Return the numbers of all jobs that the session is given until nothing more may start."""
    picked: list[int] = []
    while (number := pick(board, session, now_us=now_us)) is not None:
        picked.append(number)
    return picked


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
        board.give_back(ready(2, shape=2, age_seconds=60))
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

    def test_a_pick_that_could_not_be_stored_is_given_back(self) -> None:
        """With its seats, its lock and its place in the order."""
        board = board_of(replace(SMALL, lock="one"))
        place = open_place(board)
        first = ready(1, age_seconds=5)
        add(board, first, ready(2))
        assert pick(board) == 1

        board.give_back(first)

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

    def test_what_waits_is_counted_by_product(self) -> None:
        """For the figures."""
        board = board_of(SMALL, LARGE, replace(SMALL, product=OTHER))
        add(board, ready(1), ready(2, shape=2), ready(3, shape=3))

        assert counts(board) == {DEMO: 2, OTHER: 1}


OLD = RESERVE_AFTER_SECONDS + 1
LONG, SHORT = replace(SMALL, timeout_seconds=3600.0), replace(SMALL, timeout_seconds=60.0)


class TestRoomForLargeJobs:
    """A job that needs more than is ever free at once is not passed over for ever."""

    def test_a_stream_of_small_jobs_cannot_starve_a_large_one(self) -> None:
        """Whenever a small one ends another one comes, and yet all seats come free in the end."""
        board = board_of(LONG, LARGE)
        open_place(board)
        add(board, *(ready(number) for number in range(1, 5)))
        running = pick_all(board)
        add(board, ready(0, shape=2))
        now = NOW
        for number in range(5, 500):
            now += 60 * SECOND
            board.add(ready(number)._replace(created_us=now))
            board.release(JobNumber(running.pop(0)))
            running += pick_all(board, now_us=now)
            if 0 in running:
                break

        assert 0 in running
        assert now - NOW <= (RESERVE_AFTER_SECONDS + 3600 + 60) * SECOND

    def test_only_what_ends_in_time_starts_in_between(self) -> None:
        """By its own time limit, and the reservation stays whatever comes."""
        board = board_of(LONG, LARGE, SHORT)
        place = open_place(board)
        add(board, *(ready(number) for number in (1, 2, 3)))
        pick_all(board)
        add(board, ready(9, shape=2, age_seconds=OLD), ready(4, priority=Priority.CRITICAL), ready(5, shape=3))

        assert pick_all(board, now_us=NOW + SECOND) == [5]
        assert place.reserved_for == 9
        late = NOW + (3600 - 59) * SECOND
        board.release(JobNumber(5))
        add(board, ready(6, shape=3))
        assert pick_all(board, now_us=late) == []

    def test_backfill_never_delays_the_large_job_beyond_its_bound(self) -> None:
        """The bound is when the jobs that ran at the reservation reach their limits."""
        board = board_of(LONG, LARGE, SHORT)
        place = open_place(board)
        add(board, *(ready(number) for number in (1, 2, 3)))
        pick_all(board)
        add(board, ready(9, shape=2, age_seconds=OLD))
        bound, now, number = NOW + 3600 * SECOND, NOW, 10
        while JobNumber(9) not in board.held:
            assert now < bound
            now = min(bound, now + 45 * SECOND)
            for held in list(place.held.values()):
                if held.deadline_us <= now:
                    board.release(held.number)
            number += 1
            add(board, ready(number, shape=3, priority=Priority.CRITICAL), ready(number + 1000))
            for started in pick_all(board, now_us=now):
                assert started == 9 or board.held[JobNumber(started)].deadline_us <= bound

        assert now == bound

    def test_a_reservation_is_served_before_what_scores_higher(self) -> None:
        """Otherwise the seats would stay empty for both of them."""
        board = board_of(LONG, LARGE)
        open_place(board)
        add(board, ready(1))
        assert pick(board) == 1
        add(board, ready(9, shape=2, age_seconds=OLD))
        assert pick(board) is None
        board.release(JobNumber(1))
        add(board, *(ready(number, priority=Priority.CRITICAL) for number in (2, 3, 4, 5)))

        assert pick(board) == 9

    def test_a_more_urgent_job_of_the_same_shape_may_go_first(self) -> None:
        """The seats fit both, and one of them is used."""
        board = board_of(LONG, LARGE)
        open_place(board)
        add(board, ready(1))
        assert pick(board) == 1
        add(board, ready(9, shape=2, age_seconds=OLD))
        assert pick(board) is None
        add(board, ready(8, shape=2, priority=Priority.CRITICAL))
        board.release(JobNumber(1))

        assert pick(board) == 8
        board.release(JobNumber(8))
        assert pick(board) == 9

    def test_the_place_that_has_room_soonest_is_kept_and_no_other(self) -> None:
        """Whichever asks first."""
        board = board_of(LONG, LARGE, replace(LONG, timeout_seconds=7200.0))
        slow, quick = open_place(board, HERE), open_place(board, THERE)
        add(board, ready(1, shape=3))
        assert pick(board, HERE) == 1
        add(board, ready(2))
        assert pick(board, THERE) == 2
        add(board, ready(9, shape=2, age_seconds=OLD), ready(3), ready(4))

        later = NOW + SECOND
        assert pick(board, HERE, now_us=later) == 3
        assert slow.reserved_for is None
        assert pick(board, THERE, now_us=later) is None
        assert quick.reserved_for == 9
        assert pick(board, HERE, now_us=later) == 4

    @pytest.mark.parametrize("why", ["drained", "broke", "unhealthy", "locked", "forgotten", "taken", "closed"])
    def test_a_reservation_that_is_in_vain_is_dropped(self, why: str) -> None:
        """Seats are not kept for a job that cannot start here any more."""
        board = board_of(LONG, replace(LARGE, lock="one", engine="big"), replace(LONG, lock="one"))
        place = open_place(board, HERE)
        other = open_place(board, THERE, seats=8)
        place.engines = other.engines = frozenset({"big"})
        other.open = False
        add(board, ready(1))
        assert pick(board) == 1
        add(board, ready(9, shape=2, age_seconds=OLD))
        assert pick(board) is None
        assert place.reserved_for == 9
        broke = None
        match why:
            case "drained":
                place.engines, place.fits = frozenset(), {}
            case "broke":
                broke = lambda shape, _: "exhausted" if shape.engine else None  # noqa: E731
            case "unhealthy":
                place.health = {"big": 0.0}
            case "locked":
                other.open = True
                add(board, ready(5, shape=3))
                assert pick(board, THERE, seats=1) == 5
                other.open = False
            case "forgotten":
                board.forget(JobNumber(9))
            case "taken":
                other.open = True
                assert pick(board, THERE) == 9
                other.open = False
            case "closed":
                board.close_place(HERE)
                open_place(board, HERE)
        add(board, *(ready(number) for number in (2, 3)))

        assert pick(board, funds=broke) == 2

    def test_a_job_has_one_reservation(self) -> None:
        """Also after it was taken elsewhere and sent back."""
        board = board_of(LONG, LARGE)
        here, there = open_place(board, HERE), open_place(board, THERE, seats=5)
        add(board, ready(1))
        assert pick(board, HERE) == 1
        add(board, ready(9, shape=2, age_seconds=OLD))
        there.open = False
        assert pick(board, HERE) is None
        assert here.reserved_for == 9
        there.open = True
        assert pick(board, THERE) == 9

        assert here.reserved_for is None


def held_job(number: int, session: SessionNumber, *, shape: int, waits_for: tuple[JobNumber, ...] = ()) -> HeldJob:
    """Return a critical job that others make room for."""
    return HeldJob(
        number=JobNumber(number),
        epoch=Epoch(1),
        shape=LARGE,
        shape_number=ShapeNumber(shape),
        priority=0,
        created_us=NOW,
        claimed_us=NOW,
        marks=0,
        session=session,
        waits_for=waits_for,
    )


class TestMakingRoom:
    """Victims and the job that waits for their seats."""

    def test_freed_seats_are_the_preemptors(self) -> None:
        """Before, while and after its victims stop, nobody else gets them; what it does not need is free."""
        board = board_of(SMALL, LARGE)
        place = open_place(board, seats=5)
        add(board, *(ready(number) for number in range(1, 6)))
        pick_all(board)
        add(board, ready(7), ready(8))
        victims = tuple(JobNumber(number) for number in (1, 2, 3, 4))
        board.hold(held_job(9, HERE, shape=2, waits_for=victims))
        for victim in victims:
            board.ask_to_stop(victim, by_us=NOW, stops_for=JobNumber(9))

        for victim in victims:
            assert (place.seats_free, pick(board)) == (0, None)
            assert board.held[JobNumber(9)].waits_for
            board.release(victim)
        assert board.held[JobNumber(9)].waits_for == ()
        assert (place.seats_free, pick(board)) == (0, None)
        board.release(JobNumber(5))
        assert pick_all(board) == [7]

    def test_a_victim_that_is_claimed_again_is_not_waited_for(self) -> None:
        """It has made its room already."""
        board = board_of(SMALL, LARGE)
        open_place(board, HERE)
        open_place(board, THERE)
        add(board, ready(1))
        pick(board)
        board.hold(held_job(9, HERE, shape=2, waits_for=(JobNumber(1),)))
        board.ask_to_stop(JobNumber(1), by_us=NOW, stops_for=JobNumber(9))
        board.release(JobNumber(1))
        add(board, ready(1)._replace(epoch=Epoch(2)))

        assert pick(board, THERE) == 1
        assert board.held[JobNumber(9)].waits_for == ()


SHAPES = (
    SMALL,
    replace(SMALL, seats=2, gpus=1),
    replace(SMALL, seats=3, lock="one"),
    replace(SMALL, product=OTHER, timeout_seconds=30.0),
    replace(SMALL, engine="codex", lock="one"),
)
JOBS = st.builds(
    Ready,
    number=st.integers(1, 30).map(JobNumber),
    shape=st.integers(1, len(SHAPES)).map(ShapeNumber),
    priority=st.integers(0, 3),
    created_us=st.integers(NOW - 280 * SECOND, NOW),
    epoch=st.just(Epoch(0)),
    marks=st.integers(0, 3),
)


class BoardMachine(RuleBasedStateMachine):
    """Any history of a board beside a list of what waits and what is held."""

    def __init__(self) -> None:
        super().__init__()
        self.board = board_of(*SHAPES)
        self.now = NOW
        self.waiting: dict[JobNumber, Ready] = {}
        self.held: dict[JobNumber, tuple[Ready, SessionNumber]] = {}
        self.pairs: dict[JobNumber, JobNumber] = {}
        self.known: dict[JobNumber, Ready] = {}

    @initialize(jobs=st.lists(JOBS, unique_by=lambda job: job.number, max_size=8))
    def start(self, jobs: list[Ready]) -> None:
        """Begin with a scan."""
        self.waiting = {job.number: job for job in jobs}
        self.known = dict(self.waiting)
        self.board.load(jobs)
        self._open(HERE)
        self._open(THERE)

    def _open(self, session: SessionNumber) -> None:
        place = open_place(
            self.board, session, seats=2 + 2 * session, gpus=1, product=DEMO if session == HERE else EVERY_PRODUCT
        )
        place.engines = frozenset({"codex"})

    @rule(job=JOBS)
    def add(self, job: Ready) -> None:
        """Let a job wait, again or under other marks."""
        if job.number not in self.held:
            # The shape and the times of a job never change, marks are only added, and one that was gone comes back
            # under a later epoch.
            before = self.known.get(job.number, job)
            gone = job.number in self.known and job.number not in self.waiting
            self._add(before._replace(marks=before.marks | job.marks, epoch=Epoch(before.epoch + gone)))

    def _add(self, job: Ready) -> None:
        self.known[job.number] = self.waiting[job.number] = job
        self.board.add(job)

    @rule(data=st.data(), session=st.sampled_from((HERE, THERE)), seats=st.integers(0, 6))
    def pick(self, data: st.DataObject, session: SessionNumber, seats: int) -> None:
        """Compare what is given with the best of all, and keep it or give it back."""
        place = self.board.places.get(session)
        if place is None:
            return
        free, gpus, best = min(seats, place.seats_free), place.gpus_free, self._best(place, seats)
        kept = place.reserved_for
        picked = self.board.pick(session, seats=seats, now_us=self.now)
        kept = kept if kept is not None else place.reserved_for
        if picked is None:
            assert best is None or kept is not None
            return
        job = self.waiting.pop(picked.number)
        assert picked == job
        assert SHAPES[job.shape - 1].seats <= free
        assert SHAPES[job.shape - 1].gpus <= gpus
        if kept is None:
            assert best is not None
            assert self._rank(job, place) == pytest.approx(self._rank(best, place))
        if data.draw(st.booleans()):
            self.held[job.number] = (job, session)
        else:
            self.board.give_back(job)
            self.waiting[job.number] = job

    def _best(self, place: Place, seats: int) -> Ready | None:
        """Return the best of all that may start, found by looking at all."""
        able = [job for job in self.waiting.values() if self._may_start(job, place, seats)]
        return min(able, key=lambda job: (-self._rank(job, place), job.priority, job.created_us), default=None)

    def _may_start(self, job: Ready, place: Place, seats: int) -> bool:
        shape = SHAPES[job.shape - 1]
        locked = {SHAPES[held.shape - 1].lock for held, _ in self.held.values()} - {""}
        return (
            place.open
            and place.product in {EVERY_PRODUCT, shape.product}
            and shape.lock not in locked
            and shape.seats <= min(seats, place.seats_free)
            and shape.gpus <= place.gpus_free
        )

    def _rank(self, job: Ready, place: Place) -> float:
        shape = SHAPES[job.shape - 1]
        facts = JobFacts(priority=tuple(Priority)[job.priority], age_seconds=(self.now - job.created_us) / SECOND)
        familiar = shape.product in place.familiar
        return score(facts, FactoryFacts(load=place.load, familiar=familiar), self.board.weights(shape.product)).total

    @precondition(lambda self: self.held)
    @rule(data=st.data(), again=st.booleans())
    def release(self, data: st.DataObject, again: bool) -> None:
        """Let a job end, for good or not."""
        number = data.draw(st.sampled_from(sorted(self.held)))
        job, _ = self.held.pop(number)
        self.board.release(number)
        self.pairs.pop(number, None)
        if again:
            self._add(job._replace(epoch=Epoch(job.epoch + 2)))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """Let a job wait no more."""
        number = data.draw(st.sampled_from(sorted(self.waiting)))
        del self.waiting[number]
        self.board.forget(number)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), session=st.sampled_from((HERE, THERE)))
    def preempt(self, data: st.DataObject, session: SessionNumber) -> None:
        """Let jobs of a place stop for one that waits, if that makes room for it."""
        place = self.board.places.get(session)
        job = self.waiting[data.draw(st.sampled_from(sorted(self.waiting)))]
        shape = SHAPES[job.shape - 1]
        if place is None or shape.lock or not self._could_ever(job, place):
            return
        victims = [each for each in place.held.values() if each.stop_us is None]
        seats = place.seats_free + sum(each.shape.seats for each in victims)
        gpus = place.gpus_free + sum(each.shape.gpus for each in victims)
        if not victims or seats < shape.seats or gpus < shape.gpus:
            return
        del self.waiting[job.number]
        self.held[job.number] = (job, session)
        self.board.hold(
            HeldJob(
                number=job.number,
                epoch=Epoch(job.epoch + 1),
                shape=shape,
                shape_number=job.shape,
                priority=job.priority,
                created_us=job.created_us,
                claimed_us=self.now,
                marks=job.marks,
                session=session,
                waits_for=tuple(each.number for each in victims),
            )
        )
        for each in victims:
            self.pairs[each.number] = job.number
            self.board.ask_to_stop(each.number, by_us=self.now, stops_for=job.number)

    def _could_ever(self, job: Ready, place: Place) -> bool:
        return self.board.suits(place, job.shape) is not None and place.open

    @rule(session=st.sampled_from((HERE, THERE)), reopened=st.booleans())
    def toggle(self, session: SessionNumber, reopened: bool) -> None:
        """Drain a place, or close it: what it holds is then taken back."""
        place = self.board.places.get(session)
        if place is not None and not reopened:
            place.open = not place.open
        elif place is not None:
            for job in self.board.close_place(session):
                self.board.release(job.number)
                del self.held[job.number]
                self.pairs.pop(job.number, None)
            self._open(session)

    @rule(weights=st.builds(Weights, age=st.sampled_from((0.0, 1.0, 5.0)), load=st.sampled_from((0.0, 4.0))))
    def weigh(self, weights: Weights) -> None:
        """Change what counts."""
        self.board.set_weights(DEMO, weights)

    @rule(seconds=st.sampled_from((1, 20)))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds * SECOND

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        """Every waiting job waits once, as it is known."""
        assert len(self.board) == len(self.waiting)
        heads = [job for number in range(1, len(SHAPES) + 1) for job in self.board.heads(ShapeNumber(number), 10**6)]
        assert {job.number: job for job in heads} == self.waiting
        assert len(heads) == len(self.waiting)
        assert self.board.held.keys() == self.held.keys()

    @invariant()
    def no_place_is_overfull(self) -> None:
        """Count what is held: all of it fits."""
        for place in self.board.places.values():
            assert place.seats_taken == sum(job.shape.seats for job in place.held.values())
            assert place.gpus_taken == sum(job.shape.gpus for job in place.held.values())
            assert place.stopping == sum(job.stops_for is not None for job in place.held.values())
            # What runs is what is held, without those whose victims have not made room yet.
            running = [job for job in place.held.values() if not job.waits_for]
            assert sum(job.shape.seats for job in running) <= place.seats
            assert sum(job.shape.gpus for job in running) <= place.gpus
            assert 0.0 <= place.load <= 1.0

    @invariant()
    def a_lock_has_one_holder(self) -> None:
        """Over all places."""
        assert sum(bool(job.shape.lock) for job in self.board.held.values()) <= 1

    @invariant()
    def nobody_waits_for_a_job_that_has_stopped(self) -> None:
        """And whoever waits is the one that room is made for."""
        waited = {victim: job.number for job in self.board.held.values() for victim in job.waits_for}
        assert waited.keys() <= self.board.held.keys()
        assert all(self.pairs.get(victim) == number for victim, number in waited.items())


TestBoardMachine = BoardMachine.TestCase
TestBoardMachine.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=(HealthCheck.too_slow,),  # a loaded machine is no finding
)
