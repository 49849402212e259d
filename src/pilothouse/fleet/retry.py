"""What the end of an attempt means for its job: which allowance it spends and where the job goes.

Failures, preemptions and losses are counted apart, and only failures spend the restarts that the spec allows: a job
that was preempted or whose factory died has done nothing wrong. But one that is lost again and again without getting
any further may be what kills its factories: it goes to `dead_letter`, where a person finds who lost it and when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from pilothouse.fleet.job import Job, Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch, FactoryName

INTERRUPTIONS_MAX = 100
"""Preemptions, or losses, after which a job goes to a person, even if every attempt got further than the one before."""

LOSSES_MAX = 10
"""Losses in a row without progress, all on one or two factories, that such machines may have of themselves: a laptop
that sleeps, a server that is restarted. More are the job's."""

FACTORIES_MAX = 3
"""Different factories that may lose a job in a row without progress; so many do not die by chance one after another."""


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
            | Outcome.VERIFY_FAILED
            | Outcome.CAPABILITY_MISMATCH
            | Outcome.NO_ENGINE
            | Outcome.CHECKPOINT_MISSING
            | Outcome.CODE_CHANGED
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One attempt whose factory vanished: when it was given up and what was last seen of it, in words.

    `progressed` attempts got further than where they began: they left a checkpoint that the next one resumes from.
    """

    factory: FactoryName
    epoch: Epoch
    at: datetime
    last_seen: str
    progressed: bool


def poison(losses: Sequence[Loss]) -> tuple[Loss, ...]:
    """Return the losses that tell against a job, empty while they may still be chance.

    `losses` are all of the job's, the oldest first. Those before the last progress no longer tell anything.
    """
    row: list[Loss] = []
    for loss in losses:
        row = [] if loss.progressed else [*row, loss]
    told = len(row) >= LOSSES_MAX or len({loss.factory for loss in row}) >= FACTORIES_MAX
    return tuple(row) if told else ()


def evidence(losses: Sequence[Loss]) -> str:
    """Return what a person reads of a job that was lost too often: a sentence, then a line for every loss."""
    factories = len({loss.factory for loss in losses})
    where = "the same factory" if factories == 1 else f"{factories} different factories"
    lines = [
        f"attempt {loss.epoch} on {loss.factory}, given up at {loss.at.isoformat(timespec='seconds')}, "
        f"last seen: {loss.last_seen or 'nothing'}"
        for loss in losses
    ]
    return "\n".join([f"lost {len(losses)} times in a row without progress, on {where}", *lines])


def next_stage(outcome: Outcome, *, spent: Counts, restarts: int, losses: Sequence[Loss] = ()) -> Stage:
    """Return where the job goes.

    `spent` does not count this outcome yet; `losses`, the oldest first, do contain this one if it is a loss.
    """
    assert restarts >= 0, f"a job cannot owe restarts, got {restarts}"
    kind = allowance(outcome)
    match kind:
        case Allowance.NONE:
            return Stage.SHIPPED if outcome is Outcome.SUCCEEDED else Stage.CANCELLED
        case Allowance.PREEMPTIONS:
            return Stage.QUEUED if spent.preemptions < INTERRUPTIONS_MAX else Stage.DEAD_LETTER
        case Allowance.LOSSES:
            again = spent.losses < INTERRUPTIONS_MAX and not poison(losses)
            return Stage.QUEUED if again else Stage.DEAD_LETTER
        case Allowance.FAILURES:
            again = may_restart(outcome) and spent.failures < restarts
            return Stage.QUEUED if again else Stage.FAILED
        case _:
            assert_never(kind)
