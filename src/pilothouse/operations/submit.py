"""Hand jobs to the fleet, once per key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pilothouse.errors import BadValue, KeyReused, NotFound
from pilothouse.fleet.graph import dependency_kind, hopeless, met
from pilothouse.fleet.job import EdgeKind, Job, NewJob, Placed
from pilothouse.fleet.stages import Stage
from pilothouse.ids import JobNumber, ProductId
from pilothouse.operations.cancel import cancel
from pilothouse.ports.store import Transaction

_UNSTARTED = frozenset({Stage.BLOCKED, Stage.QUEUED})
_SUCCESSOR = re.compile(r"~[0-9]+$")


def submit(tx: Transaction, new: NewJob, *, now: datetime) -> Job:
    """Return the job under this key: the stored one when it has the same spec, else a new one.

    A stored one with another spec that has not started is superseded: it is cancelled, and since a key is the name of
    one job for ever, the new one stands under the key with the next generation behind it. One that has started holds
    the key, and the new spec is `KeyReused`.
    """
    last, free = generations(tx, new.product, new.key)
    if last is None:
        return tx.jobs.insert([place(tx, new)], now=now)[0]
    if tx.jobs.spec(last.id).digest() == new.spec.digest():
        return last
    if last.stage in _UNSTARTED:
        cancel(tx, last.id, now=now, why=f"superseded by {new.id}")
    elif last.stage is not Stage.CANCELLED:
        raise KeyReused(
            f"the key {new.key!r} belongs to job {last.id}, which is {last.stage.value} and has another spec",
            fix="take a new key for the new spec, or send the first spec again",
        )
    return tx.jobs.insert([place(tx, replace(new, key=free))], now=now)[0]


def generations(tx: Transaction, product: ProductId, key: str) -> tuple[Job | None, str]:
    """Return the newest job that goes by the key, and the name that a successor would have."""
    if _SUCCESSOR.search(key):
        raise BadValue(
            f"the key {key!r} is that of a job which has superseded another one",
            fix="send the key without ~ and its number, or take one that does not end so",
        )
    last: Job | None = None
    name, generation = key, 0
    while (found := tx.jobs.by_key(product, name)) is not None:
        last, generation = found, generation + 1
        name = f"{key}~{generation}"
    return last, name


def submit_many(tx: Transaction, news: Sequence[NewJob], *, now: datetime) -> Sequence[Job]:
    """Return the jobs under these keys in their order; what is new is stored at once, all or none."""
    keys = [new.key for new in news]
    if len(set(keys)) == len(keys) and not any(new.deps for new in news):
        stored = tx.jobs.by_keys(news[0].product, keys) if news else []
        if not stored and len({new.product for new in news}) == 1:
            return tx.jobs.insert([Placed(new=new, stage=Stage.QUEUED) for new in news], now=now)
    return [submit(tx, new, now=now) for new in news]


def place(tx: Transaction, new: NewJob) -> Placed:
    """Return the job with the stage it begins in: blocked while something it depends on is not there yet."""
    needs: list[tuple[JobNumber, EdgeKind]] = []
    kind = dependency_kind(new.spec.deps_mode)
    for dep in new.deps:
        other = tx.jobs.by_id(dep)
        if other is None or other.product != new.product:
            raise NotFound(f"the dependency {dep!r} is no job of product {new.product}", fix="name a job's id or key")
        if hopeless(kind, other.stage):
            raise BadValue(
                f"the dependency {dep!r} is {other.stage.value}, so this job could never start",
                fix="leave it out, or depend on a job that can still ship",
            )
        if not met(kind, other.stage):
            needs.append((other.number, kind))
    return Placed(new=new, stage=Stage.BLOCKED if needs else Stage.QUEUED, needs=tuple(needs))
