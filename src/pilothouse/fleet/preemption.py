"""Who makes room for a critical job, and when nobody does.

One factory is chosen and the whole set of its victims at once, so that evicting and assigning can be one transaction.
Among the sets that truly make room the one that loses least work is taken; what was saved in a checkpoint is not lost.
No job is preempted for ever: only a critical job preempts, only a strictly lower priority yields, every attempt may run
its minimum time, and a job that has yielded `PREEMPTIONS_MAX` times runs to its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pilothouse.fleet.job import Priority
from pilothouse.ids import FactoryName, JobNumber

PREEMPTIONS_MAX = 3
"""How often one job yields. Each time costs at most the work since a checkpoint and one start, so a job of any length
needs at most four attempts; a higher number buys critical jobs little, since another victim is usually there."""

EXACT_WORK_MAX = 20_000
"""Candidates times states that the exact search may visit on one factory, about 40 ms; beyond it the search is greedy.
Twelve candidates for a job of 64 seats with 8 GPUs need 7,020."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A job that waits; `factories` are those that could run it if they were empty."""

    job: JobNumber
    priority: Priority
    seats: int
    gpus: int
    factories: Collection[FactoryName]

    def __post_init__(self) -> None:
        assert self.seats >= 0, f"seats are counted from 0, got {self.seats}"
        assert self.gpus >= 0, f"GPUs are counted from 0, got {self.gpus}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A job that holds seats, with the priority that was stamped when they were assigned.

    `lost_seconds` is the time since its last checkpoint. `stopping` ones make room for somebody already.
    """

    job: JobNumber
    priority: Priority
    seats: int
    gpus: int
    factory: FactoryName
    running_seconds: float
    lost_seconds: float
    min_running_seconds: float = 0.0
    preemptions: int = 0
    stopping: bool = False

    def __post_init__(self) -> None:
        assert self.running_seconds >= 0, f"a job runs forward, got {self.running_seconds}"
        assert 0 <= self.lost_seconds < float("inf"), f"lost work is a number of seconds, got {self.lost_seconds}"

    @property
    def lost_seat_milliseconds(self) -> int:
        """The work that stopping it now would lose; an integer, so that sums do not depend on their order."""
        return self.seats * round(1000 * self.lost_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is free on a factory, without what is reserved for a job that waits for its victims."""

    factory: FactoryName
    seats: int
    gpus: int

    def fits(self, wanted: Wanted) -> bool:
        """Whether the job could start here now."""
        return self.seats >= wanted.seats and self.gpus >= wanted.gpus


class Spare(StrEnum):
    """Why a running job is no candidate."""

    NOT_LOWER = "not_lower"
    STOPPING = "stopping"
    TOO_YOUNG = "too_young"
    PREEMPTED_OFTEN = "preempted_often"


class Why(StrEnum):
    """Why nobody is evicted."""

    NOT_CRITICAL = "not_critical"
    ROOM_FREE = "room_free"
    NO_FACTORY = "no_factory"
    NOT_ENOUGH = "not_enough"


@dataclass(frozen=True, slots=True, kw_only=True)
class Eviction:
    """The victims, all on one factory, whose seats go to the wanted job; in the order of their numbers."""

    job: JobNumber
    factory: FactoryName
    victims: tuple[Running, ...]

    @property
    def lost_seat_seconds(self) -> float:
        """The work since the victims' checkpoints, which has to be done again."""
        return sum(victim.lost_seat_milliseconds for victim in self.victims) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class NoEviction:
    """Everything stays; `spared` counts the jobs on capable factories that may not be stopped, by the reason."""

    why: Why
    spared: Mapping[Spare, int]

    @property
    def detail(self) -> str:
        """One sentence for a person."""
        if self.why is not Why.NOT_ENOUGH or not self.spared:
            return SENTENCES[self.why]
        spared = ", ".join(f"{count} {SPARED[spare]}" for spare, count in sorted(self.spared.items()))
        return f"{SENTENCES[self.why]} ({spared})"


SENTENCES: Mapping[Why, str] = {
    Why.NOT_CRITICAL: "only a critical job may preempt",
    Why.ROOM_FREE: "there is room without evicting anybody",
    Why.NO_FACTORY: "no live factory could run it, however empty",
    Why.NOT_ENOUGH: "evicting every job that may be stopped would still not make room",
}
SPARED: Mapping[Spare, str] = {
    Spare.NOT_LOWER: "not of lower priority",
    Spare.STOPPING: "stopping already",
    Spare.TOO_YOUNG: "younger than their minimum running time",
    Spare.PREEMPTED_OFTEN: "preempted as often as a job may be",
}


