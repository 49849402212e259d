"""Factories: they enrol, and people look at them, drain them and revoke them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from pilothouse.access.roles import Permission
from pilothouse.access.token import ENTROPY_BYTES
from pilothouse.canonical import Json
from pilothouse.errors import Refused
from pilothouse.fleet.capability import Offer
from pilothouse.fleet.factory import Factory, FactoryState
from pilothouse.fleet.place import EVERY_PRODUCT
from pilothouse.ids import FactoryName
from pilothouse.operations.audit import keep
from pilothouse.operations.factories import (
    Revoked,
    Seen,
    deregister_factory,
    enrol_factory,
    find_factory,
    key_product,
    owned_factory,
    revoke_factory,
    seen_factories,
    seen_factory,
    set_factory_state,
)
from pilothouse.operations.tokens import Minted, rotate_key
from pilothouse.ports.store import Transaction
from pilothouse.web.answers import FactoriesAnswer, FactoryAnswer, KeyAnswer
from pilothouse.web.bodies import Empty, Enrolment, Facts, take
from pilothouse.web.identity import Caller
from pilothouse.web.memory import retire
from pilothouse.web.parts import NamePath, parts_of, route, told

router = APIRouter()
_VERBS = {FactoryState.DRAINING: "drain", FactoryState.ACTIVE: "resume"}


@router.post("/fleet/factories/enroll", **route(answers={201: KeyAnswer}, problems=(409,), body=Enrolment))
async def enrol(request: Request) -> Response:
    """Turn a one-time enrolment token into the key of a factory."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.ENROL)
    body = await take(request, Enrolment)
    asked = described(body, FactoryName(body.name))
    entropy, now = parts.entropy(ENTROPY_BYTES), parts.clock.now()

    def act(tx: Transaction) -> tuple[Factory, Minted]:
        before = find_factory(tx, asked.name)
        factory, minted = enrol_factory(tx, caller.token, asked, entropy=entropy, now=now)
        _note(tx, caller, "enrol", before, factory, now=now)
        return factory, minted

    minted = await retire(parts.engine, asked.name, act)
    parts.gate.tokens.forget()
    return told(_key_json(asked.name, minted), status=201)


@router.get("/fleet/factories", **route(answers={200: FactoriesAnswer}))
async def list_factories(request: Request) -> Response:
    """List the factories that serve the caller's product, and whether they live."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.READ)
    found = await parts.read(lambda tx: seen_factories(tx, product=caller.product))
    return told({"factories": [factory_json(each) for each in found]})


@router.get("/fleet/factories/{name}", **route(answers={200: FactoryAnswer}, problems=(404,)))
async def show_factory(request: Request, name: NamePath) -> Response:
    """Tell what a factory offers, what it holds and when it was last heard."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.READ)

    seen = await parts.read(lambda tx: seen_factory(tx, FactoryName(name), product=caller.product))
    return told(factory_json(seen))


@router.post("/fleet/factories/{name}/drain", **route(answers={200: FactoryAnswer}, problems=(404, 409), body=Empty))
async def drain(request: Request, name: NamePath) -> Response:
    """Give the factory no more jobs; it ends what it holds."""
    return await _set_state(request, name, FactoryState.DRAINING)


@router.post("/fleet/factories/{name}/resume", **route(answers={200: FactoryAnswer}, problems=(404, 409), body=Empty))
async def resume(request: Request, name: NamePath) -> Response:
    """Give a draining factory jobs again."""
    return await _set_state(request, name, FactoryState.ACTIVE)


