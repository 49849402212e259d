"""Making room through the scheduler: one commit marks and assigns, and the seats are nobody else's in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.engine.world import LEASE_SECONDS, ONE, TWO, Fleet, make_factory, memory

from pilothouse.engine.commands import Act
from pilothouse.engine.preempting import Preemption
from pilothouse.errors import LeaseLost, StorageFailed
from pilothouse.fleet.budget import Budget
from pilothouse.fleet.factory import FAILURES_MAX, FactoryState
from pilothouse.fleet.job import Cost, Job, Outcome, Priority
from pilothouse.fleet.stages import Stage
from pilothouse.operations.cancel import cancel
from pilothouse.operations.claim import Handover
from pilothouse.operations.operate import requeue
from pilothouse.ports.dispatch import Word
from pilothouse.testing import values
from pilothouse.testing.values import PRODUCT

GRACE = 30.0
DEADLINE = GRACE + LEASE_SECONDS / 3
"""The grace counts from the beat by which a factory hears of the stop, which may be one interval away."""
PREEMPTED = values.make_report(Outcome.PREEMPTED)


@pytest.fixture(name="fleet")
def _fleet() -> Fleet:
    """Give a fleet with one factory of one seat, whose product allows preemption."""
    fleet = Fleet(make_factory(ONE, seats=1), make_factory(TWO, seats=1))
    fleet.configure(preemption=True, min_running_seconds=60.0, stop_grace_seconds=GRACE)
    return fleet


def run_low(fleet: Fleet, number: int = 1) -> Handover:
    """Let a job of low priority run for a minute on the first factory."""
    fleet.submit(number, priority=Priority.LOW)
    victim = fleet.take(ONE)
    fleet.begin(victim)
    fleet.clock.advance(60)
    return victim


def urgent(fleet: Fleet, number: int = 9) -> Job:
    """Submit a critical job."""
    return fleet.submit(number, priority=Priority.CRITICAL)


def same(fleet: Fleet) -> None:
    """Compare the memory with the database."""
    assert memory(fleet.scheduler) == memory(fleet.fresh())


def test_nothing_happens_while_the_switch_is_off(fleet: Fleet) -> None:
    """Not a row changes; a preview still tells what would be done."""
    victim = run_low(fleet)
    fleet.configure(preemption=False)
    critical = urgent(fleet)
    before = memory(fleet.scheduler), fleet.job(victim.job), fleet.job(critical.id)

    assert list(fleet.preempt()) == []
    assert (memory(fleet.scheduler), fleet.job(victim.job), fleet.job(critical.id)) == before
    (preview,) = Preemption(fleet.scheduler, now=fleet.clock.now()).planned(product_switch=False)
    assert preview.place is not None
    assert preview.place.factory == ONE


@pytest.mark.parametrize("why", ["young", "not lower", "not critical", "room elsewhere", "no room in vain"])
def test_nobody_is_asked_to_stop_without_need(fleet: Fleet, why: str) -> None:
    """Nor before its minimum time, nor for an equal."""
    victim = run_low(fleet)
    match why:
        case "young":
            fleet.configure(preemption=True, min_running_seconds=61.0)
            urgent(fleet)
        case "not lower":
            fleet.complete(victim)
            fleet.submit(2, priority=Priority.CRITICAL)
            fleet.take(ONE)
            fleet.clock.advance(60)
            urgent(fleet)
        case "not critical":
            fleet.submit(9, priority=Priority.HIGH)
        case "room elsewhere":
            fleet.beat(TWO)
            urgent(fleet)
        case "no room in vain":
            fleet.submit(9, priority=Priority.CRITICAL, seats=2)

    assert list(fleet.preempt()) == []


def test_the_victim_is_marked_and_the_job_assigned_in_one_commit(fleet: Fleet) -> None:
    """Its holder is told how long it has, and the offer waits until it has ended."""
    victim, critical = run_low(fleet), urgent(fleet)

    assert list(fleet.preempt()) == [victim.job]

    stopping, assigned = fleet.job(victim.job), fleet.job(critical.id)
    assert (stopping.stage, stopping.epoch) == (Stage.BUILDING, victim.epoch)
    assert stopping.stop_at == fleet.clock.now() + timedelta(seconds=DEADLINE)
    assert (assigned.stage, assigned.epoch, assigned.factory) == (Stage.ASSIGNED, 1, ONE)
    assert stopping.changed_at == assigned.changed_at
    assert list(fleet.preempt()) == []
    for left in (DEADLINE, DEADLINE - 10, DEADLINE - 20):
        (order,) = fleet.beat(held=[victim]).commands
        assert (order.job, order.epoch, order.word, order.seconds) == (victim.job, victim.epoch, Word.STOP, left)
        assert list(fleet.claim(held=[(victim.job, victim.epoch)])) == []
        fleet.clock.advance(10)
    same(fleet)


def test_a_victim_that_stops_goes_back_and_the_job_is_handed_over(fleet: Fleet) -> None:
    """Under a higher epoch, without spending its failures; its late word is fenced, its next attempt resumes."""
    victim, critical = run_low(fleet), urgent(fleet)
    fleet.preempt()

    assert fleet.complete(victim, PREEMPTED) is None

    back = fleet.job(victim.job)
    assert (back.stage, back.epoch, back.stop_at) == (Stage.QUEUED, victim.epoch + 1, None)
    assert (back.failures, back.preemptions, back.losses) == (0, 1, 0)
    assert [each.job for each in fleet.claim(ONE)] == [critical.id]
    assert isinstance(fleet.complete(victim), LeaseLost)
    again = fleet.take(TWO)
    assert (again.job, again.epoch, again.earlier_folders) == (victim.job, victim.epoch + 2, (victim.folder,))
    same(fleet)


@pytest.mark.parametrize("end", [Outcome.SUCCEEDED, Outcome.CANCELLED])
def test_a_waiting_claim_is_woken_when_the_last_victim_has_ended(fleet: Fleet, end: Outcome) -> None:
    """Although nothing else waits on the board by then."""
    victim, critical = run_low(fleet), urgent(fleet)
    fleet.preempt()
    claim = fleet.claim_of(ONE, wait_seconds=60, held=[(victim.job, victim.epoch)])
    assert fleet.run(claim) == []
    assert fleet.retry() == []

    fleet.complete(victim, values.make_report(end))

    assert fleet.retry() == [claim]
    assert [each.job for each in claim.value()] == [critical.id]


def test_a_victims_history_names_the_job_that_it_makes_room_for(fleet: Fleet) -> None:
    """By the id that people know it by."""
    victim, critical = run_low(fleet), urgent(fleet)
    fleet.preempt()

    with fleet.store.read() as tx:
        assert tx.jobs.events(victim.job)[-1].why == f"it makes room for {critical.id}"


@pytest.mark.parametrize("restart", [False, True])
def test_a_victim_that_does_not_stop_is_fenced_at_its_deadline(fleet: Fleet, restart: bool) -> None:
    """By the sweep, also one of an engine that was started in between."""
    victim, critical = run_low(fleet), urgent(fleet)
    fleet.preempt()
    if restart:
        fleet.restart()
    fleet.clock.advance(DEADLINE - 1)
    fleet.beat(held=[victim])
    assert list(fleet.sweep()) == []
    assert list(fleet.claim(held=[(victim.job, victim.epoch)])) == []
    fleet.clock.advance(1)

    assert list(fleet.sweep()) == [victim.job]

    back = fleet.job(victim.job)
    assert (back.stage, back.preemptions, back.failures, back.losses) == (Stage.QUEUED, 1, 0, 0)
    assert [order.word for order in fleet.beat(held=[victim]).commands] == [Word.LOST]
    assert isinstance(fleet.complete(victim, PREEMPTED), LeaseLost)
    assert isinstance(fleet.complete(victim), LeaseLost)
    assert [each.job for each in fleet.claim(ONE)] == [critical.id]
    same(fleet)


@pytest.mark.parametrize("restart", [False, True])
def test_the_seats_are_never_a_third_jobs(fleet: Fleet, restart: bool) -> None:
    """Neither while the victim stops, nor between its end and the handing over."""
    victim, critical = run_low(fleet), urgent(fleet)
    fleet.preempt()
    third = fleet.submit(5, priority=Priority.CRITICAL)

    def nothing() -> None:
        if restart:
            fleet.restart()
        assert list(fleet.claim(ONE, seats=9, jobs=9, held=[(victim.job, victim.epoch)])) == []

    nothing()
    fleet.clock.advance(10)
    nothing()
    fleet.complete(victim, PREEMPTED)
    if restart:
        fleet.restart()
    handed = fleet.claim(ONE, seats=9, jobs=9)
    assert [each.job for each in handed] == [critical.id]
    assert list(fleet.claim(ONE, seats=9, jobs=9, held=[(critical.id, handed[0].epoch)])) == []
    assert [each.job for each in fleet.claim(TWO)] == [third.id]
    same(fleet)


def test_a_victim_that_goes_on_elsewhere_holds_nobody_up(fleet: Fleet) -> None:
    """Whoever it made room for has its seats, wherever the victim is now."""
    victim, critical = run_low(fleet), urgent(fleet)
    fleet.preempt()
    fleet.complete(victim, PREEMPTED)
    again = fleet.take(TWO)

    assert again.job == victim.job
    assert [each.job for each in fleet.claim(ONE)] == [critical.id]


def test_a_job_that_has_found_room_elsewhere_waits_for_no_victim(fleet: Fleet) -> None:
    """Also for an engine that was started since, and reads in the victim's history for whom it stops."""
    victim, critical = run_low(fleet), urgent(fleet)
    assert list(fleet.preempt()) == [victim.job]
    assigned = fleet.job(critical.id)
    fleet.ask(Act(lambda tx: requeue(tx, assigned, by="ada", reason="look elsewhere", now=fleet.clock.now())))
    assert [each.job for each in fleet.claim(TWO)] == [critical.id]
    fleet.restart()

    assert [each.job for each in fleet.claim(TWO)] == [critical.id]
    assert fleet.job(victim.job).stop_at is not None


