"""A wall clock that is moved, and a machine that slept, make no attempt run for longer or shorter than it did."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.engine.world import Fleet, make_factory, make_spec

from pilothouse.engine.slips import SLIP_US
from pilothouse.fleet.job import Priority
from pilothouse.fleet.place import microseconds
from pilothouse.ids import JobId
from pilothouse.testing import values

DAY = timedelta(days=1)


def running(fleet: Fleet, *, timeout_seconds: float = 600.0) -> JobId:
    """Return a job that runs at a factory which is heard."""
    fleet.submit(1, new=replace(values.make_new_job(1, spec=make_spec(timeout_seconds=timeout_seconds))))
    handover = fleet.take()
    fleet.begin(handover)
    fleet.beat(held=[handover])
    fleet.sweep()
    return handover.job


@pytest.mark.parametrize("moved", [DAY, -DAY])
def test_a_clock_that_is_moved_takes_no_job_from_a_factory_that_lives(moved: timedelta) -> None:
    """Its own clock has counted on, and it ends the job in time; afterwards the limits hold as before."""
    fleet = Fleet()
    job = running(fleet)
    fleet.clock.set_wall(fleet.clock.now() + moved)

    assert fleet.sweep() == []
    for _ in range(5):
        fleet.clock.advance(30)
        fleet.ask(fleet.claim_of(held=[(job, fleet.job(job).epoch)], seats=0))
        assert fleet.sweep() == []

    fleet.clock.advance(600 + 900)
    fleet.ask(fleet.claim_of(held=[(job, fleet.job(job).epoch)], seats=0))
    assert fleet.sweep() == [job]


def test_a_victim_keeps_its_grace_when_the_clock_is_moved() -> None:
    """It was given seconds, and counts them by its own clock."""
    fleet = Fleet(make_factory(seats=1))
    fleet.configure(preemption=True, min_running_seconds=0.0, stop_grace_seconds=30.0)
    job = running(fleet)
    fleet.submit(2, priority=Priority.CRITICAL)
    assert fleet.preempt() == [job]
    victim = fleet.scheduler.held(job)
    assert victim is not None
    assert victim.stop_us is not None
    grace_us = victim.stop_us - microseconds(fleet.clock.now())
    fleet.clock.set_wall(fleet.clock.now() + DAY)

    assert fleet.sweep() == []
    assert victim.stop_us - microseconds(fleet.clock.now()) == grace_us
    fleet.clock.advance(grace_us / 1e6)
    assert fleet.sweep() == [job]


def test_the_drift_of_a_clock_that_is_kept_right_moves_nothing_by_itself() -> None:
    """It moves what is held once it has come to something."""
    fleet = Fleet()
    job = running(fleet)
    held = fleet.scheduler.held(job)
    assert held is not None
    claimed_us = held.claimed_us
    almost = timedelta(microseconds=SLIP_US - 1)

    fleet.clock.set_wall(fleet.clock.now() + almost)
    fleet.scheduler.keep_time(fleet.clock.now())
    assert held.claimed_us == claimed_us

    fleet.clock.set_wall(fleet.clock.now() + almost)
    fleet.scheduler.keep_time(fleet.clock.now())
    assert held.claimed_us == claimed_us + 2 * (SLIP_US - 1) == microseconds(fleet.clock.now())
