"""Factories: they enrol, and people look at them, drain them and revoke them."""

from __future__ import annotations

from fastapi import APIRouter
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
from pilothouse.operations.factories import (
    Seen,
    enrol_factory,
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
from pilothouse.web.memory import retire
from pilothouse.web.parts import NamePath, parts_of, route, told

router = APIRouter()


@router.post("/fleet/factories/enroll", **route(answers={201: KeyAnswer}, problems=(409,), body=Enrolment))
async def enrol(request: Request) -> Response:
    """Turn a one-time enrolment token into the key of a factory."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.ENROL)
    body = await take(request, Enrolment)
    asked = described(body, FactoryName(body.name))
    entropy, now = parts.entropy(ENTROPY_BYTES), parts.clock.now()
    minted = await retire(
        parts.engine, asked.name, lambda tx: enrol_factory(tx, caller.token, asked, entropy=entropy, now=now)
    )
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
        return rotate_key(tx, found.name, product=key_product(found), entropy=entropy, now=now)

    minted = await parts.engine.apply_async(act)
    parts.gate.tokens.forget()
    return told(_key_json(FactoryName(name), minted), status=201)


async def _set_state(request: Request, name: str, state: FactoryState) -> Response:
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.OPERATE)
    await take(request, Empty)
    now = parts.clock.now()

    def act(tx: Transaction) -> Seen:
        found = owned_factory(tx, FactoryName(name), product=caller.product)
        set_factory_state(tx, found, state, now=now)
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
    factory, last = seen.factory, seen.last
    session = last.session if last is not None else None
    return {
        "name": factory.name,
        "product": None if factory.product == EVERY_PRODUCT else factory.product,
        "state": factory.state.value,
        "seats": factory.seats,
        "gpus": factory.gpus,
        "capabilities": list(factory.capabilities),
        "engines": list(factory.engines),
        "usd_per_hour": factory.usd_per_hour,
        "alive": last is not None and last.closed_at is None,
        "boot": session.boot if session is not None else None,
        "heard_at": session.beat_at.isoformat() if session is not None else None,
        "expires_at": session.expires_at.isoformat() if session is not None else None,
        "held": [{"job": job.id, "epoch": job.epoch, "stage": job.stage.value} for job in seen.held],
    }


def _key_json(factory: FactoryName, minted: Minted) -> dict[str, Json]:
    expires_at = minted.token.expires_at
    return {
        "factory": factory,
        "product": minted.token.product,
        "token": minted.text,
        "expires_at": expires_at.isoformat() if expires_at is not None else None,
    }
