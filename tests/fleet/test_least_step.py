"""The least step: what earlier attempts leave to the next one, and what a start below it costs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.fleet.job import Attempt, Progress
from pilothouse.fleet.least_step import LeastStep, least_step, lost_steps, lost_words
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.testing.clock import BEGIN

STEPS = st.none() | st.integers(0, 9)


def made(saved: list[int | None]) -> list[Attempt]:
    """Return attempts of these last checkpoints, oldest first; each ran on a factory of its own."""
    return [
        Attempt(
            job=JobId("job-1"),
            epoch=Epoch(epoch),
            factory=FactoryName(f"factory-{epoch}"),
            boot=BootId("boot-1"),
            folder=f"runs/job-1/attempt-{epoch}",
            claimed_at=BEGIN,
            started_at=BEGIN,
            ended_at=BEGIN,
            pid=1,
            pid_started=1.0,
            progress=None if step is None else Progress(step=None, total=None, values={}, checkpoint_step=step),
            progress_at=BEGIN,
            outcome=None,
            detail="",
            exit_code=None,
            metrics={},
            seconds=None,
            peak_memory_mb=None,
        )
        for epoch, step in enumerate(saved, start=1)
    ]


@given(st.lists(STEPS, max_size=6))
def test_it_is_the_highest_that_was_ever_told_and_never_shrinks(saved: list[int | None]) -> None:
    """However the later attempts fared."""
    attempts, before = made(saved), -1
    for count in range(1, len(attempts) + 1):
        least = least_step(attempts[:count])
        told = [step for step in saved[:count] if step is not None]
        assert (least.step if least else None) == max(told, default=None)
        assert least is None or least.step >= before
        before = before if least is None else least.step


@given(st.lists(STEPS, max_size=6))
def test_its_place_is_that_of_the_attempt_which_saved_it(saved: list[int | None]) -> None:
    """One that went on from a checkpoint tells of the same step, and has no such folder."""
    least = least_step(made(saved))

    if least is not None:
        first = saved.index(least.step) + 1
        assert (least.factory, least.folder) == (f"factory-{first}", f"runs/job-1/attempt-{first}")


@given(st.integers(0, 9), STEPS)
def test_what_a_start_below_it_does_again_is_the_difference(step: int, resume_step: int | None) -> None:
    """And nothing at it or above it, nor where nothing was ever saved."""
    least = LeastStep(step=step, factory=FactoryName("a"), folder="f")
    lost = lost_steps(least, resume_step)

    assert lost == max(0, step - (resume_step or 0))
    assert lost_steps(None, resume_step) == 0


def test_the_words_name_steps_factory_and_folder() -> None:
    """Enough for a person to bring it back."""
    least = LeastStep(step=500, factory=FactoryName("far-1"), folder="runs/job-1/attempt-2")

    assert lost_words(least, None) == (
        "begins afresh: 500 steps are done again, for the checkpoint of step 500 is not at hand; "
        "factory far-1 saved it in runs/job-1/attempt-2"
    )
    assert lost_words(least, 400).startswith("goes on from step 400: 100 steps are done again")
