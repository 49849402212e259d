"""Who gets which seats where a large job, a draining factory or a backlog of old jobs stands in between."""

from __future__ import annotations

from dataclasses import replace

from tests.engine.world import ONE, TWO, Fleet, make_factory, make_spec

from pilothouse.engine.commands import Look
from pilothouse.fleet.board import RESERVE_AFTER_SECONDS
from pilothouse.fleet.factory import FactoryState
from pilothouse.fleet.job import NewJob, Priority
from pilothouse.testing import values


def kept(fleet: Fleet) -> dict[str, int | None]:
    """Return for which job each factory is kept."""
    return {place.factory: place.reserved_for for place in fleet.scheduler.board.places.values()}


def in_pool(number: int, pool: str, **spec: object) -> NewJob:
    """Return a job of a pool."""
    return replace(values.make_new_job(number, spec=make_spec(**spec)), pool=pool)


def test_a_critical_job_is_found_behind_jobs_that_have_waited_longer() -> None:
    """By age they come before it, but they may not preempt, and it may."""
    fleet = Fleet(make_factory(seats=1))
    fleet.configure(preemption=True, min_running_seconds=0.0)
    for number in range(1, 9):
        fleet.submit(number, priority=Priority.LOW)
    victim = fleet.take()
    fleet.clock.advance(3600)
    fleet.beat(held=[victim])
    fleet.submit(9, priority=Priority.CRITICAL)

    assert fleet.preempt() == [victim.job]


def test_a_draining_factory_is_kept_for_nobody() -> None:
    """It will ask for nothing more, and the large job takes the next place that has room."""
    fleet = Fleet(make_factory(ONE), make_factory(TWO))
    fleet.submit(1)
    fleet.submit(2)
    first, second = fleet.take(ONE), fleet.take(TWO)
    fleet.submit(3, seats=2)
    fleet.clock.advance(RESERVE_AFTER_SECONDS)
    assert fleet.claim(ONE, seats=1, held=[(first.job, first.epoch)]) == []
    assert kept(fleet) == {ONE: 3, TWO: None}

    draining = replace(fleet.scheduler.roster.factories[ONE], state=FactoryState.DRAINING)
    fleet.ask(Look(lambda scheduler: scheduler.enrol(draining)))
    fleet.submit(4)

    assert fleet.claim(TWO, seats=1, held=[(second.job, second.epoch)]) == []
    assert kept(fleet) == {ONE: None, TWO: 3}


def test_a_factory_that_asks_for_one_seat_at_a_time_is_not_kept_for_a_job_of_two() -> None:
    """It has the seats, and never says so: small jobs would wait there for ever."""
    fleet = Fleet(make_factory(seats=3))
    fleet.submit(1)
    fleet.submit(2)
    running = [fleet.take(), fleet.take()]
    fleet.submit(3, seats=2)
    fleet.clock.advance(RESERVE_AFTER_SECONDS)
    fleet.submit(4)
    held = [(each.job, each.epoch) for each in running]
    assert fleet.claim(seats=1, held=held) == []
    assert kept(fleet) == {ONE: 3}
    fleet.complete(running[0])

    assert [each.job for each in fleet.claim(seats=1, held=held[1:])] == ["job-demo-4"]


def test_a_place_that_takes_no_job_of_a_pool_keeps_none_from_being_waited_for() -> None:
    """An idle factory of another pool has room at once, and never for this job."""
    fleet = Fleet(make_factory(ONE), make_factory(TWO))
    fleet.ask(fleet.claim_of(TWO, pools=["other"]))
    fleet.submit(1, new=in_pool(1, "local"))
    (first,) = fleet.ask(fleet.claim_of(ONE, pools=["local"]))
    fleet.submit(2, new=in_pool(2, "local", seats=2))
    fleet.clock.advance(RESERVE_AFTER_SECONDS)
    fleet.submit(3, new=in_pool(3, "local"))

    claim = fleet.claim_of(ONE, seats=1, pools=["local"], held=[(first.job, first.epoch)])

    assert fleet.ask(claim) == []
    assert kept(fleet)[ONE] == 2


def test_what_waits_no_longer_takes_no_room_on_the_board() -> None:
    """Every pick looks at each shape that is kept, so one of which nothing waits is not."""
    fleet = Fleet(make_factory(seats=3))
    for number in range(1, 4):
        fleet.submit(number, priority=Priority.CRITICAL, timeout_seconds=60.0 + number)
        fleet.complete(fleet.take())
    board = fleet.scheduler.board

    assert list(board.waiting()) == []
    assert [board.critical(shape, 9) for shape in board.shapes] == [[], [], []]
    assert len(board.shapes) == 3


def test_the_first_of_many_are_found_in_their_order() -> None:
    """Whatever was added in between, and whoever waits no longer."""
    fleet = Fleet(make_factory(seats=1))
    for number in range(1, 40):
        fleet.submit(number, priority=list(Priority)[number % 4])
    gone = fleet.take()
    board = fleet.scheduler.board
    (shape,) = board.shapes

    ranks = [(job.priority, job.number) for job in board.heads(shape, 20)]

    assert ranks == sorted((number % 4, number) for number in range(1, 40) if number != 4)[:20]
    assert gone.job == "job-demo-4"
    assert [job.number for job in board.critical(shape, 3)] == [8, 12, 16]


def test_a_factory_that_says_that_it_is_full_is_asked_nothing_else() -> None:
    """What is kept there stays so."""
    fleet = Fleet(make_factory(seats=2))
    fleet.submit(1)
    running = fleet.take()
    fleet.submit(2, seats=2)
    fleet.clock.advance(RESERVE_AFTER_SECONDS)
    assert fleet.claim(seats=1, held=[(running.job, running.epoch)]) == []
    fleet.complete(running)

    assert fleet.claim(seats=0) == []

    assert kept(fleet) == {ONE: 2}
