"""Enrol a factory, let it drain and resume, revoke it and forget it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pilothouse.access.token import Token
from pilothouse.errors import Conflict, NotFound
from pilothouse.fleet.factory import Factory, FactoryState
from pilothouse.fleet.job import Job
from pilothouse.fleet.place import EVERY_PRODUCT
from pilothouse.fleet.session import KeptSession
from pilothouse.ids import FactoryName, ProductId
from pilothouse.operations.rescue import rescue_session
from pilothouse.operations.tokens import Minted, revoke_keys, use_enrolment
from pilothouse.ports.store import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What a revocation took away: keys that were good, and jobs that the factory held."""

    factory: Factory
    keys: Sequence[Token]
    jobs: Sequence[Job]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A factory with its newest session, and what it holds."""

    factory: Factory
    last: KeptSession | None
    held: Sequence[Job]


def enrol_factory(
    tx: Transaction, enrolment: Token | None, asked: Factory, *, entropy: bytes, now: datetime
) -> tuple[Factory, Minted]:
    """Return the factory as it is stored and its key; the enrolment token is used up in the same transaction.

    A name stands for one factory over all products, since jobs and histories call it so. One that enrols again begins
    anew: what it held under its old keys is taken back.
    """
    minted = use_enrolment(tx, enrolment, asked.name, entropy=entropy, now=now)
    factory = replace(asked, product=minted.token.product or EVERY_PRODUCT, state=FactoryState.ACTIVE)
    known = find_factory(tx, asked.name)
    if known is not None and known.product != factory.product:
        raise Conflict(f"the name {asked.name} is another factory's", fix="enrol this one under another name")
    if known is not None:
        _retire(tx, known, spare=minted.token, why="it was enrolled again", now=now)
    tx.factories.put(factory, now=now)
    return factory, minted


def set_factory_state(tx: Transaction, factory: Factory, state: FactoryState, *, now: datetime) -> Factory:
    """Return the factory as draining, or as active again; one that was revoked has to enrol."""
    if factory.state is FactoryState.REVOKED:
        raise Conflict(f"factory {factory.name} was revoked", fix="enrol it again: `pilothouse factory enroll`")
    changed = replace(factory, state=state)
    tx.factories.put(changed, now=now)
    return changed


def revoke_factory(tx: Transaction, factory: Factory, *, by: str, now: datetime) -> Revoked:
    """Return what was taken from the factory: its keys are worthless and its leases over from this moment on."""
    keys, jobs = _retire(tx, factory, spare=None, why=f"the factory was revoked by {by}", now=now)
    changed = replace(factory, state=FactoryState.REVOKED)
    tx.factories.put(changed, now=now)
    return Revoked(factory=changed, keys=keys, jobs=jobs)


def deregister_factory(tx: Transaction, factory: Factory, *, by: str, force: bool, now: datetime) -> Revoked:
    """Return what was taken from the factory, which is forgotten: another machine may enrol under its name.

    Without force only one that was drained or revoked, and holds nothing any more, is forgotten.
    """
    held = [job for job in tx.jobs.leased() if job.factory == factory.name]
    if not force and (factory.state is FactoryState.ACTIVE or held):
        raise Conflict(
            f"factory {factory.name} is {factory.state.value} and holds {len(held)} jobs",
            fix=f"drain it (`pilothouse factory drain {factory.name}`) and wait until it holds none, or use --force",
        )
    revoked = revoke_factory(tx, factory, by=by, now=now)
    tx.factories.remove(factory.product, factory.name)
    return revoked


def find_factory(tx: Transaction, name: FactoryName) -> Factory | None:
    """Return the factory of that name, whichever product it is for."""
    return next((factory for factory in tx.factories.listed(None) if factory.name == name), None)


def known_factory(tx: Transaction, name: FactoryName, *, product: ProductId | None) -> Factory:
    """Return the factory of that name if it serves the product; a product of None sees all of them."""
    found = find_factory(tx, name)
    if found is None or (product is not None and found.product not in {product, EVERY_PRODUCT}):
        raise NotFound(f"there is no factory {name}", fix="`pilothouse factory list` shows what there is")
    return found


def owned_factory(tx: Transaction, name: FactoryName, *, product: ProductId | None) -> Factory:
    """Return the factory of that name if it is the product's own; one that serves all is nobody's alone."""
    found = known_factory(tx, name, product=product)
    if product is not None and found.product != product:
        raise NotFound(f"factory {name} serves all products", fix="let an admin for all products change it")
    return found


def seen_factories(tx: Transaction, *, product: ProductId | None) -> Sequence[Seen]:
    """Return the factories that serve the product, by name; each tells only of that product's jobs."""
    serving = [
        factory for factory in tx.factories.listed(None) if product in {None, factory.product} or _serves_all(factory)
    ]
    held: dict[FactoryName, list[Job]] = {}
    for job in tx.jobs.leased():
        if job.factory is not None and product in {None, job.product}:
            held.setdefault(job.factory, []).append(job)
    return [
        Seen(
            factory=factory,
            last=tx.factories.last_session(factory.product, factory.name),
            held=held.get(factory.name, []),
        )
        for factory in sorted(serving, key=lambda each: each.name)
    ]


def seen_factory(tx: Transaction, name: FactoryName, *, product: ProductId | None) -> Seen:
    """Return one factory that serves the product."""
    known_factory(tx, name, product=product)
    return next(each for each in seen_factories(tx, product=product) if each.factory.name == name)


def key_product(factory: Factory) -> ProductId | None:
    """Return the product that the factory's keys are for, None for all of them."""
    return None if _serves_all(factory) else factory.product


def _serves_all(factory: Factory) -> bool:
    return factory.product == EVERY_PRODUCT


def _retire(
    tx: Transaction, factory: Factory, *, spare: Token | None, why: str, now: datetime
) -> tuple[Sequence[Token], Sequence[Job]]:
    """Return the keys and the jobs that were taken from the factory; the spared key stays good."""
    keys = revoke_keys(tx, factory.name, product=key_product(factory), spare=spare, now=now)
    jobs: list[Job] = []
    for kept in tx.factories.open_sessions():
        if kept.session.factory == factory.name and kept.product == factory.product:
            jobs += rescue_session(tx, kept.session.number, why=why, now=now)
    return keys, jobs
