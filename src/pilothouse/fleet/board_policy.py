"""The fleet's own policy in a replay: the engine's board itself picks, on one factory that has all the GPUs.

Nothing of it is modelled a second time. What the board cannot do here is what one pool of equal GPUs has none of:
capabilities, engines, locks and budgets. A trace's GPUs are the factory's seats.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pilothouse.fleet.board import Board
from pilothouse.fleet.capability import Offer
from pilothouse.fleet.claim import Ready
from pilothouse.fleet.job import Priority, Shape
from pilothouse.fleet.place import HeldJob, Place
from pilothouse.fleet.preemption import Eviction, Room, Running, Wanted, plan
from pilothouse.fleet.replay import Cluster
from pilothouse.fleet.score import DEFAULT, Weights
from pilothouse.fleet.settings import FleetSettings
from pilothouse.ids import Epoch, FactoryName, JobNumber, ProductId, SessionNumber, ShapeNumber

PRODUCT = ProductId("trace")
FACTORY = FactoryName("cluster")
SESSION = SessionNumber(1)
NO_LIMIT_SECONDS = 10 * 365 * 86400.0
"""What a job without a time limit may take: nothing is started around a reservation on the strength of it."""
_PRIORITIES = tuple(Priority)


@dataclass(slots=True)
class Ours:
    """The board: priority and age, gangs whole, and a reservation for a large job that has waited.

    With `preemption`, as where a product has switched it on: lower jobs stop for a critical one that finds no room.
    """

    weights: Weights = DEFAULT
    preemption: bool = False
    board: Board = field(default_factory=Board)
    _shapes: dict[tuple[int, float], ShapeNumber] = field(default_factory=dict)
    _epochs: dict[int, Epoch] = field(default_factory=dict)

    def submitted(self, job: int, cluster: Cluster) -> None:
        """Let a job wait, after a stop under a higher epoch."""
        self._open(cluster)
        if self.board.release(JobNumber(job)) is not None:
            self._epochs[job] = Epoch(self._epochs[job] + 2)
        found = cluster.jobs[job]
        epoch = self._epochs.setdefault(job, Epoch(0))
        shape = self._shape(found.gpus, NO_LIMIT_SECONDS if found.timeout is None else found.timeout)
        created_us = round(found.submit * 1e6)
        stops = cluster.stops[job]
        self.board.add(Ready(JobNumber(job), shape, found.priority.rank, created_us, epoch, 0, stops))

    def ended(self, job: int, cluster: Cluster) -> None:
        """Give back what a job has held."""
        del cluster
        self.board.forget(JobNumber(job))

    def schedule(self, cluster: Cluster) -> float | None:
        """Start what the board picks until it picks nothing, and let others make room for what is critical."""
        now_us = round(cluster.now * 1e6)
        while cluster.free:
            picked = self.board.pick(SESSION, seats=cluster.free, now_us=now_us)
            if picked is None:
                break
            cluster.start(picked.number)
        return self._make_room(cluster, now_us=now_us) if self.preemption else None

    def _open(self, cluster: Cluster) -> None:
        if SESSION not in self.board.places:
            self.board.set_weights(PRODUCT, self.weights)
            self.board.open_place(
                Place(
                    session=SESSION,
                    factory=FACTORY,
                    product=PRODUCT,
                    offer=Offer.read(()),
                    engines=frozenset(),
                    seats=cluster.gpus,
                    gpus=0,
                )
            )

    def _shape(self, gpus: int, limit: float) -> ShapeNumber:
        number = self._shapes.get((gpus, limit))
        if number is None:
            number = self._shapes[gpus, limit] = ShapeNumber(len(self._shapes) + 1)
            self.board.shapes[number] = Shape(product=PRODUCT, pool="", seats=gpus, timeout_seconds=limit)
        return number

    # --- who makes room

    def _make_room(self, cluster: Cluster, *, now_us: int) -> float | None:
        """Stop whom the fleet would stop for each critical job; return when more of them may be stopped."""
        waits = False
        for job in list(self._critical()):
            decision = plan(self._wanted(job), self._running(cluster), [self._room(cluster)])
            if not isinstance(decision, Eviction):
                waits = True
                continue
            for victim in decision.victims:
                cluster.stop(victim.job)
                self.submitted(victim.job, cluster)
            self._take(job, now_us=now_us)
            cluster.start(job.number)
        least = FleetSettings().min_running_seconds
        ripe = [began + least for began in cluster.running.values() if began + least > cluster.now]
        return min(ripe) if waits and ripe else None

    def _critical(self) -> Iterator[Ready]:
        for number in list(self.board.shapes):
            yield from self.board.critical(number, len(self.board))

    def _wanted(self, job: Ready) -> Wanted:
        seats = self.board.shapes[job.shape].seats
        return Wanted(job=job.number, priority=_PRIORITIES[job.priority], seats=seats, gpus=0, factories={FACTORY})

    def _room(self, cluster: Cluster) -> Room:
        return Room(factory=FACTORY, seats=cluster.free, gpus=0)

    def _running(self, cluster: Cluster) -> list[Running]:
        least = FleetSettings().min_running_seconds
        return [
            Running(
                job=JobNumber(job),
                priority=cluster.jobs[job].priority,
                seats=cluster.jobs[job].gpus,
                gpus=0,
                factory=FACTORY,
                running_seconds=cluster.now - began,
                lost_seconds=cluster.lost_if_stopped(job),
                min_running_seconds=least,
                preemptions=cluster.stops[job],
            )
            for job, began in cluster.running.items()
        ]

    def _take(self, job: Ready, *, now_us: int) -> None:
        self.board.hold(
            HeldJob(
                number=job.number,
                epoch=Epoch(job.epoch + 1),
                shape=self.board.shapes[job.shape],
                shape_number=job.shape,
                priority=job.priority,
                created_us=job.created_us,
                claimed_us=now_us,
                marks=job.marks,
                preemptions=job.preemptions,
                session=SESSION,
            )
        )
