"""Who may claim, which job comes first, and where an attempt runs."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.fleet.claim import Claimant, Declined, Granted, Hindrance, attempt_folder, grant, ready_order
from pilothouse.fleet.job import Priority
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch, JobId
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import BOOT, FACTORY, make_job

ANYBODY = Claimant(factory=FACTORY, boot=BOOT)


@given(epoch=st.integers(0, 10**6), lease_seconds=st.floats(0.001, 1e6))
def test_a_grant_opens_the_next_epoch_in_a_folder_of_its_own(epoch: int, lease_seconds: float) -> None:
    """The old epoch is what the store must compare with."""
    job = make_job(epoch=epoch)

    granted = grant(job, claimant=ANYBODY, lease_seconds=lease_seconds, now=BEGIN)

    assert isinstance(granted, Granted)
    assert (granted.expected, granted.epoch) == (epoch, epoch + 1)
    assert granted.expires_at == BEGIN + timedelta(seconds=lease_seconds)
    assert granted.folder == f"runs/{job.id}/attempt-{epoch + 1}"


@given(stage=st.sampled_from(sorted(set(Stage) - {Stage.QUEUED})))
def test_only_a_queued_job_is_granted(stage: Stage) -> None:
    """Every other stage is declined, with the reason."""
    declined = grant(make_job(stage=stage), claimant=ANYBODY, lease_seconds=30, now=BEGIN)

    assert declined == Declined(why=Hindrance.NOT_QUEUED)


@given(needed=st.integers(1, 9), free=st.integers(0, 9))
def test_a_job_fits_on_the_free_seats_or_waits(needed: int, free: int) -> None:
    """It never gets fewer seats than it needs."""
    claimant = Claimant(factory=FACTORY, boot=BOOT, seats=free)

    decision = grant(make_job(seats=needed), claimant=claimant, lease_seconds=30, now=BEGIN)

    assert isinstance(decision, Granted) == (needed <= free)
    assert isinstance(decision, Granted) or decision.why is Hindrance.TOO_LARGE


@given(st.lists(st.tuples(st.sampled_from(Priority), st.integers(0, 5)), min_size=2, max_size=20))
def test_urgency_comes_before_age_and_age_before_the_id(keys: list[tuple[Priority, int]]) -> None:
    """The order is total: no two jobs tie."""
    jobs = [
        make_job(number=number, priority=priority, created_at=BEGIN + timedelta(seconds=age))
        for number, (priority, age) in enumerate(keys)
    ]

    ordered = sorted(jobs, key=ready_order)

    ranks = [(job.priority.rank, job.created_at) for job in ordered]
    assert ranks == sorted(ranks)
    assert len({ready_order(job) for job in jobs}) == len(jobs)


@given(st.integers(0, 99), st.integers(1, 99), st.integers(0, 99), st.integers(1, 99))
def test_no_two_attempts_share_a_folder(one: int, epoch: int, other: int, later: int) -> None:
    """Whatever their jobs and epochs."""
    folders = attempt_folder(JobId(f"job-{one}"), Epoch(epoch)), attempt_folder(JobId(f"job-{other}"), Epoch(later))

    assert (folders[0] == folders[1]) == ((one, epoch) == (other, later))
