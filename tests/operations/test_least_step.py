"""The least step over the life of a job: it is carried, it never shrinks, and no start below it goes unrecorded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilothouse.errors import CheckpointMissing, LeaseLost
from pilothouse.fleet.claim import Grant
from pilothouse.fleet.job import FreshStart, Job, Outcome, Progress
from pilothouse.fleet.least_step import STEPS_LOST, LeastStep
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch, JobId
from pilothouse.operations.claim import Handover, assign
from pilothouse.operations.complete import complete
from pilothouse.operations.job_view import job_details
from pilothouse.operations.rescue import rescue
from pilothouse.operations.start import start
from pilothouse.operations.submit import submit
from pilothouse.ports.store import Transaction
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import BOOT, CAMPAIGN, FACTORY, PRODUCT

STEPS = st.none() | st.integers(0, 5)
SERIAL = itertools.count(1)


@pytest.fixture(name="tx")
def _tx() -> Iterator[Transaction]:
    """Yield a writing transaction of a store in memory that has the campaign."""
    with closing(SqliteStore(":memory:")) as store, store.write() as tx:
        tx.campaigns.put(values.make_campaign())
        yield tx


def queue(tx: Transaction, generation: int = 0, *, step: int = 0, fresh_start: FreshStart = FreshStart.ALLOWED) -> Job:
    """Submit the job of a step's generation."""
    spec = replace(values.make_spec(), fresh_start=fresh_start)
    return submit(
        tx, values.make_new_job(100 * step + generation, key=f"train/{step}#{generation}", spec=spec), now=BEGIN
    )


def take(tx: Transaction, job: JobId) -> Handover:
    """Claim the job."""
    found = tx.jobs.by_id(job)
    assert found is not None
    session = tx.factories.open_session(PRODUCT, FACTORY, BOOT, now=BEGIN, expires=BEGIN)
    (handover,), _ = assign(tx, [Grant(found.number, found.epoch, session)], now=BEGIN)
    return handover


def begin(tx: Transaction, handover: Handover, resume_step: int | None) -> Job:
    """Tell that the attempt runs, from this checkpoint on."""
    return start(tx, handover.job, epoch=handover.epoch, pid=1, pid_started=1.0, now=BEGIN, resume_step=resume_step)


def save(tx: Transaction, handover: Handover, step: int | None) -> None:
    """Tell of the attempt's last checkpoint."""
    progress = Progress(step=9, total=None, values={}, checkpoint_step=step)
    assert tx.jobs.observe(handover.number, epoch=handover.epoch, progress=progress, now=BEGIN)


def recorded(tx: Transaction) -> list[tuple[JobId, Epoch]]:
    """Return the attempts that have an incident of lost steps."""
    found = tx.campaigns.incidents(PRODUCT, CAMPAIGN)
    return [(each.job, Epoch(each.epoch)) for each in found if each.diagnosis == STEPS_LOST]


def told(tx: Transaction, handover: Handover) -> str:
    """Return why the attempt's line of history says that it runs."""
    (why,) = [
        event.why
        for event in tx.jobs.events(handover.job)
        if (event.epoch, event.stage) == (handover.epoch, Stage.BUILDING)
    ]
    return why


def test_a_rescued_job_carries_the_last_checkpoint_and_its_place(tx: Transaction) -> None:
    """Nobody has told how the attempt ended; what it has told before is enough."""
    job = queue(tx)
    first = take(tx, job.id)
    assert first.least is None
    begin(tx, first, None)
    save(tx, first, 500)
    rescue(tx, job.id, epoch=first.epoch, why="gone", now=BEGIN)

    assert take(tx, job.id).least == LeastStep(step=500, factory=FACTORY, folder=first.folder)


def test_a_later_generation_carries_what_the_one_before_has_saved(tx: Transaction) -> None:
    """A relaunch of the same step is another job, and goes on all the same."""
    old = queue(tx)
    first = take(tx, old.id)
    begin(tx, first, None)
    save(tx, first, 40)
    complete(tx, old.id, epoch=first.epoch, report=values.make_report(Outcome.NOT_A_NUMBER), now=BEGIN)
    again = take(tx, queue(tx, 1).id)

    assert again.least == LeastStep(step=40, factory=FACTORY, folder=first.folder)
    begin(tx, again, None)
    assert recorded(tx) == [(again.job, again.epoch)]


