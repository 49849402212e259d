"""The fleet at one moment: what waits, who could work, what was spent, and what a person should know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pilothouse.canonical import Json
from pilothouse.engine.scheduler import Scheduler
from pilothouse.fleet.budget import MILLION, Unit
from pilothouse.fleet.factory import Factory, FactoryState
from pilothouse.fleet.place import EVERY_PRODUCT, microseconds
from pilothouse.fleet.stages import Stage
from pilothouse.ids import FactoryName, ProductId
from pilothouse.operations.budgets import Standing, standings
from pilothouse.ports.store import Transaction

STARVED_SECONDS = 3600.0
"""A job that has waited so long while others ran is one that a person should look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The factories that live and serve a product, their seats, and how many of these are taken."""

    factories: int = 0
    seats: int = 0
    taken: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What the engine's memory tells: capacity by product, who lives, how old the head of each queue is."""

    capacity: Mapping[ProductId, Capacity]
    alive: frozenset[FactoryName]
    oldest_us: Mapping[ProductId, int]
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The fleet at one moment."""

    at: datetime
    stages: Mapping[tuple[ProductId, Stage], int]
    factories: Sequence[Factory]
    budgets: Sequence[Standing]
    memory: Remembered

    @property
    def capacity(self) -> Mapping[ProductId, Capacity]:
        """Capacity by product."""
        return self.memory.capacity

    @property
    def counters(self) -> Mapping[str, int]:
        """What the engine has counted since it was opened."""
        return self.memory.counters

    def spending(self) -> Iterator[tuple[list[str], float, float]]:
        """Yield product, engine and unit, with what was spent and what is reserved."""
        for each in self.budgets:
            for unit in Unit:
                spent, reserved = each.balance.spent.of(unit), each.balance.reserved.of(unit)
                yield [each.budget.product, each.budget.engine, unit.value], spent / MILLION, reserved / MILLION


def remembered(scheduler: Scheduler) -> Remembered:
    """Return what the scheduler remembers."""
    capacity: dict[ProductId, Capacity] = {}
    alive: set[FactoryName] = set()
    for place in scheduler.board.places.values():
        alive.add(place.factory)
        before = capacity.get(place.product, Capacity())
        capacity[place.product] = Capacity(
            factories=before.factories + 1,
            seats=before.seats + place.seats,
            taken=before.taken + place.seats - max(0, place.seats_free),
        )
    oldest: dict[ProductId, int] = {}
    for number, _ in list(scheduler.board.waiting()):
        head = scheduler.board.head(number)
        if head is not None:
            product = scheduler.board.shapes[number].product
            oldest[product] = min(head.created_us, oldest.get(product, head.created_us))
    return Remembered(capacity=capacity, alive=frozenset(alive), oldest_us=oldest, counters=dict(scheduler.counters))


def stored(tx: Transaction, memory: Remembered, *, product: ProductId | None, now: datetime) -> Snapshot:
    """Return the snapshot of one product, or of all, with what is stored beside what is remembered."""
    stages = {key: count for key, count in tx.jobs.count_stages().items() if product in {None, key[0]}}
    serving = [each for each in tx.factories.listed(None) if product in {None, each.product} or _serves_all(each)]
    return Snapshot(
        at=now,
        stages=stages,
        factories=[each for each in serving if each.state is not FactoryState.REVOKED],
        budgets=standings(tx, product, now=now),
        memory=memory,
    )


def alerts(snapshot: Snapshot) -> list[dict[str, Json]]:
    """Return what a person should know, the fleet's before the budgets'."""
    found = [
        warned
        for product in sorted({product for product, _ in snapshot.stages})
        for warned in _of_queue(snapshot, product)
    ]
    away = [each for each in snapshot.factories if each.name not in snapshot.memory.alive]
    if away and len(away) == len(snapshot.factories):
        found.append(_alert("all_factories_down", "", f"none of {len(away)} enrolled factories is heard"))
    elif away:
        names = ", ".join(sorted(each.name for each in away)[:10])
        told = f"{len(away)} of {len(snapshot.factories)} factories are not heard: {names}"
        found.append(_alert("stale_factories", "", told))
    return found + [
        _alert(alert.kind.value, standing.budget.product, alert.text, dry_run=alert.dry_run)
        for standing in snapshot.budgets
        for alert in standing.alerts
    ]


def as_json(snapshot: Snapshot) -> dict[str, Json]:
    """Return the snapshot for people and programs."""
    products = sorted({product for product, _ in snapshot.stages} | set(snapshot.capacity) - {EVERY_PRODUCT})
    return {
        "at": snapshot.at.isoformat(),
        "products": {product: _product_json(snapshot, product) for product in products},
        "factories": {"enrolled": len(snapshot.factories), "alive": len(_alive(snapshot))},
        "alerts": list(alerts(snapshot)),
    }


def _product_json(snapshot: Snapshot, product: ProductId) -> dict[str, Json]:
    room = _room(snapshot, product)
    stages = {stage.value: snapshot.stages.get((product, stage), 0) for stage in Stage}
    age = _oldest_seconds(snapshot, product)
    return {
        "stages": stages,
        "queue_depth": stages[Stage.QUEUED.value],
        "oldest_queued_seconds": age,
        "factories": room.factories,
        "seats": room.seats,
        "seats_taken": room.taken,
    }


def _of_queue(snapshot: Snapshot, product: ProductId) -> Iterator[dict[str, Json]]:
    queued = snapshot.stages.get((product, Stage.QUEUED), 0)
    if not queued:
        return
    room, age = _room(snapshot, product), _oldest_seconds(snapshot, product)
    if not room.seats:
        told = f"{queued} jobs wait, and no factory that serves {product} is heard"
        yield _alert("no_live_capacity", product, told)
    elif room.taken >= room.seats:
        yield _alert("saturated", product, f"all {room.seats} seats are taken, and {queued} jobs wait")
    if age is not None and age > STARVED_SECONDS:
        yield _alert("queue_starvation", product, f"a job has waited for {age / 60:.0f} minutes")


def _alert(kind: str, product: str, detail: str, *, dry_run: bool = False) -> dict[str, Json]:
    return {"kind": kind, "product": product, "detail": detail, "dry_run": dry_run}


def _room(snapshot: Snapshot, product: ProductId) -> Capacity:
    """Return the capacity that serves a product: its own, and what serves all."""
    own, shared = (snapshot.capacity.get(each, Capacity()) for each in (product, EVERY_PRODUCT))
    return Capacity(
        factories=own.factories + shared.factories, seats=own.seats + shared.seats, taken=own.taken + shared.taken
    )


def _oldest_seconds(snapshot: Snapshot, product: ProductId) -> float | None:
    oldest = snapshot.memory.oldest_us.get(product)
    return None if oldest is None else max(0.0, (microseconds(snapshot.at) - oldest) / 1e6)


def _alive(snapshot: Snapshot) -> list[Factory]:
    return [each for each in snapshot.factories if each.name in snapshot.memory.alive]


def _serves_all(factory: Factory) -> bool:
    return factory.product == EVERY_PRODUCT
