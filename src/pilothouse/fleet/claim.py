"""What a claim and an ending are, as the engine hands them to the store."""

from __future__ import annotations

from typing import NamedTuple

from pilothouse.fleet.job import Report
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch, JobId, JobNumber, SessionNumber, ShapeNumber

DEPENDED_ON = 1
"""Mark of a job that another one waits for: its end has to be told."""
NEEDS_MORE = 2
"""Mark of a job whose success does not ship it: it has a review, or a person ships it."""


class Ready(NamedTuple):
    """A claimable job, as a scan of the store finds it; `created_us` is in microseconds since 1970.

    Everything else that decides where it runs is its shape's.
    """

    number: JobNumber
    shape: ShapeNumber
    priority: int
    created_us: int
    epoch: Epoch
    marks: int
    preemptions: int = 0


class Grant(NamedTuple):
    """A claim that was decided: the job goes to the session under the epoch after the expected one."""

    number: JobNumber
    expected: Epoch
    session: SessionNumber

    @property
    def epoch(self) -> Epoch:
        """The new attempt's epoch."""
        return Epoch(self.expected + 1)


class Ending(NamedTuple):
    """A success that ships its job and touches nothing else; `stage` is the one the job is known to be in."""

    number: JobNumber
    epoch: Epoch
    stage: Stage
    report: Report


def attempt_folder(job: JobId, epoch: int) -> str:
    """Return where an attempt runs, relative to the home; no two attempts ever share a folder."""
    return f"runs/{job}/attempt-{epoch}"