def test_a_start_that_is_told_again_is_recorded_once(tx: Transaction) -> None:
    """The first answer may be lost; and a stale epoch records nothing."""
    job = queue(tx)
    first = take(tx, job.id)
    begin(tx, first, None)
    save(tx, first, 5)
    rescue(tx, job.id, epoch=first.epoch, why="gone", now=BEGIN)
    second = take(tx, job.id)
    for _ in range(2):
        assert begin(tx, second, 3).stage is Stage.BUILDING
    with pytest.raises(LeaseLost):
        begin(tx, first, None)

    assert recorded(tx) == [(job.id, second.epoch)]
    assert told(tx, second).startswith("goes on from step 3: 2 steps are done again")
    assert str(job_details(tx, PRODUCT, job.id)["events"]).count("building: goes on from step 3") == 1


def test_a_start_below_is_refused_where_the_job_says_so(tx: Transaction) -> None:
    """The attempt stays as it was, with its factory's word to come; from the checkpoint it may begin."""
    job = queue(tx, fresh_start=FreshStart.REFUSED)
    first = take(tx, job.id)
    begin(tx, first, None)
    save(tx, first, 5)
    rescue(tx, job.id, epoch=first.epoch, why="gone", now=BEGIN)
    second = take(tx, job.id)

    for below in (None, 4):
        with pytest.raises(CheckpointMissing, match=f"step 5 .*{FACTORY} saved it in {first.folder}"):
            begin(tx, second, below)
    with pytest.raises(LeaseLost):
        begin(tx, first, None)
    assert recorded(tx) == []
    assert begin(tx, second, 5).stage is Stage.BUILDING


def test_what_an_attempt_saves_is_not_held_against_its_own_start(tx: Transaction) -> None:
    """A start that could not be told for a while comes after the first signs of life."""
    job = queue(tx, fresh_start=FreshStart.REFUSED)
    rescue(tx, job.id, epoch=take(tx, job.id).epoch, why="gone", now=BEGIN)
    second = take(tx, job.id)
    save(tx, second, 5)

    assert begin(tx, second, None).stage is Stage.BUILDING
    assert recorded(tx) == []


@given(
    refuses=st.sampled_from(FreshStart),
    life=st.lists(st.tuples(STEPS, STEPS, st.booleans()), min_size=1, max_size=5),
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_start_below_is_a_plain_one_and_the_least_step_never_shrinks(
    tx: Transaction, refuses: FreshStart, life: list[tuple[int | None, int | None, bool]]
) -> None:
    """Over epochs and generations, whatever each attempt goes on from and saves; each example is a step of its own."""
    step, generation, highest = next(SERIAL), 0, -1
    before, below = recorded(tx), list[tuple[JobId, Epoch]]()
    job = queue(tx, step=step, fresh_start=refuses)
    for resume_step, saved, again in life:
        handover = take(tx, job.id)
        least = -1 if handover.least is None else handover.least.step
        assert least == highest
        short = (resume_step or 0) < least
        try:
            begin(tx, handover, resume_step)
        except CheckpointMissing:
            assert short
            assert refuses is FreshStart.REFUSED
        else:
            assert bool(told(tx, handover)) is short
            assert not (short and refuses is FreshStart.REFUSED)
            below += [(handover.job, handover.epoch)] * short
            save(tx, handover, saved)
            highest = max(highest, -1 if saved is None else saved)
        if again:
            report = values.make_report(Outcome.NOT_A_NUMBER)
            complete(tx, job.id, epoch=handover.epoch, report=report, now=BEGIN)
            generation += 1
            job = queue(tx, generation, step=step, fresh_start=refuses)
        else:
            rescue(tx, job.id, epoch=handover.epoch, why="gone", now=BEGIN)
    assert recorded(tx) == before + below
