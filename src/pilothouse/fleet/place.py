"""The places on the board: sessions that may take work, and the jobs that they hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from pilothouse.fleet.capability import Offer, fit, parse, unmet
from pilothouse.fleet.factory import free
from pilothouse.fleet.job import Shape
from pilothouse.ids import Epoch, FactoryName, JobId, JobNumber, ProductId, SessionNumber, ShapeNumber

EVERY_PRODUCT = ProductId("*")
"""The product of a factory that serves all of them."""
FITS_MAX = 10_000
"""How many pairs of requirements and offers are remembered; a fleet has few kinds of factories, and of jobs."""
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(slots=True, kw_only=True)
class Place:
    """An open session that may take work: what its factory offers, and what is taken there.

    `fits` has, by the numbers of lanes, how well the factory fits, and the part of the score that stays the same until
    the factory or the weights change; it is emptied when they do. A lane that could never run here has None.
    """

    session: SessionNumber
    factory: FactoryName
    product: ProductId
    offer: Offer
    engines: frozenset[str]
    seats: int
    gpus: int
    usd_per_hour: float | None = None
    open: bool = True
    seats_taken: int = 0
    gpus_taken: int = 0
    stopping: int = 0
    health: dict[str, float] = field(default_factory=dict)
    held: dict[JobNumber, HeldJob] = field(default_factory=dict)
    familiar: set[ProductId] = field(default_factory=set)
    reserved_for: JobNumber | None = None
    pools: Collection[str] | None = None
    heard_us: int = 0
    fits: dict[int, tuple[float, float] | None] = field(default_factory=dict)

    @property
    def seats_free(self) -> int:
        """Seats that nobody holds or waits for: a victim's are its own while it stops, and then its preemptor's."""
        if not self.stopping:
            return self.seats - self.seats_taken
        return free(self.seats, [(job.number, job.shape.seats, job.stops_for) for job in self.held.values()])

    @property
    def gpus_free(self) -> int:
        """GPUs that nobody holds or waits for."""
        if not self.stopping:
            return self.gpus - self.gpus_taken
        return free(self.gpus, [(job.number, job.shape.gpus, job.stops_for) for job in self.held.values()])

    def put(self, job: HeldJob) -> None:
        """Count what a job takes."""
        self.held[job.number] = job
        self.seats_taken += job.shape.seats
        self.gpus_taken += job.shape.gpus
        self.stopping += job.stops_for is not None

    def drop(self, job: HeldJob) -> None:
        """Count what a job gives back."""
        if self.held.pop(job.number, None) is not None:
            self.seats_taken -= job.shape.seats
            self.gpus_taken -= job.shape.gpus
            self.stopping -= job.stops_for is not None

    @property
    def load(self) -> float:
        """The share of the seats that is taken, from 0 to 1."""
        return min(1.0, max(0.0, 1.0 - self.seats_free / self.seats)) if self.seats else 1.0


@dataclass(slots=True)
class HeldJob:
    """A job that a session holds. Times are in microseconds since 1970."""

    number: JobNumber
    epoch: Epoch
    shape: Shape
    shape_number: ShapeNumber
    priority: int
    created_us: int
    claimed_us: int
    marks: int
    session: SessionNumber
    preemptions: int = 0
    id: JobId | None = None
    building: bool = False
    checkpoint_us: int | None = None
    checkpoint_step: int | None = None
    stop_us: int | None = None
    heard_us: int | None = None
    stops_for: JobNumber | None = None
    waits_for: tuple[JobNumber, ...] = ()

    def shift(self, moved_us: int) -> None:
        """Move its times along with a clock that was moved."""
        self.claimed_us += moved_us
        for name in ("checkpoint_us", "stop_us", "heard_us"):
            time_us = getattr(self, name)
            if time_us is not None:
                setattr(self, name, time_us + moved_us)

    @property
    def deadline_us(self) -> int:
        """When its own time limit ends it at the latest."""
        return self.claimed_us + round(self.shape.timeout_seconds * 1e6)


def microseconds(time: datetime) -> int:
    """Return a time as microseconds since 1970, the whole numbers that the board counts in."""
    return (time - _BEGIN) // _MICROSECOND


def suits(place: Place, shape: Shape) -> float | None:
    """Return how well a factory fits a shape, from 0 to 1, or None where it could never run it."""
    if place.product not in {EVERY_PRODUCT, shape.product}:
        return None
    if shape.seats > place.seats or shape.gpus > place.gpus:
        return None
    if shape.engine and shape.engine not in place.engines:
        return None
    return _fit(shape.requires, place.offer)


@lru_cache(maxsize=FITS_MAX)
def _fit(requires: tuple[str, ...], offer: Offer) -> float | None:
    asked = tuple(parse(text) for text in requires)
    return None if unmet(asked, offer) else fit(asked, offer)


def could_start_us(place: Place, shape: Shape, *, now_us: int) -> int:
    """Return when enough seats and GPUs will be free at the latest, by the time limits of what runs there."""
    seats, gpus = place.seats_free, place.gpus_free
    when = now_us
    for job in sorted(place.held.values(), key=lambda held: (held.deadline_us, held.number)):
        if seats >= shape.seats and gpus >= shape.gpus:
            break
        if job.stops_for is None:
            seats, gpus, when = seats + job.shape.seats, gpus + job.shape.gpus, max(now_us, job.deadline_us)
    return when
