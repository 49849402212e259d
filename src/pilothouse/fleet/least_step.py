"""The least step that an attempt must start from, and what is done again where it starts below.

It is the highest checkpoint that any earlier attempt has told of. What was told is never taken back, so it only grows,
whether or not the machine that keeps the checkpoint can be reached.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pilothouse.fleet.job import Attempt
from pilothouse.ids import FactoryName

STEPS_LOST = "steps_lost"
"""The diagnosis of an attempt that starts below the least step, where that is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastStep:
    """The step to start from at least, and where its checkpoint lies: a run folder in the home of a factory."""

    step: int
    factory: FactoryName
    folder: str


def least_step(attempts: Iterable[Attempt]) -> LeastStep | None:
    """Return the least step that these attempts, oldest first, leave to the next; None where none saved anything.

    The first to tell of a checkpoint has written it; one that went on from it tells of the same step.
    """
    found: LeastStep | None = None
    for attempt in attempts:
        step = None if attempt.progress is None else attempt.progress.checkpoint_step
        if step is not None and (found is None or step > found.step):
            found = LeastStep(step=step, factory=attempt.factory, folder=attempt.folder)
    return found


def lost_steps(least: LeastStep | None, resume_step: int | None) -> int:
    """Return how many steps are done again by an attempt that goes on from this checkpoint, or None from none."""
    return 0 if least is None else max(0, least.step - (resume_step or 0))


def lost_words(least: LeastStep, resume_step: int | None) -> str:
    """Return what a person reads of an attempt that starts below the least step."""
    begins = "begins afresh" if resume_step is None else f"goes on from step {resume_step}"
    steps = lost_steps(least, resume_step)
    return (
        f"{begins}: {steps} steps are done again, for the checkpoint of step {least.step} is not at hand; "
        f"factory {least.factory} saved it in {least.folder}"
    )