def test_several_victims_make_room_together(fleet: Fleet) -> None:
    """The offer waits for the last of them."""
    fleet = Fleet(make_factory(ONE, seats=3))
    fleet.configure(preemption=True, min_running_seconds=0.0)
    for number in (1, 2, 3):
        fleet.submit(number, priority=Priority.LOW)
    victims = fleet.claim(seats=3, jobs=3)
    critical = fleet.submit(9, priority=Priority.CRITICAL, seats=2)
    stopping = set(fleet.preempt())
    assert len(stopping) == 2
    held = [(each.job, each.epoch) for each in victims]
    for victim in victims:
        if victim.job in stopping:
            assert list(fleet.claim(seats=9, jobs=9, held=held)) == []
            same(fleet)
            fleet.complete(victim)

    assert [each.job for each in fleet.claim(seats=9, jobs=9, held=held)] == [critical.id]


def test_a_job_that_is_cancelled_meanwhile_gives_its_room_away(fleet: Fleet) -> None:
    """The victim ends as it was told, and then anybody gets the seat."""
    victim, critical = run_low(fleet), urgent(fleet)
    fleet.preempt()
    fleet.ask(Act(lambda tx: cancel(tx, critical.id, now=fleet.clock.now())))
    same(fleet)
    fleet.complete(victim, PREEMPTED)

    assert [each.job for each in fleet.claim(ONE)] == [victim.job]
    same(fleet)


