"""The jobs that may be claimed, in memory: one heap per pool and number of seats.

A claim takes from here and then moves the job by its primary key, so no claim ever walks an index of ready rows. The
database stays the truth: an entry whose job has moved on is skipped when it comes up.
"""

from __future__ import annotations

import heapq
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from pilothouse.fleet.claim import ready_order
from pilothouse.fleet.job import Job
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch, JobId


class ReadyJob(NamedTuple):
    """A claimable job; entries compare by `order`, which no two jobs share."""

    order: tuple[int, datetime, JobId]
    epoch: Epoch
    job: JobId
    pool: str
    seats: int


class Ready:
    """The ready heaps. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._arrival = threading.Condition()
        self._arrivals = 0
        self._heaps: defaultdict[tuple[str, int], list[ReadyJob]] = defaultdict(list)
        # What is really queued; a heap's entry that is not here with its epoch is out of date.
        self._epochs: dict[JobId, Epoch] = {}

    @property
    def arrivals(self) -> int:
        """A number that grows whenever a waiter should look again; it says up to which one it has looked."""
        return self._arrivals

    def __len__(self) -> int:
        """How many jobs may be claimed."""
        return len(self._epochs)

    def note(self, jobs: Iterable[Job]) -> None:
        """Take in the jobs that are queued, forget those that are not, and wake the waiting claims."""
        with self._arrival:
            before = self._arrivals
            for job in jobs:
                if job.stage is Stage.QUEUED:
                    self._put(_entry(job))
                else:
                    self._epochs.pop(job.id, None)
            if self._arrivals != before:
                self._arrival.notify_all()

    def put_back(self, entry: ReadyJob) -> None:
        """Return an entry whose claim could not be carried out."""
        with self._arrival:
            self._put(entry)
            self._arrival.notify_all()

    def wake(self) -> None:
        """Wake every waiting claim although nothing has come in, so that it can see that it should give up."""
        with self._arrival:
            self._arrivals += 1
            self._arrival.notify_all()

    def take(self, *, pools: Collection[str] | None, seats: int | None) -> ReadyJob | None:
        """Remove and return the first job of these pools that fits on the seats; None stands for any of them."""
        with self._arrival:
            first: list[ReadyJob] | None = None
            for (pool, needed), heap in self._heaps.items():
                if (pools is not None and pool not in pools) or (seats is not None and needed > seats):
                    continue
                self._drop_stale(heap)
                if heap and (first is None or heap[0] < first[0]):
                    first = heap
            if first is None:
                return None
            entry = heapq.heappop(first)
            del self._epochs[entry.job]
            return entry

    def wait(self, seen: int, *, timeout_seconds: float) -> bool:
        """Wait until there is a reason to look again after the arrival seen; False when the time is over first."""
        with self._arrival:
            return self._arrival.wait_for(lambda: self._arrivals != seen, timeout=timeout_seconds)

    def _put(self, entry: ReadyJob) -> None:
        if self._epochs.get(entry.job) == entry.epoch:
            return
        self._epochs[entry.job] = entry.epoch
        heapq.heappush(self._heaps[entry.pool, entry.seats], entry)
        self._arrivals += 1

    def _drop_stale(self, heap: list[ReadyJob]) -> None:
        while heap and self._epochs.get(heap[0].job) != heap[0].epoch:
            heapq.heappop(heap)


def _entry(job: Job) -> ReadyJob:
    return ReadyJob(order=ready_order(job), epoch=job.epoch, job=job.id, pool=job.pool, seats=job.seats)
