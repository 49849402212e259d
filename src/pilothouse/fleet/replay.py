"""A trace played on a cluster under a policy: when every job would have ended, and what it cost.

The cluster is one pool of equal GPUs. A job takes all the GPUs that it needs or none. A stopped job keeps what its last
checkpoint holds, loses what it did since, and pays for its start again. A policy sees what has happened so far and
nothing of what will: durations are known to this module, and to `policy.Shortest`, which is the oracle.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pilothouse.fleet.trace import TraceJob

BOUNDED_SECONDS = 10.0
"""Shorter jobs count as this long in the bounded slowdown (Feitelson and Rudolph 1998)."""

_END, _SUBMIT, _LOOK = 0, 1, 2


class Policy(Protocol):
    """Who runs next. It is told of every submission, stop and end, and then asked once for each moment."""

    def submitted(self, job: int, cluster: Cluster) -> None:
        """Let a job wait, as a new one or after it was stopped."""

    def ended(self, job: int, cluster: Cluster) -> None:
        """Learn from a job that has ended."""

    def schedule(self, cluster: Cluster) -> float | None:
        """Start and stop jobs; return when to ask again at the latest, if nothing else happens before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """What stopping costs: work is kept as of the last whole interval, and every new start takes `restart_seconds`."""

    every_seconds: float = 900.0
    restart_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a policy made of a trace."""

    mean_completion_s: float
    median_completion_s: float
    p99_completion_s: float
    utilisation: float
    bounded_slowdown: float
    longest_wait_lowest_s: float
    preemptions: int
    lost_gpu_hours: float
    makespan_s: float
    jobs: int
    decision_us: float


@dataclass(slots=True)
class Cluster:
    """What a policy sees and does: the time, the free GPUs, and what runs."""

    gpus: int
    jobs: Sequence[TraceJob]
    checkpoints: Checkpoints
    now: float = 0.0
    free: int = field(init=False)
    running: dict[int, float] = field(default_factory=dict)
    served: list[float] = field(init=False)
    stops: list[int] = field(init=False)
    done: list[float] = field(init=False)
    ranks: list[int] = field(init=False)
    waited: list[float] = field(init=False)
    lost_gpu_seconds: float = 0.0
    _left: list[float] = field(init=False)
    _starts: list[int] = field(init=False)
    _since: list[float] = field(init=False)
    _events: list[tuple[float, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = self.gpus
        count = len(self.jobs)
        self.served, self.done, self.waited = [0.0] * count, [-1.0] * count, [0.0] * count
        self.stops, self._starts = [0] * count, [0] * count
        self.ranks = [job.priority.rank for job in self.jobs]
        self._left = [job.duration for job in self.jobs]
        self._since = [job.submit for job in self.jobs]

    def start(self, job: int) -> None:
        """Give a job all its GPUs."""
        assert job not in self.running, f"job {job} runs already"
        self.free -= self.jobs[job].gpus
        assert self.free >= 0, f"job {job} was started on {self.free} GPUs too few"
        self.running[job] = self.now
        self.waited[job] += self.now - self._since[job]
        again = self.checkpoints.restart_seconds if self._starts[job] else 0.0
        self._starts[job] += 1
        heapq.heappush(self._events, (self.now + again + self._left[job], _END, job, self._starts[job]))

    def stop(self, job: int) -> None:
        """Take a job's GPUs away; it waits again with the work of its last checkpoint."""
        ran = self.now - self.running.pop(job)
        self._starts[job] += 1
        again = self.checkpoints.restart_seconds if self.stops[job] else 0.0
        kept = _whole(max(0.0, ran - again), self.checkpoints.every_seconds)
        self._left[job] -= kept
        self.served[job] += ran
        self.stops[job] += 1
        self._since[job] = self.now
        self.lost_gpu_seconds += (ran - kept) * self.jobs[job].gpus
        self.free += self.jobs[job].gpus

    def lost_if_stopped(self, job: int) -> float:
        """Return the seconds of work that a stop now would lose: those since the last checkpoint."""
        ran = self.now - self.running[job]
        again = self.checkpoints.restart_seconds if self.stops[job] else 0.0
        return ran - _whole(max(0.0, ran - again), self.checkpoints.every_seconds)

    def service(self, job: int) -> float:
        """Return for how many seconds a job has run so far, in all its attempts."""
        began = self.running.get(job)
        return self.served[job] + (0.0 if began is None else self.now - began)

    def play(self, policy: Policy, clock: Callable[[], float]) -> float:
        """Run every job to its end; return the seconds that the policy took by the clock."""
        events, spent, asked = self._events, 0.0, math.inf
        events += [(job.submit, _SUBMIT, number, 0) for number, job in enumerate(self.jobs)]
        heapq.heapify(events)
        while events:
            self.now = events[0][0]
            while events and events[0][0] <= self.now:
                self._happen(heapq.heappop(events), policy)
            began = clock()
            look = policy.schedule(self)
            spent += clock() - began
            if look is not None and (look < asked or asked <= self.now):
                asked = look
                heapq.heappush(events, (look, _LOOK, 0, 0))
        left = [number for number, end in enumerate(self.done) if end < 0]
        assert not left, f"{len(left)} jobs were never run, the first of line {self.jobs[left[0]].line}"
        return spent

    def _happen(self, event: tuple[float, int, int, int], policy: Policy) -> None:
        _, kind, job, start = event
        if kind == _SUBMIT:
            policy.submitted(job, self)
        elif kind == _END and self._starts[job] == start:
            if self.stops[job]:
                self.lost_gpu_seconds += self.checkpoints.restart_seconds * self.jobs[job].gpus
            self.served[job] += self.now - self.running.pop(job)
            self.free += self.jobs[job].gpus
            self.done[job] = self.now
            policy.ended(job, self)


def _whole(seconds: float, interval: float) -> float:
    return seconds if interval <= 0 else interval * math.floor(seconds / interval)


def replay(
    jobs: Sequence[TraceJob], *, gpus: int, policy: Policy, checkpoints: Checkpoints, clock: Callable[[], float]
) -> Result:
    """Return the figures of a policy; `clock` counts the seconds that its decisions take."""
    cluster = Cluster(gpus, jobs, checkpoints)
    spent = cluster.play(policy, clock)
    return figures(cluster, spent)


def figures(cluster: Cluster, spent: float) -> Result:
    """Return the figures of a cluster whose jobs have all ended."""
    jobs, count = cluster.jobs, len(cluster.jobs)
    took = [end - job.submit for job, end in zip(jobs, cluster.done, strict=True)]
    slow = (max(1.0, each / max(job.duration, BOUNDED_SECONDS)) for job, each in zip(jobs, took, strict=True))
    lowest = max(cluster.ranks)
    makespan = max(cluster.done) - jobs[0].submit
    in_order = sorted(took)
    return Result(
        mean_completion_s=math.fsum(took) / count,
        median_completion_s=(in_order[(count - 1) // 2] + in_order[count // 2]) / 2,
        p99_completion_s=in_order[math.ceil(0.99 * count) - 1],
        utilisation=math.fsum(job.gpu_seconds for job in jobs) / (cluster.gpus * makespan) if makespan else 0.0,
        bounded_slowdown=math.fsum(slow) / count,
        longest_wait_lowest_s=max(
            wait for rank, wait in zip(cluster.ranks, cluster.waited, strict=True) if rank == lowest
        ),
        preemptions=sum(cluster.stops),
        lost_gpu_hours=cluster.lost_gpu_seconds / 3600.0,
        makespan_s=makespan,
        jobs=count,
        decision_us=1e6 * spent / count,
    )
