"""Gather what `fleet.explain` needs to say why a job stands where it stands, from the store and the engine's memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from pilothouse.engine.scheduler import Scheduler
from pilothouse.fleet.board import Board
from pilothouse.fleet.budget import Held, Hold
from pilothouse.fleet.capability import Offer
from pilothouse.fleet.claim import Ready
from pilothouse.fleet.explain import Ahead, Explanation, FactoryView, JobView, Waited, ahead_of, explain
from pilothouse.fleet.factory import Factory, FactoryState, admits
from pilothouse.fleet.job import Job, Priority, Shape
from pilothouse.fleet.place import EVERY_PRODUCT, Place, microseconds
from pilothouse.fleet.score import JobFacts, Weights
from pilothouse.fleet.stages import ENDS
from pilothouse.ids import FactoryName, JobId, JobNumber, SessionNumber
from pilothouse.ports.store import Transaction
from pilothouse.web.parts import Parts

RIVALS_MAX = 20
"""How many waiting jobs of each shape are weighed against the job."""
ANYWHERE = FactoryName("anywhere")
"""The factory at which a budget is asked about that is the same at each."""
ANOTHERS = JobId("another-products")
"""What is told of a job that belongs to another product."""
_LASTING = frozenset({Hold.PAUSED, Hold.EXHAUSTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The job that is asked about, as it is stored."""

    job: Job
    shape: Shape
    waits_for: tuple[Waited, ...]
    end: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the engine's memory says; jobs are known by number there."""

    views: tuple[FactoryView, ...]
    reserved: tuple[JobNumber | None, ...]
    best: tuple[JobNumber | None, ...]
    lock_holder: JobNumber | None
    budget: Held | None
    weights: Weights


async def explained(parts: Parts, asked: Asked, *, now: datetime) -> Explanation:
    """Return why the job stands where it stands."""
    found = await parts.engine.look_async(lambda scheduler: remembered(scheduler, asked, now=now))
    numbers = {*found.reserved, *found.best, found.lock_holder} - {None}
    ids = await parts.read(lambda tx: {each: _id(tx, each, asked.job) for each in numbers if each is not None})

    def named(number: JobNumber | None) -> JobId | None:
        return None if number is None else ids[number]

    views = [
        replace(view, reserved_for=named(reserved), ahead=replace(view.ahead, best=named(best)))
        for view, reserved, best in zip(found.views, found.reserved, found.best, strict=True)
    ]
    job = asked.job
    view = JobView(
        id=job.id,
        stage=job.stage,
        shape=asked.shape,
        priority=job.priority,
        age_seconds=max(0.0, (now - job.created_at).total_seconds()),
        factory=job.factory,
        stopping=job.stop_at is not None,
        end=asked.end,
        waits_for=asked.waits_for,
        lock_holder=named(found.lock_holder),
        budget=found.budget,
    )
    return explain(view, views, found.weights)


def stored(tx: Transaction, job: Job) -> Asked:
    """Return what is stored about the job."""
    waits = []
    for edge in tx.jobs.edges(job):
        if edge.job == job.number and not edge.met:
            other = tx.jobs.by_number(edge.needs)
            assert other is not None, f"an edge of job {job.id} leads to nothing"
            waits.append(Waited(job=other.id, stage=other.stage, kind=edge.kind))
    end = tx.jobs.events(job.id)[-1].why if job.stage in ENDS else ""
    return Asked(job=job, shape=tx.jobs.shapes([job.shape])[job.shape], waits_for=tuple(waits), end=end)