def plan(
    wanted: Wanted,
    running: Iterable[Running],
    rooms: Iterable[Room],
    *,
    preemptions_max: int = PREEMPTIONS_MAX,
) -> Eviction | NoEviction:
    """Return whom to evict so that the wanted job fits on one factory, or why nobody is."""
    if wanted.priority is not Priority.CRITICAL:
        return NoEviction(why=Why.NOT_CRITICAL, spared={})
    able = sorted((room for room in rooms if room.factory in wanted.factories), key=lambda room: room.factory)
    if not able:
        return NoEviction(why=Why.NO_FACTORY, spared={})
    if any(room.fits(wanted) for room in able):
        return NoEviction(why=Why.ROOM_FREE, spared={})
    candidates: dict[FactoryName, list[Running]] = {room.factory: [] for room in able}
    spared: Counter[Spare] = Counter()
    for job in running:
        if job.factory in candidates:
            spare = spare_of(job, wanted=wanted, preemptions_max=preemptions_max)
            if spare is None:
                candidates[job.factory].append(job)
            else:
                spared[spare] += 1
    weigh = _weights([job for jobs in candidates.values() for job in jobs])
    sets = [victims for room in able if (victims := _cheapest(wanted, room, candidates[room.factory], weigh))]
    if not sets:
        return NoEviction(why=Why.NOT_ENOUGH, spared=dict(spared))
    best = min(sets, key=lambda victims: sum(weigh[job.job] for job in victims))
    return Eviction(job=wanted.job, factory=best[0].factory, victims=tuple(sorted(best, key=lambda job: job.job)))


def spare_of(job: Running, *, wanted: Wanted, preemptions_max: int = PREEMPTIONS_MAX) -> Spare | None:
    """Return why the running job may not be stopped for the wanted one, or None when it may."""
    if job.priority.rank <= wanted.priority.rank:
        return Spare.NOT_LOWER
    if job.stopping:
        return Spare.STOPPING
    if job.running_seconds < job.min_running_seconds:
        return Spare.TOO_YOUNG
    if job.preemptions >= preemptions_max:
        return Spare.PREEMPTED_OFTEN
    return None


Weights = Mapping[JobNumber, int]


def _weights(candidates: Sequence[Running]) -> Weights:
    """Return one number per candidate; the set with the smallest sum is the one to evict.

    The number has three fields, the weightiest first: the lost work; one counter per priority, the most urgent first;
    and one bit per job, the oldest first. So sums compare the lost work, then the urgency of the worst victims, then
    their age, and no two sets weigh the same. Every job adds weight, so the lightest set has no needless victim.
    """
    newest_first = sorted(candidates, key=lambda job: (job.running_seconds, -job.job))
    count = len(newest_first)
    counter_bits = count.bit_length()
    weights: dict[JobNumber, int] = {}
    for age, job in enumerate(newest_first):
        urgency = 1 << (counter_bits * (len(Priority) - 1 - job.priority.rank))
        lost = job.lost_seat_milliseconds << (counter_bits * len(Priority))
        weights[job.job] = ((lost + urgency) << count) + (1 << age)
    return weights


def _cheapest(wanted: Wanted, room: Room, candidates: Sequence[Running], weigh: Weights) -> Sequence[Running]:
    """Return the lightest set that makes room on this factory, empty when there is none."""
    seats, gpus = max(0, wanted.seats - room.seats), max(0, wanted.gpus - room.gpus)
    if sum(job.seats for job in candidates) < seats or sum(job.gpus for job in candidates) < gpus:
        return ()
    if len(candidates) * (seats + 1) * (gpus + 1) > EXACT_WORK_MAX:
        return _greedy(seats, gpus, candidates, weigh)
    return _exact(seats, gpus, candidates, weigh)


def _exact(seats: int, gpus: int, candidates: Sequence[Running], weigh: Weights) -> Sequence[Running]:
    """Return the lightest covering set, by way of the lightest set for every number of seats and GPUs still missing."""
    best: dict[tuple[int, int], tuple[int, tuple[Running, ...]]] = {(seats, gpus): (0, ())}
    for job in candidates:
        own = weigh[job.job]
        for (seats_missing, gpus_missing), (weight, victims) in list(best.items()):
            state = (max(0, seats_missing - job.seats), max(0, gpus_missing - job.gpus))
            if state not in best or weight + own < best[state][0]:
                best[state] = (weight + own, (*victims, job))
    return best[0, 0][1]


def _greedy(seats: int, gpus: int, candidates: Sequence[Running], weigh: Weights) -> Sequence[Running]:
    """Return a minimal covering set: the least weight per useful seat and GPU first, then without the needless."""

    def useful(job: Running) -> int:
        return min(job.seats, seats) + min(job.gpus, gpus)

    taken: list[Running] = []
    for job in sorted(filter(useful, candidates), key=lambda job: weigh[job.job] // useful(job)):
        if seats <= 0 and gpus <= 0:
            break
        taken.append(job)
        seats, gpus = seats - job.seats, gpus - job.gpus
    needed: list[Running] = []
    for job in reversed(taken):
        if seats + job.seats <= 0 and gpus + job.gpus <= 0:
            seats, gpus = seats + job.seats, gpus + job.gpus
        else:
            needed.append(job)
    return needed
