"""What a fleet has done, replayed: by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pilothouse.errors import BadValue, NotFound
from pilothouse.fleet.job import Priority
from pilothouse.fleet.score import DEFAULT, Weights
from pilothouse.fleet.what_if import Held, Recorded, peak, what_if
from pilothouse.ids import JobNumber
from pilothouse.testing.clock import BEGIN


def _job(number: int, ready: float, *held: tuple[float, float], priority: Priority = Priority.MEDIUM) -> Recorded:
    def at(seconds: float) -> timedelta:
        return timedelta(seconds=seconds)

    return Recorded(
        number=JobNumber(number),
        priority=priority,
        seats=1,
        timeout_seconds=100.0,
        ready_at=BEGIN + at(ready),
        attempts=tuple(Held(since=BEGIN + at(since), until=BEGIN + at(until)) for since, until in held),
        preemptions=max(0, len(held) - 1),
    )


# One seat: a job runs, then a low one, and an urgent one that came later has to wait for both.
RECORD = [
    _job(1, 0, (0, 60)),
    _job(2, 10, (60, 120), priority=Priority.LOW),
    _job(3, 20, (120, 180), priority=Priority.CRITICAL),
]


def test_the_record_is_told_as_it_was_and_replays_as_the_weights_have_it() -> None:
    found = what_if(RECORD, seats=None, weights=Weights(priority=0), other=DEFAULT, clock=lambda: 0.0)

    assert found.seats == 1
    assert found.recorded.mean_completion_s == pytest.approx((60 + 110 + 160) / 3)
    assert found.replayed == found.recorded
    # By priority, the urgent one passes the low one, which then waits for 110 s instead of 50.
    assert found.other.mean_completion_s == pytest.approx((60 + 100 + 170) / 3)
    assert (found.recorded.longest_wait_lowest_s, found.other.longest_wait_lowest_s) == (50, 110)


def test_attempts_are_added_up_and_the_time_between_them_is_a_wait() -> None:
    found = what_if([_job(1, 0, (0, 30), (50, 80))], seats=None, weights=DEFAULT, other=DEFAULT, clock=lambda: 0.0)

    assert (found.recorded.mean_completion_s, found.recorded.longest_wait_lowest_s) == (80, 20)
    assert (found.recorded.preemptions, found.other.mean_completion_s) == (1, 60)


def test_the_peak_counts_what_was_held_at_once() -> None:
    assert peak(RECORD) == 1
    assert peak([*RECORD, _job(4, 0, (30, 70))]) == 2


def test_nothing_to_replay_and_too_few_seats_are_told() -> None:
    with pytest.raises(NotFound, match="no job has run"):
        what_if([], seats=None, weights=DEFAULT, other=DEFAULT, clock=lambda: 0.0)
    wide = Recorded(
        number=JobNumber(1),
        priority=Priority.LOW,
        seats=4,
        timeout_seconds=1.0,
        ready_at=BEGIN,
        attempts=(Held(since=BEGIN, until=BEGIN),),
        preemptions=0,
    )
    with pytest.raises(BadValue, match="4 seats"):
        what_if([wide], seats=2, weights=DEFAULT, other=DEFAULT, clock=lambda: 0.0)
