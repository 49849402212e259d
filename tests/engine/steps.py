"""What several tests of the scheduler do to a fleet."""

from __future__ import annotations

from tests.engine.world import LEASE_SECONDS, Fleet, memory

from pilothouse.engine.commands import Act
from pilothouse.errors import Conflict
from pilothouse.fleet.job import Job
from pilothouse.ids import FactoryName, JobId
from pilothouse.operations.cancel import cancel
from pilothouse.operations.submit import submit
from pilothouse.ports.store import Transaction
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN

SWEEP_SECONDS = LEASE_SECONDS / 3


def same(fleet: Fleet) -> None:
    """Compare the memory with the database."""
    assert memory(fleet.scheduler) == memory(fleet.fresh())


def cancelling(fleet: Fleet, job: JobId) -> Act[Job]:
    """Return the command that cancels a job."""
    return Act(lambda tx: cancel(tx, job, now=fleet.clock.now()))


def submit_and_fail(tx: Transaction) -> Job:
    """Write something, then fail."""
    job = submit(tx, values.make_new_job(1), now=BEGIN)
    raise Conflict(f"{job.id} is not wanted", fix="none")


def first_end(fleet: Fleet, job: JobId) -> str:
    """Return what stands in the first attempt of a job about its end."""
    with fleet.store.read() as tx:
        return tx.jobs.attempts(job)[0].detail


def pass_sweeps(fleet: Fleet, count: int, *, beating: tuple[FactoryName, ...] = ()) -> list[JobId]:
    """Let so many sweeps happen, each at its time, and return what they took back."""
    taken: list[JobId] = []
    for _ in range(count):
        fleet.clock.advance(SWEEP_SECONDS)
        for factory in beating:
            fleet.beat(factory)
        taken += fleet.sweep()
    return taken