def remembered(scheduler: Scheduler, asked: Asked, *, now: datetime) -> Found:
    """Return what the engine's memory says about where the job could run."""
    shape = asked.shape
    serving = [each for each in scheduler.roster.factories.values() if _serves(each, shape)]
    seen = [_seen(scheduler, each, asked, now=now) for each in sorted(serving, key=lambda each: each.name)]
    anywhere = Place(
        session=SessionNumber(0),
        factory=ANYWHERE,
        product=shape.product,
        offer=Offer(),
        engines=frozenset(),
        seats=shape.seats,
        gpus=shape.gpus,
    )
    held = scheduler.funds.held(shape, anywhere)
    return Found(
        views=tuple(view for view, _, _ in seen),
        reserved=tuple(reserved for _, reserved, _ in seen),
        best=tuple(best for _, _, best in seen),
        lock_holder=scheduler.board.lock_holder(shape),
        budget=held if held is not None and held.hold in _LASTING else None,
        weights=scheduler.board.weights(shape.product),
    )


def _seen(
    scheduler: Scheduler, factory: Factory, asked: Asked, *, now: datetime
) -> tuple[FactoryView, JobNumber | None, JobNumber | None]:
    """Return a factory as the job sees it, with the jobs that its seats are kept for and that come first there."""
    board, shape = scheduler.board, asked.shape
    place = next((each for each in board.places.values() if each.factory == factory.name), None)
    breaker = scheduler.roster.breaker(factory.name, shape.engine)
    view = FactoryView(
        name=factory.name,
        offer=Offer.read(factory.capabilities),
        engines=frozenset(factory.engines),
        seats=factory.seats,
        seats_free=factory.seats,
        gpus=factory.gpus,
        gpus_free=factory.gpus,
        usd_per_hour=factory.usd_per_hour,
        stale=place is None,
        draining=factory.state is FactoryState.DRAINING,
        breaker_open=not admits(breaker, now=now),
    )
    if place is None:
        return view, None, None
    ahead, best = _ahead(board, place, asked, now=now)
    view = replace(
        view,
        seats_free=max(0, place.seats_free),
        gpus_free=max(0, place.gpus_free),
        health=place.health.get(shape.engine, 1.0),
        familiar=shape.product in place.familiar,
        budget=scheduler.funds.held(shape, place),
        ahead=ahead,
    )
    return view, place.reserved_for, best


def _ahead(board: Board, place: Place, asked: Asked, *, now: datetime) -> tuple[Ahead, JobNumber | None]:
    """Return how many jobs the factory would take before this one, and the number of the first of them."""
    job, now_us = asked.job, microseconds(now)
    if board.suits(place, job.shape) is None:
        return Ahead(), None
    mine = Ready(
        job.number, job.shape, job.priority.rank, microseconds(job.created_at), job.epoch, job.marks, job.preemptions
    )
    rivals = [
        (JobId(str(rival.number)), _facts(board, rival, now_us), board.score(rival, place, now_us=now_us))
        for rival in _rivals(board, place)
        if rival.number != job.number
    ]
    found = ahead_of(_facts(board, mine, now_us), board.score(mine, place, now_us=now_us), rivals)
    return found, None if found.best is None else JobNumber(int(found.best))


def _rivals(board: Board, place: Place) -> Iterator[Ready]:
    for number, _ in list(board.waiting()):
        if board.suits(place, number) is not None:
            yield from board.heads(number, RIVALS_MAX)


def _facts(board: Board, job: Ready, now_us: int) -> JobFacts:
    """Return what decides between jobs of the same score."""
    age_seconds = max(0.0, (now_us - job.created_us) / 1e6)
    usd = board.shapes[job.shape].cost.usd
    return JobFacts(priority=list(Priority)[job.priority], age_seconds=age_seconds, usd=usd)


def _serves(factory: Factory, shape: Shape) -> bool:
    return factory.product in {EVERY_PRODUCT, shape.product} and factory.state is not FactoryState.REVOKED


def _id(tx: Transaction, number: JobNumber, asker: Job) -> JobId:
    found = tx.jobs.by_number(number)
    assert found is not None, f"the board knows a job that is not stored: {number}"
    return found.id if found.product == asker.product else ANOTHERS
