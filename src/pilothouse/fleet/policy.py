"""The orders in which a replayed cluster may run its jobs.

    fifo        by submission; the first that does not fit holds up all behind it
    shortest    by true duration, which only an oracle knows; the shortest that fits starts, and nothing is ever stopped
    ours        the fleet's own: the engine's board picks (`board_policy`)
    preempting  the same where a product has switched preemption on: lower jobs stop for a critical one
    slices      what the fleet does not do: a running job that has had its time slice makes room for one that has not

`slices` shows what it would be worth. Slices are least-attained-service scheduling (Tiresias, NSDI 2019) with a single
level, in an order by age: a job that has had its slice counts as submitted `Slices.delay_seconds` later than it was.
Ageing goes on, so only what was submitted before that much later moment passes it, and nothing starves. It knows no
duration; where a trace has no time limits, it guesses by how long jobs of the same size have run (`Limits`).

A slice would be one more occasion for what the engine does when it preempts for a critical job: ask for a checkpoint,
take the job back, queue it under a higher epoch.
"""

from __future__ import annotations

import heapq
import math
from bisect import insort
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pilothouse.fleet.board_policy import Ours
from pilothouse.fleet.replay import Cluster, Policy
from pilothouse.fleet.score import DEFAULT, Weights, static_order

Entry = tuple[float, int]
"""The place of a job in an order, lower first, and its number."""


@dataclass(slots=True)
class Fifo:
    """By submission, and the first that does not fit holds up all behind it."""

    waiting: deque[int] = field(default_factory=deque)

    def submitted(self, job: int, cluster: Cluster) -> None:
        """Let a job wait at the end."""
        del cluster
        self.waiting.append(job)

    def ended(self, job: int, cluster: Cluster) -> None:
        """Learn nothing."""

    def schedule(self, cluster: Cluster) -> float | None:
        """Start from the head while it fits."""
        while self.waiting and cluster.jobs[self.waiting[0]].gpus <= cluster.free:
            cluster.start(self.waiting.popleft())
        return None


@dataclass(slots=True)
class Shortest:
    """By true duration; the shortest that fits starts."""

    waiting: dict[int, list[Entry]] = field(default_factory=dict)

    def submitted(self, job: int, cluster: Cluster) -> None:
        """Let a job wait with those of its size."""
        found = cluster.jobs[job]
        heapq.heappush(self.waiting.setdefault(found.gpus, []), (found.duration, job))

    def ended(self, job: int, cluster: Cluster) -> None:
        """Learn nothing."""

    def schedule(self, cluster: Cluster) -> float | None:
        """Start the shortest that fits until none does."""
        while fit := [(heap[0], gpus) for gpus, heap in self.waiting.items() if heap and gpus <= cluster.free]:
            _, gpus = min(fit)
            cluster.start(heapq.heappop(self.waiting[gpus])[1])
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """When a running job makes room: it has run for `min_running_seconds` and yielded fewer than `most` times.

    One that has run for `slice_seconds` in all counts as submitted `delay_seconds` later. The one that waits must be
    `margin_seconds` ahead in the order, so that equals do not take turns. As long as a job may run for longer than its
    checkpoints are apart, each attempt brings it forward.
    """

    slice_seconds: float = 4 * 3600.0
    delay_seconds: float = 30 * 86400.0
    min_running_seconds: float = 3600.0
    margin_seconds: float = 86400.0
    most: int = 100


@dataclass(slots=True)
class Limits:
    """How long a job may run: its own time limit, or else what those of its size have shown so far."""

    share: float = 0.5
    ended: dict[int, list[float]] = field(default_factory=dict)

    def learn(self, gpus: int, seconds: float) -> None:
        """Take in a job that has ended."""
        insort(self.ended.setdefault(gpus, []), seconds)

    def of(self, job: int, cluster: Cluster) -> float:
        """Return seconds from the start of a job; infinite where nothing is known."""
        found = cluster.jobs[job]
        if found.timeout is not None:
            return found.timeout
        seen = self.ended.get(found.gpus)
        return seen[math.ceil(self.share * len(seen)) - 1] if seen else math.inf

    def end(self, job: int, began: float, cluster: Cluster) -> float:
        """Return when a running job will have ended; one that has outrun its limit will run as long again."""
        limit, ran = self.of(job, cluster), cluster.now - began
        return began + (limit if limit > ran else 2 * ran)


Shape = tuple[int, float]
"""GPUs, and the time limit rounded up to a power of two; jobs of one shape wait in one heap."""


@dataclass(slots=True)
class Reservation:
    """The first job that cannot start, when it could by the limits of what runs, and the GPUs it then leaves over."""

    job: int
    start: float
    spare: int


