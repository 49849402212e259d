"""Room for large jobs and for critical ones: what is kept, for whom, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fleet.board_world import (
    HERE,
    LARGE,
    LONG,
    NOW,
    OLD,
    SECOND,
    SHORT,
    SMALL,
    THERE,
    add,
    board_of,
    held_job,
    open_place,
    pick,
    pick_all,
    ready,
)

from pilothouse.fleet.board import RESERVE_AFTER_SECONDS
from pilothouse.fleet.job import Priority
from pilothouse.ids import Epoch, JobNumber


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

    def test_nothing_is_kept_for_a_large_job_while_one_that_fits_comes_before_it(self) -> None:
        """Otherwise an older job would wait for a younger one, for whose sake seats that it could use stay empty."""
        board = board_of(LONG, LARGE)
        open_place(board)
        add(board, *(ready(number) for number in (1, 2, 3)))
        pick_all(board)
        add(board, ready(9, shape=2, age_seconds=OLD), ready(4, age_seconds=2 * OLD))

        assert pick_all(board) == [4]
        board.release(JobNumber(4))
        add(board, ready(5))
        assert pick_all(board, now_us=NOW + SECOND) == []

    def test_only_what_ends_in_time_starts_in_between(self) -> None:
        """By its own time limit, and the reservation stays whatever comes."""
        board = board_of(LONG, LARGE, SHORT)
        place = open_place(board)
        add(board, *(ready(number) for number in (1, 2, 3)))
        pick_all(board)
        add(board, ready(9, shape=2, age_seconds=OLD))
        assert pick_all(board) == []
        add(board, ready(4, priority=Priority.CRITICAL), ready(5, shape=3))

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
