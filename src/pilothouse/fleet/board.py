"""The board: what waits, who has room, and which job goes where. It is memory only, rebuilt from the store by one scan.

    ready jobs ──► one heap per lane ──┐
                                       ├─► pick(session) ──► held by the session
    sessions with their free seats ────┘

The jobs of a lane have one order at every place, which never changes with time, so the best job for a session is the
best of the first ones of the lanes that it can run: no queue is ever searched.

A job that needs more seats than are free anywhere would wait for ever behind small ones. Once such a head has waited
`RESERVE_AFTER_SECONDS`, the session that can run it soonest keeps its seats for it, and other jobs start there only if
they end, by their own time limits, before the reserved one could begin (EASY backfilling, Lifka 1995).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeAlias

from pilothouse.fleet.claim import Ready
from pilothouse.fleet.job import Shape
from pilothouse.fleet.lanes import LOW, MINUTE_US, Entry, Lane, Lanes
from pilothouse.fleet.place import HeldJob, Place, could_start_us, suits
from pilothouse.fleet.score import Weights, cost_fit
from pilothouse.ids import Epoch, JobNumber, ProductId, SessionNumber, ShapeNumber

RESERVE_AFTER_SECONDS = 300.0
_ROUNDING = 1e-13
"""How far a short sum may be off the score, in parts of its largest term; a few hundred times what floats do to it."""
_UNKNOWN = (-1.0, 0.0)

Funds: TypeAlias = Callable[[Shape, Place], str | None]
"""Why the budgets hold a shape back at a place now, or None."""
Near: TypeAlias = list[tuple[float, Entry]]
"""Jobs whose score may be the best of all, with the score as a short sum."""


class Shut(str):
    """Why the budgets let nothing of a product and an engine through, whatever it costs; it holds for a whole lane."""

    __slots__ = ()


class Board(Lanes):
    """Everything that scheduling looks at. One thread at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[SessionNumber, Place] = {}
        self.held: dict[JobNumber, HeldJob] = {}
        self._reserved: dict[JobNumber, SessionNumber] = {}
        self._shape_of: dict[JobNumber, ShapeNumber] = {}

    def forget(self, number: JobNumber) -> None:
        """Let a job wait no longer, and nobody hold it."""
        if self._epochs.pop(number, None) is not None:
            self._doubt()
        self._late_marks.pop(number, None)
        self.release(number)
        self._unreserve(number)

    def set_weights(self, product: ProductId, weights: Weights) -> None:
        """Weigh a product's jobs anew, and sort what waits of it."""
        super().set_weights(product, weights)
        for place in self.places.values():
            place.fits = {}

    # --- who holds what

    def open_place(self, place: Place) -> None:
        """Let a session take work."""
        self.places[place.session] = place

    def close_place(self, session: SessionNumber) -> list[HeldJob]:
        """Let a session take nothing any more, and return what it holds; it is still held until it is released."""
        place = self.places.pop(session, None)
        if place is None:
            return []
        if place.reserved_for is not None:
            self._unreserve(place.reserved_for)
        return list(place.held.values())

    def hold(self, job: HeldJob) -> None:
        """Note that a session holds a job."""
        if self._epochs.pop(job.number, None) is not None:
            self._doubt()
        self.release(job.number)
        self._keep(job, self.places.get(job.session))

    def _keep(self, job: HeldJob, place: Place | None) -> None:
        """Note who holds a job that nobody held and that does not wait."""
        number, shape = job.number, job.shape
        self.held[number] = job
        if shape.lock:
            self._locks[shape.product, shape.lock] = number
            self._doubt((shape.product, shape.lock))
        if place is not None:
            place.put(job)
            place.familiar.add(shape.product)
        if self._late_marks:
            self._late_marks.pop(number, None)
        if self._reserved:
            self._unreserve(number)

    def release(self, number: JobNumber) -> HeldJob | None:
        """Note that nobody holds a job any more, so that nobody waits for its seats either; return what was held."""
        job = self.held.pop(number, None)
        if job is None:
            return None
        lock = job.shape.lock
        if lock and self._locks.get((job.shape.product, lock)) == number:
            self._unlock((job.shape.product, lock))
        place = self.places.get(job.session)
        if place is not None:
            place.drop(job)
        if job.stops_for is not None or job.waits_for:
            self._part(job)
        return job

    def _part(self, job: HeldJob) -> None:
        """Part a job that is gone from its victims, or from the one that it made room for."""
        waiting = None if job.stops_for is None else self.held.get(job.stops_for)
        if waiting is not None:
            waiting.waits_for = tuple(victim for victim in waiting.waits_for if victim != job.number)
        for victim in job.waits_for:
            self._stop_for_nobody(victim)

    def _stop_for_nobody(self, number: JobNumber) -> None:
        """Note that whoever a job makes room for is gone; it stops all the same, as it was told."""
        job = self.held.get(number)
        if job is None or job.stops_for is None:
            return
        job.stops_for = None
        place = self.places.get(job.session)
        if place is not None:
            place.stopping -= 1

    def shift(self, moved_us: int) -> None:
        """Let nobody who holds a job have run for longer, or shorter, because a clock was moved."""
        for job in self.held.values():
            job.shift(moved_us)

    def ask_to_stop(self, number: JobNumber, *, by_us: int, stops_for: JobNumber | None) -> None:
        """Note that a held job makes room for another one."""
        job = self.held[number]
        place = self.places.get(job.session)
        if place is not None and job.stops_for is None and stops_for is not None:
            place.stopping += 1
        job.stop_us, job.stops_for = by_us, stops_for

    def held_by(self, session: SessionNumber) -> list[JobNumber]:
        """Return the jobs that a session holds."""
        place = self.places.get(session)
        return [] if place is None else list(place.held)

    def lock_holder(self, shape: Shape) -> JobNumber | None:
        """Return the job that holds the lock which this shape needs."""
        return self._locks.get((shape.product, shape.lock)) if shape.lock else None

    # --- what a job is worth at a place

    def suits(self, place: Place, number: ShapeNumber) -> float | None:
        """Return how well a factory fits a shape, from 0 to 1, or None where it could never run it."""
        fit = self._fit(place, self._queue(number).lane)
        return None if fit is None else fit[0]

    def _fit(self, place: Place, lane: Lane) -> tuple[float, float] | None:
        found = place.fits.get(lane.number, _UNKNOWN)
        if found is _UNKNOWN:
            fit = suits(place, lane.shape)
            found = None if fit is None else (fit, _standing(lane.shape, place, fit, lane.weights))
            place.fits[lane.number] = found
        return found

    def score(self, job: Ready, place: Place, *, now_us: int, weights: Weights | None = None) -> float:
        """Return the score of a job at a place that suits it; the same sum as `fleet.score.score` has in its terms."""
        return self._score(self._queue(job.shape).lane, self._entry(job), place, now_us=now_us, weights=weights)

    def _score(self, lane: Lane, entry: Entry, place: Place, *, now_us: int, weights: Weights | None) -> float:
        shape = lane.shape
        _, priority, created_us, *_ = entry
        weigh = lane.weights if weights is None else weights
        match = bool(shape.prefers_engine) and shape.prefers_engine in place.engines
        price = place.usd_per_hour
        fit = self._fit(place, lane)
        return (
            weigh.capability * (0.0 if fit is None else fit[0])
            + weigh.affinity * ((shape.product in place.familiar) + match) / 2
            + weigh.load * (1.0 - place.load)
            + (weigh.cost * cost_fit(usd=shape.cost.usd, usd_per_hour=price) if price is not None else 0.0)
            + weigh.health * place.health.get(shape.engine, 1.0)
            + weigh.age * (now_us - created_us) / MINUTE_US
            + weigh.priority * (LOW - priority)
        )

    # --- who gets what

    def pick(
        self,
        session: SessionNumber,
        *,
        seats: int,
        now_us: int,
        pools: Collection[str] | None = None,
        funds: Funds | None = None,
        weights: Weights | None = None,
    ) -> HeldJob | None:
        """Return the best job for the session, which now holds it; None when nothing that waits may start there now.

        `seats` are what the factory says it has free.
        """
        if seats <= 0:
            return None
        place = self.places[session]
        lanes = self._lanes_for(place, pools)
        free = min(seats, place.seats_free)
        if (
            len(lanes) == 1
            and place.reserved_for is None
            and lanes[0].seats <= free
            and lanes[0].gpus <= place.gpus_free
        ):
            only = self._paid(lanes[0], place, funds) if self._serves(place, lanes[0]) else None
            return None if only is None else self._take(only, place, now_us=now_us)
        fitting, large = self._near(lanes, place, free=free, now_us=now_us, funds=funds, weights=weights)
        best = self._best(fitting, place, now_us=now_us, weights=weights) if fitting else None
        if large:
            first = self._best(large, place, now_us=now_us, weights=weights)
            if not self._precedes(best, first, place, now_us=now_us, weights=weights):
                self._reserve(place, first, now_us=now_us, funds=funds)
        if place.reserved_for is not None:
            best = self._around(place, best, free=free, now_us=now_us, pools=pools, funds=funds)
        return None if best is None else self._take(best, place, now_us=now_us)

    def _lanes_for(self, place: Place, pools: Collection[str] | None) -> Sequence[Lane]:
        """Return the lanes of these pools in which something waits; none for a place that takes nothing."""
        if not place.open:
            return ()
        lanes = tuple(self._open.values())
        return lanes if pools is None else [lane for lane in lanes if lane.pool in pools]

    def _near(
        self,
        lanes: Sequence[Lane],
        place: Place,
        *,
        free: int,
        now_us: int,
        funds: Funds | None,
        weights: Weights | None,
    ) -> tuple[Near, Near]:
        """Return the jobs that may be the best here: of those that fit now, and of those that are too large for it.

        By their order jobs of a product differ as by their scores, so a short sum tells all but the last digits.
        Whatever comes so close to the best that these decide is scored in full by `_best`.
        """
        fitting: Near = []
        large: Near = []
        least = least_large = -math.inf
        fits, health, gains = place.fits, place.health, dict[ProductId, float]()
        room, gpus, slack = place.seats_free, place.gpus_free, self._slack(now_us)
        for lane in lanes:
            fit = fits[lane.number] if lane.number in fits else self._fit(place, lane)
            trust = health.get(lane.engine, 1.0) if health else 1.0
            if fit is None or trust <= 0.0:
                continue
            entry = lane.heap[0] if lane.clean and funds is None else self._paid(lane, place, funds)
            if entry is None:
                continue
            if weights is not None:
                worth = self._score(lane, entry, place, now_us=now_us, weights=weights)
            else:
                product = lane.product
                gain = gains[product] if product in gains else _gain(lane, place, gains, now_us=now_us)
                worth = gain + fit[1] - entry[0] - (0.0 if trust == 1.0 else lane.weights.health * (1.0 - trust))
            if lane.seats > room or lane.gpus > gpus:
                if worth >= least_large:
                    large.append((worth, entry))
                    least_large = max(least_large, worth - slack)
            elif worth >= least and lane.seats <= free:
                fitting.append((worth, entry))
                least = max(least, worth - slack)
        return fitting, large

    def _slack(self, now_us: int) -> float:
        """Return by how much a short sum may be off the score."""
        return _ROUNDING * self._heaviest * (now_us / MINUTE_US + 1.0)

    def _paid(self, lane: Lane, place: Place, funds: Funds | None) -> Entry | None:
        """Return the first job of a lane that the budgets do not hold back."""
        first = self._front(lane)
        said = None if funds is None or first is None else funds(self.shapes[first[4]], place)
        if funds is None or said is None:
            return first
        if isinstance(said, Shut):
            return None
        return next((each for each in self._in_turn(lane) if funds(self.shapes[each[4]], place) is None), None)

    def _best(self, near: Near, place: Place, *, now_us: int, weights: Weights | None = None) -> Entry:
        """Return the best of some jobs: by score, then by priority, then by age."""
        if len(near) == 1:
            return near[0][1]

        def key(each: tuple[float, Entry]) -> tuple[float, int, int, JobNumber]:
            entry = each[1]
            lane = self._queues[entry[4]].lane
            return (-self._score(lane, entry, place, now_us=now_us, weights=weights), *entry[1:4])

        least = max(worth for worth, _ in near) - self._slack(now_us)
        close = [each for each in near if each[0] >= least]
        return (close[0] if len(close) == 1 else min(close, key=key))[1]

    def _serves(self, place: Place, lane: Lane) -> bool:
        """Whether the factory could run jobs of a lane, and is trusted with their engine now."""
        if place.health and place.health.get(lane.engine, 1.0) <= 0.0:
            return False
        return (place.fits[lane.number] if lane.number in place.fits else self._fit(place, lane)) is not None

    def _precedes(
        self, one: Entry | None, other: Entry, place: Place, *, now_us: int, weights: Weights | None = None
    ) -> bool:
        """Whether there is the one, and it comes before the other at this place."""
        if one is None:
            return False
        both = [(0.0, one), (0.0, other)]
        return self._best(both, place, now_us=now_us, weights=weights) is one

    def may_start(self, place: Place, number: ShapeNumber, *, funds: Funds | None) -> bool:
        """Whether a job of the shape could start here now if there were room."""
        shape = self.shapes[number]
        if not self._serves(place, self._queue(number).lane) or self.lock_holder(shape) is not None:
            return False
        return funds is None or funds(shape, place) is None

    def _take(self, entry: Entry, place: Place, *, now_us: int) -> HeldJob:
        _, priority, created_us, number, shape, epoch, marks, preemptions = entry
        if self._late_marks:
            marks = self._late_marks.get(number, marks)
        queue = self._serve(entry)
        its = queue.shape
        job = HeldJob(
            number, Epoch(epoch + 1), its, shape, priority, created_us, now_us, marks, place.session, preemptions
        )
        self._keep(job, place)
        return job

    # --- room for large jobs

    def _around(
        self,
        place: Place,
        best: Entry | None,
        *,
        free: int,
        now_us: int,
        pools: Collection[str] | None,
        funds: Funds | None,
    ) -> Entry | None:
        """Return the job that the place is kept for if there is room, else the best that leaves its room as it is.

        It stands for its whole shape: a more urgent job of the same needs may go before it. A reservation for a job
        that could not start here even with room is dropped, since nobody knows for how long it would be in vain; so is
        one for which there is room, while the factory says that it has less: it may say so for ever.
        """
        number = self._wanted(place)
        if number is None or not self.may_start(place, number, funds=funds):
            self._unreserve(place.reserved_for)
            place.reserved_for = None
            return best
        shape = self.shapes[number]
        wanted = self._first(self._queue(number))
        if place.open and wanted is not None and (pools is None or shape.pool in pools) and _has_room(place, shape):
            if shape.seats <= free:
                return wanted
            self._unreserve(place.reserved_for)
            return best
        start_us = could_start_us(place, shape, now_us=now_us)
        short = self._short(self._lanes_for(place, pools), place, free=free, funds=funds, most_us=start_us - now_us)
        near = [(0.0, entry) for entry in short]
        return self._best(near, place, now_us=now_us) if near else None

    def _short(
        self, lanes: Sequence[Lane], place: Place, *, free: int, funds: Funds | None, most_us: int
    ) -> Iterator[Entry]:
        """Yield, for each lane that could start here, its first job that ends in time by its own time limit."""
        gpus = place.gpus_free
        for lane in lanes:
            if lane.seats > free or lane.gpus > gpus or not self._serves(place, lane):
                continue
            for entry in self._in_turn(lane):
                shape = self.shapes[entry[4]]
                if round(shape.timeout_seconds * 1e6) <= most_us and (funds is None or funds(shape, place) is None):
                    yield entry
                    break

    def _wanted(self, place: Place) -> ShapeNumber | None:
        """Return the shape of the job that the place is kept for, if that still waits."""
        number = place.reserved_for
        return self._shape_of.get(number) if number is not None and number in self._epochs else None

    def _unreserve(self, number: JobNumber | None) -> None:
        """Keep no place for a job any more."""
        if number is None or number not in self._reserved:
            return
        del self._shape_of[number]
        place = self.places.get(self._reserved.pop(number))
        if place is not None and place.reserved_for == number:
            place.reserved_for = None

    def _reserve(self, place: Place, job: Entry, *, now_us: int, funds: Funds | None) -> None:
        """Keep the place for a large job that has waited long, unless another is kept for it or has room sooner."""
        _, _, created_us, number, shape_number, *_ = job
        kept = self.places.get(self._reserved[number]) if number in self._reserved else None
        if kept is not None and not kept.open:
            self._unreserve(number)  # a draining factory asks for nothing, and would keep its seats for ever
        if place.reserved_for is not None or number in self._reserved:
            return
        if now_us - created_us < RESERVE_AFTER_SECONDS * 1e6:
            return
        shape = self.shapes[shape_number]
        mine = could_start_us(place, shape, now_us=now_us)
        others = (
            could_start_us(other, shape, now_us=now_us)
            for other in self.places.values()
            if other.open and other.reserved_for is None and self._takes(other, shape_number, funds=funds)
        )
        if mine > min(others, default=mine):
            return
        place.reserved_for = number
        self._reserved[number] = place.session
        self._shape_of[number] = shape_number

    def _takes(self, place: Place, number: ShapeNumber, *, funds: Funds | None) -> bool:
        """Whether a job of the shape could start there if there were room, going by the pools of its last claim."""
        pool = self.shapes[number].pool
        return (place.pools is None or pool in place.pools) and self.may_start(place, number, funds=funds)


def _standing(shape: Shape, place: Place, fit: float, weigh: Weights) -> float:
    """Return the terms of the score that stay the same for a lane at a place."""
    match = bool(shape.prefers_engine) and shape.prefers_engine in place.engines
    price = place.usd_per_hour
    cost = weigh.cost * cost_fit(usd=shape.cost.usd, usd_per_hour=price) if price is not None else 0.0
    return weigh.capability * fit + weigh.affinity * match / 2 + cost


def _gain(lane: Lane, place: Place, gains: dict[ProductId, float], *, now_us: int) -> float:
    """Return, and keep, the terms that all lanes of a product have in common at a place now, with a health of 1."""
    weigh = lane.weights
    familiar = weigh.affinity * (lane.product in place.familiar) / 2
    gain = familiar + weigh.load * (1.0 - place.load) + weigh.health + weigh.age * now_us / MINUTE_US
    gains[lane.product] = gain
    return gain


def _has_room(place: Place, shape: Shape) -> bool:
    return shape.seats <= place.seats_free and shape.gpus <= place.gpus_free
