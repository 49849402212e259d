"""The board: what waits, who has room, and which job goes where. It is memory only, rebuilt from the store by one scan.

    ready jobs ──► one heap per shape ─┐
                                       ├─► pick(session) ──► held by the session
    sessions with their free seats ────┘

Jobs of one shape differ only in priority and age, and their order never changes with time, so the best job for a
session is the best of the heads of the shapes it can run: no queue is ever searched.

A job that needs more seats than are free anywhere would wait for ever behind small ones. Once such a head has waited
`RESERVE_AFTER_SECONDS`, the session that can run it soonest keeps its seats for it, and other jobs start there only if
they end, by their own time limits, before the reserved one could begin (EASY backfilling, Lifka 1995).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

from pilothouse.fleet.claim import Ready
from pilothouse.fleet.job import Priority, Shape
from pilothouse.fleet.place import HeldJob, Place, could_start_us, suits
from pilothouse.fleet.score import DEFAULT, Weights, cost_fit
from pilothouse.ids import Epoch, JobNumber, ProductId, SessionNumber, ShapeNumber

RESERVE_AFTER_SECONDS = 300.0
_PRIORITIES = tuple(Priority)
_LOW = Priority.LOW.rank

Entry = tuple[float, int, int, JobNumber, Epoch, int, int]
"""The static order of a job (three parts), its number, epoch, marks and preemptions."""


Funds = Callable[[Shape, Place], str | None]
"""Why the budgets hold a shape back at a place now, or None."""
Candidate = tuple[float, int, int, Ready]
"""A job behind the key by which the best one is found: its score, priority and age."""


class Board:
    """Everything that scheduling looks at. One thread at a time."""

    def __init__(self) -> None:
        self.shapes: dict[ShapeNumber, Shape] = {}
        self.places: dict[SessionNumber, Place] = {}
        self.held: dict[JobNumber, HeldJob] = {}
        # Only shapes of which something waits have a heap, since every pick looks at all of these.
        self._heaps: dict[ShapeNumber, list[Entry]] = {}
        self._critical: dict[ShapeNumber, list[Entry]] = {}
        self._epochs: dict[JobNumber, Epoch] = {}
        self._shape_of: dict[JobNumber, ShapeNumber] = {}
        self._locks: dict[tuple[ProductId, str], JobNumber] = {}
        self._weights: dict[ProductId, Weights] = {}
        self._reserved: dict[JobNumber, SessionNumber] = {}
        self._late_marks: dict[JobNumber, int] = {}

    def __len__(self) -> int:
        """How many jobs may be claimed."""
        return len(self._epochs)

    # --- what waits

    def load(self, ready: Iterable[Ready]) -> None:
        """Take in the scan of a start; the shapes must be known."""
        lists: dict[ShapeNumber, list[Entry]] = {number: [] for number in self.shapes}
        by_age = {number: self.weights(shape.product).age / 60e6 for number, shape in self.shapes.items()}
        by_rank = {number: self._by_rank(shape.product) for number, shape in self.shapes.items()}
        epochs = self._epochs
        # A start reads millions: this is `static_order`, with what is the same for all of a shape taken out.
        for number, shape, priority, created_us, epoch, marks, preemptions in ready:
            epochs[number] = epoch
            order = by_age[shape] * created_us - by_rank[shape][priority]
            lists[shape].append((order, priority, created_us, number, epoch, marks, preemptions))
        for shape, entries in lists.items():
            _join(self._heaps, shape, entries)
            _join(self._critical, shape, [entry for entry in entries if entry[1] == 0])

    def _by_rank(self, product: ProductId) -> tuple[float, ...]:
        weight = self.weights(product).priority
        return tuple(weight * (_LOW - rank) for rank in range(len(_PRIORITIES)))

    def _entry(self, job: Ready) -> Entry:
        weigh = self.weights(self.shapes[job.shape].product)
        order = weigh.age / 60e6 * job.created_us - weigh.priority * (_LOW - job.priority)
        return (order, job.priority, job.created_us, job.number, job.epoch, job.marks, job.preemptions)

    def add(self, job: Ready) -> None:
        """Let a job wait, or note that it waits under another epoch or other marks; its shape must be known."""
        if self._epochs.get(job.number) == job.epoch:
            # Others wait for it now. Its entry lies somewhere in the heap, where looking for it would take too long.
            self._late_marks[job.number] = job.marks
            return
        self._epochs[job.number] = job.epoch
        entry = self._entry(job)
        heapq.heappush(self._heaps.setdefault(job.shape, []), entry)
        if job.priority == 0:
            self._first(self._critical, job.shape)  # which takes away what waits no longer
            heapq.heappush(self._critical.setdefault(job.shape, []), entry)

    def forget(self, number: JobNumber) -> None:
        """Let a job wait no longer, and nobody hold it."""
        self._epochs.pop(number, None)
        self._late_marks.pop(number, None)
        self.release(number)
        self._unreserve(number)

    def waiting(self) -> Iterator[tuple[ShapeNumber, int]]:
        """Yield how many entries each shape's heap has; some of them may be out of date."""
        for shape, heap in self._heaps.items():
            yield shape, len(heap)

    def head(self, shape: ShapeNumber) -> Ready | None:
        """Return the first job of a shape."""
        entry = self._first(self._heaps, shape)
        return None if entry is None else self._ready(entry, shape)

    def heads(self, shape: ShapeNumber, limit: int) -> list[Ready]:
        """Return the first few jobs of a shape in their order."""
        return self._several(self._heaps, shape, limit)

    def critical(self, shape: ShapeNumber, limit: int) -> list[Ready]:
        """Return the first few critical jobs of a shape, whatever older ones come before them."""
        return self._several(self._critical, shape, limit)

    def _first(self, heaps: dict[ShapeNumber, list[Entry]], shape: ShapeNumber) -> Entry | None:
        """Return the first entry of a heap that is up to date; those before it are taken away."""
        heap = heaps.get(shape)
        while heap:
            if self._epochs.get(heap[0][3]) == heap[0][4]:
                return heap[0]
            _pop(heaps, shape)
        return None

    def _several(self, heaps: dict[ShapeNumber, list[Entry]], shape: ShapeNumber, limit: int) -> list[Ready]:
        if self._first(heaps, shape) is None:
            return []
        current = (entry for entry in _in_order(heaps[shape]) if self._epochs.get(entry[3]) == entry[4])
        return [self._ready(entry, shape) for entry in islice(current, limit)]

    def _ready(self, entry: Entry, shape: ShapeNumber) -> Ready:
        _, rank, created, number, epoch, marks, preemptions = entry
        late = self._late_marks.get(number, marks) if self._late_marks else marks
        return Ready(number, shape, rank, created, epoch, late, preemptions)

    # --- weights

    def weights(self, product: ProductId) -> Weights:
        """Return the weights of a product."""
        return self._weights.get(product, DEFAULT)

    def set_weights(self, product: ProductId, weights: Weights) -> None:
        """Weigh a product's jobs anew, and sort what waits of it."""
        self._weights[product] = weights
        for number, heap in (*self._heaps.items(), *self._critical.items()):
            if self.shapes[number].product == product:
                heap[:] = [
                    self._entry(Ready(job, number, rank, created, epoch, marks, preemptions))
                    for _, rank, created, job, epoch, marks, preemptions in heap
                ]
                heapq.heapify(heap)

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
        self._epochs.pop(job.number, None)
        self.release(job.number)
        self.held[job.number] = job
        if job.shape.lock:
            self._locks[job.shape.product, job.shape.lock] = job.number
        place = self.places.get(job.session)
        if place is not None:
            place.put(job)
            place.familiar.add(job.shape.product)
        if self._late_marks:
            self._late_marks.pop(job.number, None)
        if self._reserved:
            self._unreserve(job.number)

    def release(self, number: JobNumber) -> HeldJob | None:
        """Note that nobody holds a job any more, so that nobody waits for its seats either; return what was held."""
        job = self.held.pop(number, None)
        if job is None:
            return None
        key = (job.shape.product, job.shape.lock)
        if self._locks.get(key) == number:
            del self._locks[key]
        place = self.places.get(job.session)
        if place is not None:
            place.drop(number)
        waiting = None if job.stops_for is None else self.held.get(job.stops_for)
        if waiting is not None:
            waiting.waits_for = tuple(victim for victim in waiting.waits_for if victim != number)
        for victim in job.waits_for:
            self._stop_for_nobody(victim)
        return job

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

    # --- who gets what

    def suits(self, place: Place, number: ShapeNumber) -> float | None:
        """Return how well a factory fits a shape, from 0 to 1, or None where it could never run it."""
        found = place.fits.get(number, -1.0)
        if found is None or found >= 0.0:
            return found
        place.fits[number] = suited = suits(place, self.shapes[number])
        return suited

    def score(self, job: Ready, place: Place, *, now_us: int, weights: Weights | None = None) -> float:
        """Return the score of a job at a place that suits it; the same sum as `fleet.score.score` has in its terms."""
        self.suits(place, job.shape)
        return self._score(job, place, load=place.load, now_us=now_us, weights=weights)

    def _score(self, job: Ready, place: Place, *, load: float, now_us: int, weights: Weights | None) -> float:
        """Return the score; the load is handed in, since it is one and the same for every shape that is looked at."""
        shape = self.shapes[job.shape]
        weigh = self._weights.get(shape.product, DEFAULT) if weights is None else weights
        match = bool(shape.prefers_engine) and shape.prefers_engine in place.engines
        price = place.usd_per_hour
        return (
            weigh.capability * (place.fits[job.shape] or 0.0)
            + weigh.affinity * ((shape.product in place.familiar) + match) / 2
            + weigh.load * (1.0 - load)
            + (weigh.cost * cost_fit(usd=shape.cost.usd, usd_per_hour=price) if price is not None else 0.0)
            + weigh.health * place.health.get(shape.engine, 1.0)
            + weigh.age * (now_us - job.created_us) / 60e6
            + weigh.priority * (_LOW - job.priority)
        )

    def pick(
        self,
        session: SessionNumber,
        *,
        seats: int,
        now_us: int,
        pools: Collection[str] | None = None,
        funds: Funds | None = None,
        weights: Weights | None = None,
    ) -> Ready | None:
        """Take the best job for the session, which then holds it; None when nothing that waits may start there now.

        `seats` are what the factory says it has free.
        """
        if seats <= 0:
            return None
        place = self.places[session]
        gpus = place.gpus_free
        free = min(seats, place.seats_free)
        best: Candidate | None = None
        large: Candidate | None = None
        eligible = list(self._eligible(place, pools=pools, funds=funds))
        alone = len(eligible) == 1
        load, room = place.load, place.seats_free
        for job, shape in eligible:
            total = 0.0 if alone else self._score(job, place, load=load, now_us=now_us, weights=weights)
            key = (-total, job.priority, job.created_us, job)
            if shape.seats > room or shape.gpus > gpus:
                large = key if large is None or key < large else large
            elif shape.seats <= free and (best is None or key < best):
                best = key
        if large is not None:
            self._reserve(place, large[3], now_us=now_us, funds=funds)
        if place.reserved_for is not None:
            best = self._around(place, best, eligible, free=free, gpus=gpus, now_us=now_us, funds=funds)
        if best is None:
            return None
        self._take(best[3], session, now_us=now_us)
        return best[3]

    def _eligible(
        self, place: Place, *, pools: Collection[str] | None, funds: Funds | None
    ) -> Iterator[tuple[Ready, Shape]]:
        """Yield the head of every shape that could run here if there were room."""
        if not place.open:
            return
        for number in list(self._heaps):
            shape = self.shapes[number]
            if (pools is not None and shape.pool not in pools) or not self.may_start(place, number, funds=funds):
                continue
            job = self.head(number)
            if job is not None:
                yield job, shape

    def may_start(self, place: Place, number: ShapeNumber, *, funds: Funds | None) -> bool:
        """Whether a job of the shape could start here now if there were room."""
        shape = self.shapes[number]
        suited = place.fits[number] if number in place.fits else self.suits(place, number)
        if suited is None:
            return False
        if (shape.lock and self.lock_holder(shape) is not None) or place.health.get(shape.engine, 1.0) <= 0.0:
            return False
        return funds is None or funds(shape, place) is None

    def _take(self, job: Ready, session: SessionNumber, *, now_us: int) -> None:
        _pop(self._heaps, job.shape)
        self.hold(
            HeldJob(
                number=job.number,
                epoch=Epoch(job.epoch + 1),
                shape=self.shapes[job.shape],
                shape_number=job.shape,
                priority=job.priority,
                created_us=job.created_us,
                claimed_us=now_us,
                marks=job.marks,
                preemptions=job.preemptions,
                session=session,
            )
        )

    # --- room for large jobs

    def _around(
        self,
        place: Place,
        best: Candidate | None,
        eligible: Sequence[tuple[Ready, Shape]],
        *,
        free: int,
        gpus: int,
        now_us: int,
        funds: Funds | None,
    ) -> Candidate | None:
        """Return the job that the place is kept for if there is room, else the best that leaves its room as it is.

        It stands for its whole shape: a more urgent job of the same needs may go before it. A reservation for a job
        that could not start here even with room is dropped, since nobody knows for how long it would be in vain; so is
        one for which there is room, while the factory says that it has less: it may say so for ever.
        """
        number = self._wanted(place)
        wanted = None if number is None else next((job for job, _ in eligible if job.shape == number), None)
        if number is None or (wanted is None and not self.may_start(place, number, funds=funds)):
            self._unreserve(place.reserved_for)
            place.reserved_for = None
            return best
        shape = self.shapes[number]
        if wanted is not None and _has_room(place, shape):
            if shape.seats <= free:
                return self._candidate(wanted, place, now_us=now_us)
            self._unreserve(place.reserved_for)
            return best
        start_us = could_start_us(place, shape, now_us=now_us)
        short = [
            self._candidate(job, place, now_us=now_us)
            for job, its in eligible
            if its.seats <= free and its.gpus <= gpus and now_us + round(its.timeout_seconds * 1e6) <= start_us
        ]
        return min(short, default=None)

    def _candidate(self, job: Ready, place: Place, *, now_us: int) -> Candidate:
        return (-self.score(job, place, now_us=now_us), job.priority, job.created_us, job)

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

    def _reserve(self, place: Place, job: Ready, *, now_us: int, funds: Funds | None) -> None:
        """Keep the place for a large job that has waited long, unless another is kept for it or has room sooner."""
        kept = self.places.get(self._reserved[job.number]) if job.number in self._reserved else None
        if kept is not None and not kept.open:
            self._unreserve(job.number)  # a draining factory asks for nothing, and would keep its seats for ever
        if place.reserved_for is not None or job.number in self._reserved:
            return
        if now_us - job.created_us < RESERVE_AFTER_SECONDS * 1e6:
            return
        shape = self.shapes[job.shape]
        mine = could_start_us(place, shape, now_us=now_us)
        others = (
            could_start_us(other, shape, now_us=now_us)
            for other in self.places.values()
            if other.open and other.reserved_for is None and self._takes(other, job.shape, funds=funds)
        )
        if mine > min(others, default=mine):
            return
        place.reserved_for = job.number
        self._reserved[job.number] = place.session
        self._shape_of[job.number] = job.shape

    def _takes(self, place: Place, number: ShapeNumber, *, funds: Funds | None) -> bool:
        """Whether a job of the shape could start there if there were room, going by the pools of its last claim."""
        pool = self.shapes[number].pool
        return (place.pools is None or pool in place.pools) and self.may_start(place, number, funds=funds)


def _join(heaps: dict[ShapeNumber, list[Entry]], shape: ShapeNumber, entries: list[Entry]) -> None:
    if entries:
        heap = heaps.setdefault(shape, [])
        heap += entries
        heapq.heapify(heap)


def _pop(heaps: dict[ShapeNumber, list[Entry]], shape: ShapeNumber) -> None:
    """Take the first entry away, and the heap with its last one."""
    heap = heaps[shape]
    heapq.heappop(heap)
    if not heap:
        del heaps[shape]


def _in_order(heap: Sequence[Entry]) -> Iterator[Entry]:
    """Yield the entries of a heap in their order; each costs the same, however many there are."""
    around = [(heap[0], 0)]
    while around:
        entry, position = heapq.heappop(around)
        yield entry
        for below in (2 * position + 1, 2 * position + 2):
            if below < len(heap):
                heapq.heappush(around, (heap[below], below))


def _has_room(place: Place, shape: Shape) -> bool:
    return shape.seats <= place.seats_free and shape.gpus <= place.gpus_free
