"""The ready heaps: order, fit, and entries that are out of date."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.engine.changes import Changes
from pilothouse.engine.leases import Leases
from pilothouse.engine.ready import Ready
from pilothouse.fleet.claim import ready_order
from pilothouse.fleet.job import Job, Priority
from pilothouse.fleet.lease import BEATS_MISSED_MAX
from pilothouse.fleet.stages import Stage
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import make_job

PRIORITIES = list(Priority)


def job_of(number: int, stage: Stage, epoch: int) -> Job:
    """Return a job whose unchanging part follows from its number."""
    return make_job(
        number=number,
        stage=stage,
        epoch=epoch,
        priority=PRIORITIES[number % 4],
        created_at=BEGIN + timedelta(seconds=number % 5),
        pool=("local", "large")[number % 2],
        seats=1 + number % 3,
    )


STAGES = st.sampled_from([Stage.QUEUED, Stage.QUEUED, Stage.ASSIGNED, Stage.SHIPPED])
JOBS = st.lists(st.builds(job_of, st.integers(0, 30), STAGES, st.integers(0, 3)), max_size=40)


def take_all(ready: Ready, *, pools: set[str] | None = None, seats: int | None = None) -> list[str]:
    """Return the ids in the order in which they are claimed."""
    found: list[str] = []
    while (entry := ready.take(pools=pools, seats=seats)) is not None:
        found.append(entry.job)
    return found


@given(jobs=JOBS, pools=st.sampled_from([None, {"local"}, {"local", "large"}]), seats=st.sampled_from([None, 1, 2]))
def test_what_is_taken_is_what_is_queued_in_order(jobs: list[Job], pools: set[str] | None, seats: int | None) -> None:
    """Whatever was noted before: only a job's last state counts, each is taken once, and none that does not fit."""
    ready = Ready()
    for job in jobs:
        ready.note([job])
    last = {job.id: job for job in jobs}
    queued = sorted((job for job in last.values() if job.stage is Stage.QUEUED), key=ready_order)
    fitting = [
        job.id for job in queued if (pools is None or job.pool in pools) and (seats is None or job.seats <= seats)
    ]

    assert len(ready) == len(queued)
    assert take_all(ready, pools=pools, seats=seats) == fitting
    assert sorted(take_all(ready)) == sorted({job.id for job in queued} - set(fitting))


def test_an_entry_that_was_put_back_is_taken_again_once() -> None:
    """Also when the same job was noted meanwhile; one that has moved on is not."""
    ready = Ready()
    ready.note([make_job(number=1), make_job(number=2)])
    entries = [ready.take(pools=None, seats=None) for _ in range(2)]
    for entry in entries:
        assert entry is not None
        ready.put_back(entry)
    ready.note([make_job(number=1), make_job(number=2, stage=Stage.CANCELLED, epoch=1)])

    assert take_all(ready) == ["job-1"]


def test_a_waiter_is_woken_by_an_arrival_and_by_nothing_else() -> None:
    """What came in before it began to wait is not missed."""
    ready = Ready()
    seen = ready.arrivals
    ready.note([make_job(stage=Stage.SHIPPED)])
    assert not ready.wait(seen, timeout_seconds=0.001)
    ready.note([make_job()])
    assert ready.wait(seen, timeout_seconds=0)

    seen = ready.arrivals
    waiter = threading.Thread(target=lambda: woken.append(ready.wait(seen, timeout_seconds=30)))
    woken: list[bool] = []
    waiter.start()
    ready.note([make_job(number=2)])
    waiter.join(30)
    assert woken == [True]


def test_a_lease_is_overdue_after_its_expiry_and_silent_sweeps() -> None:
    """A renewal, which notes the job again, starts the count anew; an ended job is forgotten."""
    leases = Leases()
    held = make_job(stage=Stage.BUILDING, epoch=1)
    leases.note([held, make_job(number=2, stage=Stage.QUEUED)])
    assert len(leases) == 1
    late = BEGIN + timedelta(hours=1)

    for _ in range(BEATS_MISSED_MAX - 1):
        assert not leases.sweep(now=late)
    leases.note([held])
    for _ in range(BEATS_MISSED_MAX - 1):
        assert not leases.sweep(now=late)
    assert [(lease.job, lease.epoch) for lease in leases.sweep(now=late)] == [(held.id, 1)]
    assert not leases.sweep(now=BEGIN - timedelta(seconds=1))
    leases.note([replace(held, stage=Stage.SHIPPED)])
    assert not leases.sweep(now=late)


def test_changes_wake_whoever_has_not_seen_them() -> None:
    """A waiter that is up to date waits for its time only."""
    changes = Changes()
    assert changes.wait(0, timeout_seconds=0.001) == 0
    changes.bump()
    assert changes.wait(0, timeout_seconds=30) == changes.count == 1
