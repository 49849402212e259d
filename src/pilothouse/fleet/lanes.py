"""What waits, in the order in which it is to be served.

    a job ──► the queue of its shape ──► the gate of its lock, ──► the lane of all shapes that a
              a heap of jobs             if it needs one           place cannot tell apart

Shapes of one lane differ only in their locks and in their times, so at every place their jobs differ in priority and
age alone, and the order of these never changes with time. A pick therefore looks at the first job of each lane, and
ten thousand jobs of which each has a lock or a time limit of its own cost it no more than ten thousand that are alike.

Gates and lanes are heaps of the first job of what is before them. A gate is not listed in its lane while its lock is
held. What is listed may be out of date; that shows when it comes to the front, and then it is put right.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from typing import TypeAlias

from pilothouse.fleet.claim import Ready
from pilothouse.fleet.job import Priority, Shape
from pilothouse.fleet.score import DEFAULT, Weights
from pilothouse.ids import Epoch, JobNumber, ProductId, ShapeNumber

_PRIORITIES = tuple(Priority)
LOW = Priority.LOW.rank
MINUTE_US = 60e6

Entry: TypeAlias = tuple[float, int, int, JobNumber, ShapeNumber, Epoch, int, int]
"""The static order of a job (three parts), its number, shape, epoch, marks and preemptions."""
Lock: TypeAlias = tuple[ProductId, str]


class Lane:
    """The shapes that place and score alike, of which `shape` is one; its heap has the first job of each.

    It is `clean` while its first entry is known to wait and to have its lock free.
    """

    __slots__ = ("clean", "engine", "gpus", "heap", "number", "pool", "product", "seats", "shape", "weights")

    def __init__(self, number: int, shape: Shape, weights: Weights) -> None:
        self.number = number
        self.shape = shape
        self.product = shape.product
        self.pool = shape.pool
        self.seats = shape.seats
        self.gpus = shape.gpus
        self.engine = shape.engine
        self.weights = weights
        self.heap: list[Entry] = []
        self.clean = False


class Gate:
    """The queues of one lane that need one lock; its heap has the first job of each.

    `listed` is the entry by which the lane knows it, none if it was looked for there while the lock was held.
    """

    __slots__ = ("heap", "lane", "listed", "lock")

    def __init__(self, lock: Lock, lane: Lane) -> None:
        self.lock = lock
        self.lane = lane
        self.heap: list[Entry] = []
        self.listed: Entry | None = None


class Queue:
    """The jobs of one shape; `listed` is the entry by which its lane knows it, or its gate if it needs a lock."""

    __slots__ = ("gate", "heap", "lane", "listed", "number", "shape")

    def __init__(self, number: ShapeNumber, shape: Shape, lane: Lane, gate: Gate | None) -> None:
        self.number = number
        self.shape = shape
        self.lane = lane
        self.gate = gate
        self.heap: list[Entry] = []
        self.listed: Entry | None = None


class Lanes:
    """Every job that may be claimed. One thread at a time."""

    def __init__(self) -> None:
        self.shapes: dict[ShapeNumber, Shape] = {}
        self._epochs: dict[JobNumber, Epoch] = {}
        self._late_marks: dict[JobNumber, int] = {}
        self._weights: dict[ProductId, Weights] = {}
        self._heaviest = max(DEFAULT.as_numbers())
        self._locks: dict[Lock, JobNumber] = {}
        self._queues: dict[ShapeNumber, Queue] = {}
        self._lanes: dict[tuple[object, ...], Lane] = {}
        # Only queues and lanes in which something waits are looked at.
        self._busy: dict[ShapeNumber, Queue] = {}
        self._open: dict[int, Lane] = {}
        self._critical: dict[ShapeNumber, list[Entry]] = {}
        self._gates: dict[Lock, dict[int, Gate]] = {}

    def __len__(self) -> int:
        """How many jobs may be claimed."""
        return len(self._epochs)

    # --- coming and going

    def load(self, ready: Iterable[Ready]) -> None:
        """Take in the scan of a start; the shapes must be known."""
        lists: dict[ShapeNumber, list[Entry]] = {number: [] for number in self.shapes}
        by_age = {number: self.weights(shape.product).age / MINUTE_US for number, shape in self.shapes.items()}
        by_rank = {number: self._by_rank(shape.product) for number, shape in self.shapes.items()}
        epochs = self._epochs
        # A start reads millions: this is `static_order`, with what is the same for all of a shape taken out.
        for number, shape, priority, created_us, epoch, marks, preemptions in ready:
            epochs[number] = epoch
            order = by_age[shape] * created_us - by_rank[shape][priority]
            lists[shape].append((order, priority, created_us, number, shape, epoch, marks, preemptions))
        for shape, entries in lists.items():
            if entries:
                self._join(self._queue(shape), entries)

    def _join(self, queue: Queue, entries: list[Entry]) -> None:
        queue.heap += entries
        heapq.heapify(queue.heap)
        self._busy[queue.number] = queue
        critical = [entry for entry in entries if entry[1] == 0]
        if critical:
            heap = self._critical.setdefault(queue.number, [])
            heap += critical
            heapq.heapify(heap)
        queue.listed = None
        self._list(queue)

    def _by_rank(self, product: ProductId) -> tuple[float, ...]:
        weight = self.weights(product).priority
        return tuple(weight * (LOW - rank) for rank in range(len(_PRIORITIES)))

    def _entry(self, job: Ready) -> Entry:
        number, shape, priority, created_us, epoch, marks, preemptions = job
        weigh = self._weights.get(self.shapes[shape].product, DEFAULT)
        order = weigh.age / MINUTE_US * created_us - weigh.priority * (LOW - priority)
        return (order, priority, created_us, number, shape, epoch, marks, preemptions)

    def add(self, job: Ready) -> None:
        """Let a job wait, or note that it waits under another epoch or other marks; its shape must be known."""
        known = self._epochs.get(job.number)
        if known == job.epoch:
            # Others wait for it now. Its entry lies somewhere in the heap, where looking for it would take too long.
            self._late_marks[job.number] = job.marks
            return
        if known is not None:
            self._doubt()
        self._epochs[job.number] = job.epoch
        entry = self._entry(job)
        queue = self._queues.get(job.shape) or self._queue(job.shape)
        heapq.heappush(queue.heap, entry)
        self._busy[job.shape] = queue
        if queue.listed is None:
            self._list(queue)
        elif entry < queue.listed:
            self._put(queue, entry)
        if job.priority == 0:
            self._first_critical(job.shape)  # which takes away what waits no longer
            heapq.heappush(self._critical.setdefault(job.shape, []), entry)

    def _queue(self, number: ShapeNumber) -> Queue:
        """Return the queue of a shape; its lane is made with the first of its shapes."""
        queue = self._queues.get(number)
        if queue is None:
            shape = self.shapes[number]
            place = (shape.product, shape.pool, shape.seats, shape.gpus)
            fits = (shape.requires, shape.engine, shape.prefers_engine, shape.cost.usd)
            lane = self._lanes.get((*place, *fits))
            if lane is None:
                lane = self._lanes[(*place, *fits)] = Lane(len(self._lanes), shape, self.weights(shape.product))
            gate = self._gate((shape.product, shape.lock), lane) if shape.lock else None
            queue = self._queues[number] = Queue(number, shape, lane, gate)
        return queue

    def _gate(self, lock: Lock, lane: Lane) -> Gate:
        gates = self._gates.setdefault(lock, {})
        return gates.get(lane.number) or gates.setdefault(lane.number, Gate(lock, lane))

    # --- what is listed

    def _list(self, queue: Queue) -> None:
        """List the first job of a queue that is not listed."""
        first = self._first(queue)
        if first is not None:
            self._put(queue, first)

    def _put(self, queue: Queue, entry: Entry) -> None:
        queue.listed = entry
        gate = queue.gate
        if gate is None:
            self._push(queue.lane, entry)
            return
        heapq.heappush(gate.heap, entry)
        if gate.lock not in self._locks and (gate.listed is None or entry < gate.listed):
            gate.listed = entry
            self._push(gate.lane, entry)

    def _push(self, lane: Lane, entry: Entry) -> None:
        heapq.heappush(lane.heap, entry)
        self._open[lane.number] = lane

    def _admit(self, gate: Gate) -> None:
        """List the first job behind a gate if its lock is free; what is out of date there is put right."""
        heap = gate.heap
        while heap and gate.lock not in self._locks:
            entry = heap[0]
            queue = self._queues[entry[4]]
            if queue.listed is entry and self._epochs.get(entry[3]) == entry[5]:
                if gate.listed is not entry:
                    gate.listed = entry
                    self._push(gate.lane, entry)
                return
            heapq.heappop(heap)
            if queue.listed is entry:
                queue.listed = first = self._first(queue)
                if first is not None:
                    heapq.heappush(heap, first)

    def _unlock(self, lock: Lock) -> None:
        """Free a lock, and list what waits for it."""
        del self._locks[lock]
        for gate in self._gates.get(lock, {}).values():
            self._admit(gate)

    def _doubt(self, lock: Lock | None = None) -> None:
        """Look again at the first job of each lane: something was taken away from the middle, or a lock was taken."""
        lanes = self._open.values() if lock is None else (gate.lane for gate in self._gates.get(lock, {}).values())
        for lane in lanes:
            lane.clean = False

    def _first(self, queue: Queue) -> Entry | None:
        """Return the first entry of a queue that is up to date; those before it are taken away."""
        heap = queue.heap
        while heap:
            if self._epochs.get(heap[0][3]) == heap[0][5]:
                return heap[0]
            heapq.heappop(heap)
        self._busy.pop(queue.number, None)
        return None

    def _front(self, lane: Lane) -> Entry | None:
        """Return the first job of a lane that waits and whose lock is free; what is out of date is put right."""
        heap = lane.heap
        while heap:
            entry = heap[0]
            queue = self._queues[entry[4]]
            gate = queue.gate
            told = queue if gate is None else gate
            if told.listed is not entry:
                heapq.heappop(heap)  # a better one was listed after it
            elif self._epochs.get(entry[3]) == entry[5] and (gate is None or gate.lock not in self._locks):
                lane.clean = True
                return entry
            else:
                heapq.heappop(heap)
                told.listed = None
                if gate is None:
                    self._list(queue)
                else:
                    self._admit(gate)
        self._open.pop(lane.number, None)
        return None

    def _in_turn(self, lane: Lane) -> Iterator[Entry]:
        """Yield the first job of each queue of a lane in their order, without those whose lock is held."""
        around: list[tuple[Entry, int, list[Entry], int]] = []
        serials = count()

        def see(heap: list[Entry], position: int) -> None:
            if position < len(heap):
                heapq.heappush(around, (heap[position], next(serials), heap, position))

        see(lane.heap, 0)
        while around:
            entry, _, heap, position = heapq.heappop(around)
            see(heap, 2 * position + 1)
            see(heap, 2 * position + 2)
            queue = self._queues[entry[4]]
            gate = queue.gate
            if gate is not None and heap is lane.heap:
                if gate.listed is entry and gate.lock not in self._locks:
                    see(gate.heap, 0)
            elif (queue.listed is entry or len(heap) == 1) and self._epochs.get(entry[3]) == entry[5]:
                yield entry
            elif queue.listed is entry and (first := self._first(queue)) is not None:
                see([first], 0)  # what is listed is out of date, and this comes behind it

    def _serve(self, entry: Entry) -> Queue:
        """Take the first job of a queue away, and list the one after it unless it waits for the lock of this one."""
        queue = self._queues[entry[4]]
        lane, gate = queue.lane, queue.gate
        heapq.heappop(queue.heap)
        del self._epochs[entry[3]]
        queue.listed = first = self._first(queue)
        if gate is not None:
            _replace(gate.heap, entry, first)
            gate.listed = first = None
        _replace(lane.heap, entry, first)
        lane.clean = first is not None and lane.heap[0] is first
        if not lane.heap:
            del self._open[lane.number]
        return queue

    # --- looking at what waits

    def waiting(self) -> Iterator[tuple[ShapeNumber, int]]:
        """Yield how many entries each shape's heap has; some of them may be out of date."""
        for number, queue in self._busy.items():
            yield number, len(queue.heap)

    def head(self, shape: ShapeNumber) -> Ready | None:
        """Return the first job of a shape."""
        found = self.heads(shape, 1)
        return found[0] if found else None

    def heads(self, shape: ShapeNumber, limit: int) -> list[Ready]:
        """Return the first few jobs of a shape in their order."""
        queue = self._queues.get(shape)
        return [] if queue is None or self._first(queue) is None else self._several(queue.heap, limit)

    def critical(self, shape: ShapeNumber, limit: int) -> list[Ready]:
        """Return the first few critical jobs of a shape, whatever older ones come before them."""
        self._first_critical(shape)
        return self._several(self._critical.get(shape, ()), limit)

    def critical_shapes(self) -> list[ShapeNumber]:
        """Return the shapes of which critical jobs wait; of some there may be none any more."""
        return sorted(self._critical)

    def _first_critical(self, shape: ShapeNumber) -> None:
        heap = self._critical.get(shape)
        while heap and self._epochs.get(heap[0][3]) != heap[0][5]:
            heapq.heappop(heap)
        if heap is not None and not heap:
            del self._critical[shape]

    def _several(self, heap: Sequence[Entry], limit: int) -> list[Ready]:
        current = (entry for entry in _in_order(heap) if self._epochs.get(entry[3]) == entry[5])
        return [self._ready(entry) for entry in islice(current, limit)]

    def _ready(self, entry: Entry) -> Ready:
        _, rank, created, number, shape, epoch, marks, preemptions = entry
        return Ready(number, shape, rank, created, epoch, self._late_marks.get(number, marks), preemptions)

    # --- weights

    def weights(self, product: ProductId) -> Weights:
        """Return the weights of a product."""
        return self._weights.get(product, DEFAULT)

    def set_weights(self, product: ProductId, weights: Weights) -> None:
        """Weigh a product's jobs anew, and sort what waits of it."""
        self._weights[product] = weights
        self._heaviest = max(self._heaviest, *weights.as_numbers())
        for lane in self._lanes.values():
            if lane.product == product:
                lane.weights = weights
                lane.heap.clear()
                lane.clean = False
        for lock, gates in self._gates.items():
            if lock[0] == product:
                for gate in gates.values():
                    gate.heap.clear()
                    gate.listed = None
        for number, heap in self._critical.items():
            if self.shapes[number].product == product:
                self._sort(heap)
        for queue in list(self._queues.values()):
            if queue.shape.product == product:
                self._sort(queue.heap)
                queue.listed = None
                self._list(queue)

    def _sort(self, heap: list[Entry]) -> None:
        heap[:] = [
            self._entry(Ready(number, shape, rank, created, epoch, marks, preemptions))
            for _, rank, created, number, shape, epoch, marks, preemptions in heap
        ]
        heapq.heapify(heap)


def _in_order(heap: Sequence[Entry]) -> Iterator[Entry]:
    """Yield the entries of a heap in their order; each costs the same, however many there are."""
    around = [(heap[0], 0)] if heap else []
    while around:
        entry, position = heapq.heappop(around)
        yield entry
        for below in (2 * position + 1, 2 * position + 2):
            if below < len(heap):
                heapq.heappush(around, (heap[below], below))


def _replace(heap: list[Entry], entry: Entry, by: Entry | None) -> None:
    """Put one entry in the place of another; the old one stays, out of date, if it is not the first."""
    if heap[0] is not entry:
        if by is not None:
            heapq.heappush(heap, by)
    elif by is not None:
        heapq.heapreplace(heap, by)
    else:
        heapq.heappop(heap)
