"""Jobs that no place can tell apart, whatever their locks, times and budgets: who is served, and who stands aside."""

from __future__ import annotations

from dataclasses import replace

from tests.fleet.board_world import SMALL, add, board_of, open_place, pick, pick_all, ready

from pilothouse.fleet.board import Shut
from pilothouse.fleet.job import Priority, Shape
from pilothouse.fleet.place import EVERY_PRODUCT, Place
from pilothouse.ids import JobNumber, ProductId


def test_thousands_of_locks_are_taken_and_freed_in_the_order_of_their_jobs() -> None:
    """Each of two jobs per lock waits for the other, whoever holds the lock, and none is passed over twice."""
    count = 1000
    board = board_of(*(replace(SMALL, lock=f"lock-{number}", timeout_seconds=number) for number in range(count)))
    open_place(board, seats=2 * count)
    add(board, *(ready(number, shape=number % count + 1, age_seconds=-number) for number in range(2 * count)))

    assert pick_all(board) == list(range(count))
    for number in range(count - 1, -1, -1):
        board.release(JobNumber(number))
    assert pick_all(board) == list(range(count, 2 * count))


def test_a_job_that_comes_while_its_lock_is_held_waits_for_it() -> None:
    """It is the first of its shape when the lock is free, though another one was listed before."""
    board = board_of(replace(SMALL, lock="one"), replace(SMALL, lock="one", timeout_seconds=9.0))
    open_place(board)
    add(board, ready(1, age_seconds=9), ready(2))
    assert pick(board) == 1
    add(board, ready(3, age_seconds=99), ready(4, shape=2, age_seconds=50))
    assert pick(board) is None

    picked: list[int] = []
    for _ in range(3):
        board.release(JobNumber([1, *picked][-1]))
        picked += pick_all(board)

    assert picked == [3, 4, 2]


def test_a_job_whose_lock_is_held_stands_in_nobodys_way() -> None:
    """However urgent it is, those of its lane that need no lock, or another one, are served."""
    board = board_of(*(replace(SMALL, lock=lock) for lock in ("", "one", "two")), replace(SMALL, pool="elsewhere"))
    open_place(board, seats=9)
    add(board, ready(1, shape=2, age_seconds=9), *(ready(number) for number in (2, 3, 4)))
    add(board, ready(7, shape=4, priority=Priority.LOW))
    assert (pick(board), pick(board)) == (1, 2)

    add(board, ready(5, shape=2, priority=Priority.CRITICAL), ready(6, shape=3, age_seconds=1))

    assert pick_all(board) == [6, 3, 4, 7]
    board.release(JobNumber(1))
    assert pick_all(board) == [5]


def test_a_lock_that_is_taken_in_one_pool_is_held_in_the_others() -> None:
    """Also where its next job has been looked at already, and came close."""
    locked = replace(SMALL, lock="one")
    board = board_of(locked, replace(locked, pool="elsewhere"), SMALL, replace(SMALL, pool="third"))
    open_place(board, seats=9)
    add(board, ready(1, age_seconds=9), ready(2, shape=2, age_seconds=8), ready(3, shape=3), ready(4, shape=4))

    assert pick_all(board) == [1, 3, 4]


def test_what_comes_behind_a_job_that_waits_no_longer_is_served_behind_the_lock() -> None:
    """The first of its shape is another one by the time that the lock is free."""
    locked = replace(SMALL, lock="one")
    board = board_of(locked, replace(locked, timeout_seconds=60.0))
    open_place(board)
    add(board, *(ready(number, age_seconds=-number) for number in (1, 2, 3)), ready(4, shape=2, age_seconds=-4))
    assert pick(board) == 1

    board.forget(JobNumber(2))
    board.release(JobNumber(1))

    assert pick(board) == 3


def test_what_comes_behind_a_job_that_waits_no_longer_is_found_behind_what_the_budget_holds_back() -> None:
    """Each shape has one job that is looked at, and it is one that waits."""
    board = board_of(SMALL, replace(SMALL, timeout_seconds=60.0))
    open_place(board)
    add(board, ready(1, age_seconds=9), ready(2, shape=2, age_seconds=8), ready(3, shape=2, age_seconds=7))
    board.forget(JobNumber(2))

    assert pick(board, funds=lambda shape, _: "too dear" if shape.timeout_seconds > 60 else None) == 3


def test_a_job_behind_one_that_the_budget_holds_back_still_needs_its_lock() -> None:
    """It was listed before a job of another lane took the lock."""
    locked = replace(SMALL, lock="one")
    board = board_of(SMALL, locked, replace(locked, pool="elsewhere"))
    open_place(board)
    add(board, ready(1, age_seconds=9), ready(2, shape=2), ready(3, shape=3, age_seconds=99))
    assert pick(board) == 3

    def dear(shape: Shape, _: Place) -> str | None:
        return None if shape.lock else "too dear"

    assert pick(board, funds=dear) is None
    board.release(JobNumber(3))
    assert pick(board, funds=dear) == 2


def test_a_budget_that_lets_nothing_through_is_asked_once_for_a_lane() -> None:
    """One that has room for cheaper jobs is asked about each kind, in their order, until it says yes."""
    board = board_of(*(replace(SMALL, timeout_seconds=100.0 - number) for number in range(50)))
    open_place(board)
    add(board, *(ready(number, shape=number, age_seconds=-number) for number in range(1, 51)))
    asked: list[float] = []

    def shut(shape: Shape, _: Place) -> str | None:
        asked.append(shape.timeout_seconds)
        return Shut("paused")

    def dear(shape: Shape, _: Place) -> str | None:
        asked.append(shape.timeout_seconds)
        return "too dear" if shape.timeout_seconds > 60 else None

    assert pick(board, funds=shut) is None
    assert asked == [100.0]
    asked.clear()
    assert pick(board, funds=dear) == 41
    assert asked[-1] == 60.0
    assert pick(board, funds=dear) == 42


def test_a_familiar_product_comes_first_by_its_affinity() -> None:
    """It decides between two products whose jobs are otherwise alike, and the place's own familiarity only."""
    board = board_of(SMALL, replace(SMALL, product=ProductId("other")))
    place = open_place(board, seats=4, product=EVERY_PRODUCT)
    add(board, ready(1, age_seconds=1), ready(2, shape=2))
    place.familiar.add(ProductId("other"))

    assert pick_all(board) == [2, 1]