def test_a_job_that_waits_for_its_victims_is_not_taken_for_forgotten(fleet: Fleet) -> None:
    """Its factory cannot know of it yet; once it is handed over it can."""
    fleet.configure(preemption=True, min_running_seconds=60.0, stop_grace_seconds=600.0)
    victim, critical = run_low(fleet), urgent(fleet)
    fleet.preempt()
    for _ in range(10):
        fleet.clock.advance(LEASE_SECONDS / 3)
        fleet.beat(held=[victim])
        assert list(fleet.sweep()) == []
    fleet.complete(victim, PREEMPTED)
    fleet.clock.advance(LEASE_SECONDS / 3)
    fleet.beat()
    assert list(fleet.sweep()) == []

    assert [each.job for each in fleet.claim(ONE)] == [critical.id]


def test_what_it_may_cost_is_reserved_with_the_assignment(fleet: Fleet) -> None:
    """And a budget that has no room lets nobody be evicted."""
    fleet.budget(Budget(product=PRODUCT, ceiling=Cost(tokens=100.0), enforced=True))
    fleet.submit(1, priority=Priority.LOW, cost=Cost(tokens=50.0))
    fleet.take(ONE)
    fleet.clock.advance(60)
    dear = fleet.submit(9, priority=Priority.CRITICAL, cost=Cost(tokens=51.0))
    assert list(fleet.preempt()) == []
    fleet.ask(Act(lambda tx: cancel(tx, dear.id, now=fleet.clock.now())))
    cheap = fleet.submit(10, priority=Priority.CRITICAL, cost=Cost(tokens=50.0))

    assert len(fleet.preempt()) == 1
    with fleet.store.read() as tx:
        assert {each.job for each in tx.budgets.unsettled()} >= {cheap.number}
    same(fleet)


def test_an_eviction_that_could_not_be_stored_was_none(fleet: Fleet) -> None:
    """Nobody is told to stop, and it is done at the next look."""
    victim = run_low(fleet)
    urgent(fleet)
    fleet.store.failing = True
    with pytest.raises(StorageFailed):
        fleet.preempt()
    fleet.store.failing = False

    assert fleet.beat(held=[victim]).commands == ()
    same(fleet)
    assert list(fleet.preempt()) == [victim.job]


@pytest.mark.parametrize("why", ["drains", "engine", "pool"])
def test_no_room_is_made_where_the_job_would_not_be_given(why: str) -> None:
    """A factory that drains, an engine that fails, a pool that is not claimed."""
    fleet = Fleet(make_factory(ONE, seats=1, engines=("codex",)))
    fleet.configure(preemption=True, min_running_seconds=0.0)
    for number in range(FAILURES_MAX if why == "engine" else 0):
        fleet.submit(100 + number, engine="codex")
        fleet.complete(fleet.take(), values.make_report(Outcome.NO_ENGINE))
    fleet.submit(1, priority=Priority.LOW)
    claim = fleet.claim_of(ONE, pools=("local",))
    fleet.run(claim)
    (victim,) = claim.value()
    states: dict[str, Callable[[], object]] = {
        "drains": lambda: urgent(fleet),
        "engine": lambda: fleet.submit(9, priority=Priority.CRITICAL, engine="codex"),
        "pool": lambda: fleet.submit(9, new=values.make_new_job(9, pool="elsewhere", priority=Priority.CRITICAL)),
    }
    states[why]()
    if why == "drains":
        fleet.scheduler.enrol(make_factory(ONE, seats=1, state=FactoryState.DRAINING))

    assert list(fleet.preempt()) == []
    assert fleet.beat(held=[victim]).commands == ()
