"""Making room for critical jobs, where their product allows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pilothouse.engine.rooms import makes_room
from pilothouse.fleet.claim import Grant, Ready
from pilothouse.fleet.job import Job, Priority, Shape
from pilothouse.fleet.place import HeldJob, Place, microseconds
from pilothouse.fleet.preemption import Eviction, NoEviction, Room, Running, Wanted, plan
from pilothouse.ids import JobId, JobNumber
from pilothouse.operations.claim import assign

if TYPE_CHECKING:
    from pilothouse.engine.scheduler import Scheduler
    from pilothouse.ports.store import Transaction

HEADS_MAX = 4
"""How many critical jobs of a shape are looked at in one go; the others come after them anyway."""
_PRIORITIES = tuple(Priority)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What would be done for one critical job, or why nothing."""

    job: Ready
    decision: Eviction | NoEviction
    place: Place | None


class Preemption:
    """The evictions that are due now. One transaction marks the victims and assigns the job that they make room for.

    The job's offer reaches its factory only when none of its victims is held any more: each has then checkpointed and
    reported, or was fenced at its deadline. Nobody else gets the seats in between.
    """

    def __init__(self, scheduler: Scheduler, *, now: datetime) -> None:
        self._scheduler = scheduler
        self._now = now

    def planned(self, *, product_switch: bool = True) -> Iterator[Planned]:
        """Yield what is decided for each critical job that waits; without the switch, as if all products allowed it."""
        board = self._scheduler.board
        for number in board.critical_shapes():
            product = board.shapes[number].product
            if product_switch and not self._scheduler.settings_of(product).preemption:
                continue
            for job in board.critical(number, HEADS_MAX):
                yield self.plan(job)

    def plan(self, job: Ready) -> Planned:
        """Return what is decided for one job that waits."""
        board = self._scheduler.board
        shape = board.shapes[job.shape]
        places = {
            place.factory: place
            for place in board.places.values()
            if place.open
            and (place.pools is None or shape.pool in place.pools)
            and board.may_start(place, job.shape, funds=self._scheduler.funds.why)
        }
        wanted = Wanted(
            job=job.number,
            priority=_PRIORITIES[job.priority],
            seats=shape.seats,
            gpus=shape.gpus,
            factories=frozenset(places),
        )
        running = [
            self._running(held, place)
            for place in places.values()
            for held in place.held.values()
            if self._may_yield(held, to=shape)
        ]
        rooms = [
            Room(factory=name, seats=max(0, place.seats_free), gpus=max(0, place.gpus_free))
            for name, place in places.items()
        ]
        decision = plan(wanted, running, rooms)
        place = places[decision.factory] if isinstance(decision, Eviction) else None
        return Planned(job=job, decision=decision, place=place)

    def _may_yield(self, held: HeldJob, *, to: Shape) -> bool:
        """Whether a job's own product lets it be stopped; where it has not said so, everything is as it always was."""
        return held.shape.product == to.product or self._scheduler.settings_of(held.shape.product).preemption

    def _running(self, held: HeldJob, place: Place) -> Running:
        now_us = microseconds(self._now)
        settings = self._scheduler.settings_of(held.shape.product)
        since_us = max(held.claimed_us, held.checkpoint_us or 0)
        return Running(
            job=held.number,
            priority=_PRIORITIES[held.priority],
            seats=held.shape.seats,
            gpus=held.shape.gpus,
            factory=place.factory,
            running_seconds=max(0.0, (now_us - held.claimed_us) / 1e6),
            lost_seconds=max(0.0, (now_us - since_us) / 1e6),
            min_running_seconds=max(settings.min_running_seconds, held.shape.min_running_seconds),
            preemptions=held.preemptions,
            stopping=held.stop_us is not None,
        )

    def carry_out(self, tx: Transaction) -> Sequence[Job]:
        """Return the victims, marked; each critical job that they make room for is assigned."""
        marked: list[Job] = []
        for planned in self.planned():
            if isinstance(planned.decision, Eviction) and planned.place is not None:
                marked += self._evict(tx, planned.job, planned.decision, planned.place)
        return marked

    def _evict(self, tx: Transaction, job: Ready, eviction: Eviction, place: Place) -> list[Job]:
        board = self._scheduler.board
        grace = self._scheduler.settings_of(board.shapes[job.shape].product).stop_grace_seconds
        # A factory hears of it with its next beat, and its program has the whole grace from then on.
        by = self._now + timedelta(seconds=grace + self._scheduler.roster.sweep_seconds)
        wanted = tx.jobs.by_number(job.number)
        if wanted is None:
            raise RuntimeError(f"job {job.number} is not where the board has it")
        marked = [self._mark(tx, victim.job, by=by, for_=wanted.id) for victim in eviction.victims]
        if any(victim is None for victim in marked):
            raise RuntimeError(f"a victim of job {job.number} is not where the board has it")
        handovers, missed = assign(
            tx, [Grant(job.number, job.epoch, place.session)], now=self._now, why="others make room for it"
        )
        if missed:
            raise RuntimeError(f"job {job.number} is not where the board has it")
        self._scheduler.expect(
            job, place, handovers[0], victims=[victim.job for victim in eviction.victims], by=by, now=self._now, tx=tx
        )
        return [victim for victim in marked if victim is not None]

    def _mark(self, tx: Transaction, number: JobNumber, *, by: datetime, for_: JobId) -> Job | None:
        victim = tx.jobs.by_number(number)
        if victim is None:
            return None
        return tx.jobs.ask_to_stop(victim, by=by, now=self._now, why=makes_room(for_))
