"""What a fleet has done, played again under other weights.

The recorded jobs go to one pool of seats in the order that the weights give them, around reservations, as the board
does. Each takes as long as it took, in all of its attempts; it waits from the moment it could be claimed. One pool
knows no capabilities, locks or budgets, so compare a replay with the replay under the weights of the time, and not with
the record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pilothouse.errors import BadValue, NotFound
from pilothouse.fleet.board_policy import Ours
from pilothouse.fleet.job import Priority
from pilothouse.fleet.replay import Checkpoints, Cluster, Result, figures, replay
from pilothouse.fleet.score import Weights
from pilothouse.fleet.trace import TraceJob
from pilothouse.ids import JobNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A stretch of time in which a session held a job."""

    since: datetime
    until: datetime

    @property
    def seconds(self) -> float:
        """How long it was; a clock that was set back between the two makes it nothing."""
        return max(0.0, (self.until - self.since).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A job that has run and ended: when it could first be claimed, and every attempt of it."""

    number: JobNumber
    priority: Priority
    seats: int
    timeout_seconds: float
    ready_at: datetime
    attempts: tuple[Held, ...]
    preemptions: int

    @property
    def seconds(self) -> float:
        """How long it was held in all."""
        return sum(held.seconds for held in self.attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The figures of the record, of its replay under its own weights, and of the replay under the others."""

    seats: int
    recorded: Result
    replayed: Result
    other: Result


def what_if(
    jobs: Sequence[Recorded], *, seats: int | None, weights: Weights, other: Weights, clock: Callable[[], float]
) -> WhatIf:
    """Return the three sets of figures; without `seats` there are as many as were ever held at once."""
    if not jobs:
        raise NotFound("no job has run and ended yet", fix="let some jobs end first, or name another product")
    ordered = sorted(jobs, key=lambda job: (job.ready_at, job.number))
    trace = _trace(ordered)
    widest = max(job.gpus for job in trace)
    if seats is not None and seats < widest:
        raise BadValue(f"a job needs {widest} seats, and there are {seats}", fix=f"give {widest} seats or more")
    count = seats or max(widest, peak(ordered))

    def play(under: Weights) -> Result:
        return replay(trace, gpus=count, policy=Ours(weights=under), checkpoints=Checkpoints(), clock=clock)

    return WhatIf(
        seats=count, recorded=_as_recorded(ordered, trace, seats=count), replayed=play(weights), other=play(other)
    )


def peak(jobs: Sequence[Recorded]) -> int:
    """Return how many seats were ever held at once."""
    changes = [(held.since, job.seats) for job in jobs for held in job.attempts]
    changes += [(held.until, -job.seats) for job in jobs for held in job.attempts]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def _trace(ordered: Sequence[Recorded]) -> list[TraceJob]:
    first = ordered[0].ready_at
    return [
        TraceJob(
            line=job.number,
            submit=(job.ready_at - first).total_seconds(),
            duration=job.seconds,
            gpus=max(1, job.seats),
            priority=job.priority,
            timeout=max(job.timeout_seconds, job.seconds),
        )
        for job in ordered
    ]


def _as_recorded(ordered: Sequence[Recorded], trace: Sequence[TraceJob], *, seats: int) -> Result:
    """Return the figures of what has happened, with the waits between attempts counted as waits."""
    cluster = Cluster(seats, trace, Checkpoints())
    first = ordered[0].ready_at
    for number, job in enumerate(ordered):
        ended = max((held.until for held in job.attempts), default=job.ready_at)
        cluster.done[number] = max(trace[number].submit, (ended - first).total_seconds())
        cluster.waited[number] = max(0.0, cluster.done[number] - trace[number].submit - job.seconds)
        cluster.stops[number] = job.preemptions
    return figures(cluster, 0.0)
