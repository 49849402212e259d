"""What the end of an attempt means for its job: which allowance it spends and where the job goes.

Failures, preemptions and losses are counted apart, and only failures spend the restarts that the spec allows: a job
that was preempted or whose factory died has done nothing wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from pilothouse.fleet.job import Job, Outcome
from pilothouse.fleet.stages import Stage

INTERRUPTIONS_MAX = 100
"""Preemptions, or losses, after which a job goes to a person; unbounded, one that kills its machine never ends."""


class Allowance(StrEnum):
    """What an outcome is counted under."""

    NONE = "none"
    FAILURES = "failures"
    PREEMPTIONS = "preemptions"
    LOSSES = "losses"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How often a job's attempts have ended, each kind apart."""

    failures: int = 0
    preemptions: int = 0
    losses: int = 0


def counts(job: Job) -> Counts:
    """Return what the job has spent so far."""
    return Counts(failures=job.failures, preemptions=job.preemptions, losses=job.losses)


def allowance(outcome: Outcome) -> Allowance:
    """Return what an outcome is counted under."""
    match outcome:
        case Outcome.SUCCEEDED | Outcome.CANCELLED:
            return Allowance.NONE
        case Outcome.PREEMPTED:
            return Allowance.PREEMPTIONS
        case Outcome.LOST:
            return Allowance.LOSSES
        case (
            Outcome.CRASHED
            | Outcome.OUT_OF_MEMORY
            | Outcome.DISK_FULL
            | Outcome.NOT_A_NUMBER
            | Outcome.SILENT
            | Outcome.TIMED_OUT
            | Outcome.SUMMARY_MISSING
            | Outcome.PROMISE_BROKEN
            | Outcome.RESUMED_TOO_EARLY
            | Outcome.INPUT_DAMAGED
            | Outcome.LAUNCH_FAILED
        ):
            return Allowance.FAILURES
        case _:
            assert_never(outcome)


def may_restart(outcome: Outcome) -> bool:
    """Whether the same job, started again unchanged, could end otherwise."""
    return outcome in {
        Outcome.CRASHED,
        Outcome.SILENT,
        Outcome.TIMED_OUT,
        Outcome.SUMMARY_MISSING,
        Outcome.LAUNCH_FAILED,
    }


def next_stage(outcome: Outcome, *, spent: Counts, restarts: int) -> Stage:
    """Return where the job goes; `spent` does not count this outcome yet."""
    assert restarts >= 0, f"a job cannot owe restarts, got {restarts}"
    kind = allowance(outcome)
    match kind:
        case Allowance.NONE:
            return Stage.SHIPPED if outcome is Outcome.SUCCEEDED else Stage.CANCELLED
        case Allowance.PREEMPTIONS:
            return Stage.QUEUED if spent.preemptions < INTERRUPTIONS_MAX else Stage.DEAD_LETTER
        case Allowance.LOSSES:
            return Stage.QUEUED if spent.losses < INTERRUPTIONS_MAX else Stage.DEAD_LETTER
        case Allowance.FAILURES:
            again = may_restart(outcome) and spent.failures < restarts
            return Stage.QUEUED if again else Stage.FAILED
        case _:
            assert_never(kind)