@router.post("/fleet/factories/{name}/token/revoke", **route(answers={200: FactoryAnswer}, problems=(404,), body=Empty))
async def revoke(request: Request, name: NamePath) -> Response:
    """Take the factory's keys and leases away, at once; its jobs go back to the queue."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.ADMINISTER)
    await take(request, Empty)
    now = parts.clock.now()

    def act(tx: Transaction) -> tuple[Factory, Seen]:
        found = owned_factory(tx, FactoryName(name), product=caller.product)
        revoked = revoke_factory(tx, found, by=caller.name, now=now)
        _note(tx, caller, "revoke", found, revoked.factory, now=now, detail=_lost(revoked))
        return revoked.factory, seen_factory(tx, found.name, product=caller.product)

    await parts.read(lambda tx: owned_factory(tx, FactoryName(name), product=caller.product))
    seen = await retire(parts.engine, FactoryName(name), act)
    parts.gate.tokens.forget()
    return told(factory_json(seen))


@router.post("/fleet/factories/{name}/token/rotate", **route(answers={201: KeyAnswer}, problems=(404, 409), body=Empty))
async def rotate(request: Request, name: NamePath) -> Response:
    """Make a new key for the factory; the old one stays good for five minutes, so that a lost answer does no harm."""
    parts = parts_of(request)
    caller = await parts.gate.admit_either(request, Permission.WORK, Permission.ADMINISTER)
    token = caller.token
    if token is not None and token.factory not in {None, FactoryName(name)}:
        raise Refused(f"the token {token.id} is the key of {token.factory}", fix=f"rotate it as {token.factory}")
    await take(request, Empty)
    entropy, now = parts.entropy(ENTROPY_BYTES), parts.clock.now()

    def act(tx: Transaction) -> Minted:
        found = owned_factory(tx, FactoryName(name), product=caller.product)
        minted = rotate_key(tx, found.name, product=key_product(found), entropy=entropy, now=now)
        _note(tx, caller, "rotate", found, found, now=now, detail=f"key {minted.token.id}")
        return minted

    minted = await parts.engine.apply_async(act)
    parts.gate.tokens.forget()
    return told(_key_json(FactoryName(name), minted), status=201)


@router.delete("/fleet/factories/{name}", **route(answers={200: FactoryAnswer}, problems=(404, 409)))
async def deregister(
    request: Request,
    name: NamePath,
    force: Annotated[bool | None, Query(description="Take away whatever the factory still holds.")] = None,
) -> Response:
    """Forget a drained factory: its keys are worthless and its name is free. What it has run stays in the histories."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.ADMINISTER)
    now = parts.clock.now()

    def act(tx: Transaction) -> tuple[None, Seen]:
        seen = seen_factory(tx, FactoryName(name), product=caller.product)
        found = owned_factory(tx, FactoryName(name), product=caller.product)
        gone = deregister_factory(tx, found, by=caller.name, force=bool(force), now=now)
        _note(tx, caller, "deregister", found, None, now=now, detail=_lost(gone))
        return None, replace(seen, factory=gone.factory, last=None, held=())

    await parts.read(lambda tx: owned_factory(tx, FactoryName(name), product=caller.product))
    seen = await retire(parts.engine, FactoryName(name), act)
    parts.gate.tokens.forget()
    return told(factory_json(seen))


async def _set_state(request: Request, name: str, state: FactoryState) -> Response:
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.OPERATE)
    await take(request, Empty)
    now = parts.clock.now()

    def act(tx: Transaction) -> Seen:
        found = owned_factory(tx, FactoryName(name), product=caller.product)
        changed = set_factory_state(tx, found, state, now=now)
        _note(tx, caller, _VERBS[state], found, changed, now=now)
        return seen_factory(tx, found.name, product=caller.product)

    seen = await parts.engine.apply_async(act)
    return told(factory_json(seen))


def described(facts: Facts, name: FactoryName) -> Factory:
    """Return the factory that the facts describe, with its capabilities in their canonical form."""
    return Factory(
        product=EVERY_PRODUCT,
        name=name,
        capabilities=Offer.read(facts.capabilities).texts(),
        engines=tuple(sorted(set(facts.engines))),
        seats=facts.seats,
        gpus=facts.gpus,
        usd_per_hour=facts.usd_per_hour,
    )


def factory_json(seen: Seen) -> dict[str, Json]:
    """Return a factory as it was last heard of."""
    last = seen.last
    session = last.session if last is not None else None
    return {
        **_offered(seen.factory),
        "alive": last is not None and last.closed_at is None,
        "boot": session.boot if session is not None else None,
        "heard_at": session.beat_at.isoformat() if session is not None else None,
        "expires_at": session.expires_at.isoformat() if session is not None else None,
        "held": [{"job": job.id, "epoch": job.epoch, "stage": job.stage.value} for job in seen.held],
    }


def _offered(factory: Factory) -> dict[str, Json]:
    """Return what a factory has told of itself, and what people have made of it."""
    return {
        "name": factory.name,
        "product": key_product(factory),
        "state": factory.state.value,
        "seats": factory.seats,
        "gpus": factory.gpus,
        "capabilities": list(factory.capabilities),
        "engines": list(factory.engines),
        "usd_per_hour": factory.usd_per_hour,
    }


def _note(
    tx: Transaction,
    caller: Caller,
    verb: str,
    before: Factory | None,
    after: Factory | None,
    *,
    now: datetime,
    detail: str = "",
) -> None:
    """Keep a line of the audit log about an act on a factory."""
    known = after or before
    assert known is not None, "an act is on a factory that was there before or is there afterwards"
    states = (None if before is None else _offered(before), None if after is None else _offered(after))
    act, product = f"factory.{verb}", key_product(known)
    keep(tx, act, known.name, actor=caller.actor, product=product, now=now, states=states, detail=detail)


def _lost(revoked: Revoked) -> str:
    return f"{len(revoked.keys)} keys and {len(revoked.jobs)} jobs were taken from it"


def _key_json(factory: FactoryName, minted: Minted) -> dict[str, Json]:
    expires_at = minted.token.expires_at
    return {
        "factory": factory,
        "product": minted.token.product,
        "token": minted.text,
        "expires_at": expires_at.isoformat() if expires_at is not None else None,
    }