@dataclass(slots=True)
class Sliced:
    """The order by priority and age, gangs, a reservation for the first that does not fit, and time slices."""

    weights: Weights = DEFAULT
    slices: Slices = field(default_factory=Slices)
    limits: Limits = field(default_factory=Limits)
    waiting: dict[Shape, list[Entry]] = field(default_factory=dict)
    _victims: list[tuple[float, int, float]] = field(default_factory=list)
    _valid_until: float = -math.inf
    _ages: dict[int, float] = field(default_factory=dict)

    def submitted(self, job: int, cluster: Cluster) -> None:
        """Let a job wait with those of its shape."""
        found = cluster.jobs[job]
        limit = 0.0 if not found.timeout else 2.0 ** math.ceil(math.log2(found.timeout))
        heapq.heappush(self.waiting.setdefault((found.gpus, limit), []), (self.order(job, cluster), job))

    def ended(self, job: int, cluster: Cluster) -> None:
        """Learn how long jobs of its size run, where they have no limits."""
        found = cluster.jobs[job]
        if found.timeout is None:
            self.limits.learn(found.gpus, found.duration)

    def schedule(self, cluster: Cluster) -> float | None:
        """Start what comes first and fits, or can make room; what follows may pass what does not."""
        while self._start_one(cluster):
            pass
        return self._valid_until if any(self.waiting.values()) and self._valid_until > cluster.now else None

    def _start_one(self, cluster: Cluster) -> bool:
        reserved: Reservation | None = None
        for entry, shape in sorted((heap[0], shape) for shape, heap in self.waiting.items() if heap):
            victims = self._room_for(entry, cluster)
            if victims is not None and (reserved is None or self._may_pass(entry[1], reserved, cluster)):
                self._place(shape, victims, cluster)
                return True
            if reserved is None:
                reserved = Reservation(entry[1], -math.inf, 0)
        return False

    def _place(self, shape: Shape, victims: Sequence[int], cluster: Cluster) -> None:
        _, job = heapq.heappop(self.waiting[shape])
        for victim in victims:
            cluster.stop(victim)
            self.submitted(victim, cluster)
        cluster.start(job)
        self._valid_until = min(self._valid_until, cluster.now + self.slices.min_running_seconds)

    # --- the order

    def order(self, job: int, cluster: Cluster) -> float:
        """Return the place of a job in the order: by its priority and age, and by whether it has had its slice."""
        place = self._ages.get(job)
        if place is None:
            found = cluster.jobs[job]
            place, _, _ = static_order(found.priority, round(found.submit * 1e6), self.weights)
            self._ages[job] = place
        if cluster.service(job) >= self.slices.slice_seconds - 1e-6:
            place += self._points(self.slices.delay_seconds)
        return place

    def _points(self, seconds: float) -> float:
        return seconds / 60.0 * (self.weights.age or 1.0)

    # --- around a reservation

    def _may_pass(self, job: int, reserved: Reservation, cluster: Cluster) -> bool:
        """Whether a job may start before the reserved one: it makes room again, ends in time, or is not in its way."""
        if cluster.stops[job] < self.slices.most:
            return True
        if reserved.start < cluster.now:
            self._foresee(reserved, cluster)
        limit = self.limits.of(job, cluster)
        ends_in_time = limit < math.inf and cluster.now + limit <= reserved.start
        return ends_in_time or cluster.jobs[job].gpus <= reserved.spare

    def _foresee(self, reserved: Reservation, cluster: Cluster) -> None:
        """Write down when the reserved job could start by the limits of what runs, and what it leaves over."""
        gpus, free = cluster.jobs[reserved.job].gpus, cluster.free
        reserved.start = cluster.now
        ends = ((self.limits.end(job, began, cluster), job) for job, began in cluster.running.items())
        for end, job in sorted(ends):
            if free >= gpus:
                break
            free += cluster.jobs[job].gpus
            reserved.start = max(cluster.now, end)
        reserved.spare = free - gpus

    # --- who makes room

    def _room_for(self, entry: Entry, cluster: Cluster) -> list[int] | None:
        """Return who must stop so that the job can start, nobody if it fits; None where that is not enough."""
        order, job = entry
        need, victims = cluster.jobs[job].gpus - cluster.free, []
        if need <= 0:
            return []
        if cluster.now >= self._valid_until:
            self._list_victims(cluster)
        least = order + self._points(self.slices.margin_seconds)
        rank = cluster.ranks[job]
        for place, victim, began in self._victims:
            if place <= least:
                return None
            if cluster.running.get(victim) == began and cluster.ranks[victim] >= rank:
                victims.append(victim)
                need -= cluster.jobs[victim].gpus
                if need <= 0:
                    return _needed(victims, -need, cluster)
        return None

    def _list_victims(self, cluster: Cluster) -> None:
        """List who may make room, the last in the order first. The list holds until somebody has run long enough."""
        found, until, slices = [], math.inf, self.slices
        for job, began in cluster.running.items():
            if cluster.stops[job] >= slices.most:
                continue
            ran, service = cluster.now - began, cluster.service(job)
            if ran < slices.min_running_seconds - 1e-6:
                until = min(until, began + slices.min_running_seconds)
                continue
            found.append((self.order(job, cluster), job, began))
            if service < slices.slice_seconds - 1e-6:
                until = min(until, cluster.now + slices.slice_seconds - service)
        self._victims, self._valid_until = sorted(found, key=lambda each: (-each[0], each[1])), until


def _needed(victims: Sequence[int], spare: int, cluster: Cluster) -> list[int]:
    """Return the victims without those whose GPUs are not needed; the first in the order is spared first."""
    kept = []
    for victim in reversed(victims):
        gpus = cluster.jobs[victim].gpus
        if gpus <= spare:
            spare -= gpus
        else:
            kept.append(victim)
    return kept


POLICIES: Mapping[str, Callable[[Weights], Policy]] = {
    "fifo": lambda _: Fifo(),
    "shortest": lambda _: Shortest(),
    "ours": lambda weights: Ours(weights=weights),
    "preempting": lambda weights: Ours(weights=weights, preemption=True),
    "slices": lambda weights: Sliced(weights=weights),
}
