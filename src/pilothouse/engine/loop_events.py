"""What a campaign's loop tells whoever presents it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pilothouse.campaigns.record import Trial
from pilothouse.fleet.job import Job, JobSpec, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeen:
    """A step's job, with the last sign of life of its current attempt."""

    job: Job
    spec: JobSpec
    progress: Progress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """A step's job has shipped; `seconds` sums its attempts."""

    job: Job
    spec: JobSpec
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialJudged:
    """A trial has its verdict; trial 0, the baseline, has none."""

    trial: Trial
    promoted: bool


LoopEvent: TypeAlias = StepSeen | StepDone | TrialJudged
