"""Tokens and enrolments: who may ask at all."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from pilothouse.access.roles import Permission, Role
from pilothouse.access.token import ENTROPY_BYTES, Grant, Token, TokenKind
from pilothouse.canonical import Json
from pilothouse.ids import ProductId
from pilothouse.operations.audit import audit_page, keep, line_json
from pilothouse.operations.tokens import Minted, make_token, revoke_token
from pilothouse.ports.audit import Wanted
from pilothouse.ports.store import Transaction
from pilothouse.web.answers import AuditAnswer, MintedAnswer, TokenAnswer, TokensAnswer
from pilothouse.web.bodies import NewEnrolment, NewToken, take
from pilothouse.web.identity import Caller
from pilothouse.web.parts import Parts, parts_of, route, told

router = APIRouter()
ENROLMENT = "enrolment"
PAGE_MAX = 1000
POSITION_MAX = (1 << 63) - 1
TokenPath = Annotated[str, Path(pattern=r"^[a-z2-7]{16}$", description="The token's id, the third part of its text.")]


@router.get("/fleet/tokens", **route(answers={200: TokensAnswer}))
async def list_tokens(request: Request) -> Response:
    """List the tokens of the caller's product, or all of them; no secret is among what is told."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.ADMINISTER)
    tokens = await parts.read(lambda tx: tx.access.listed(caller.product))
    return told({"tokens": [token_json(token) for token in tokens]})


@router.post("/fleet/tokens", **route(answers={201: MintedAnswer}, body=NewToken))
async def create_token(request: Request) -> Response:
    """Make a token for a person or a program; its text is told this once."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.ADMINISTER)
    body = await take(request, NewToken)
    grant = Grant(kind=TokenKind.USER, name=body.name, role=Role(body.role), product=_product(body.product))
    return await _made(parts, caller, grant, expires_seconds=body.expires_seconds)


@router.post("/fleet/enrolments", **route(answers={201: MintedAnswer}, body=NewEnrolment))
async def create_enrolment(request: Request) -> Response:
    """Make a token with which one factory can enrol, once."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.ADMINISTER)
    body = await take(request, NewEnrolment)
    grant = Grant(kind=TokenKind.ENROLMENT, name=ENROLMENT, role=None, product=_product(body.product))
    return await _made(parts, caller, grant, expires_seconds=body.expires_seconds)


@router.delete("/fleet/tokens/{token}", **route(answers={200: TokenAnswer}, problems=(404,)))
async def delete_token(request: Request, token: TokenPath) -> Response:
    """Revoke a token: from now on it is worthless."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.ADMINISTER)
    now = parts.clock.now()

    def act(tx: Transaction) -> Token:
        before = tx.access.by_id(token)
        revoked = revoke_token(tx, token, by=caller.token, now=now)
        states = (None if before is None else token_json(before), token_json(revoked))
        keep(tx, "token.revoke", token, actor=caller.actor, product=revoked.product, now=now, states=states)
        return revoked

    revoked = await parts.engine.apply_async(act)
    parts.gate.tokens.forget()
    return told(token_json(revoked))


@router.get("/fleet/audit", **route(answers={200: AuditAnswer}))
async def list_audit(
    request: Request,
    product: Annotated[str | None, Query(pattern=r"^[a-z][a-z0-9-]{0,62}$")] = None,
    actor: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    named: Annotated[str | None, Query(alias="object", min_length=1, max_length=300)] = None,
    before: Annotated[int | None, Query(ge=0, le=POSITION_MAX)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
) -> Response:
    """List who has used a privilege, newest first: about a product, or about all that the caller's token is for."""
    parts = parts_of(request)
    if product is not None:
        caller = await parts.gate.admit_for(request, Permission.ADMINISTER, ProductId(product))
    else:
        caller = await parts.gate.admit_all(request, Permission.ADMINISTER)
    wanted = Wanted(product=caller.product, actor=actor, object=named, before=before, limit=limit)
    lines, go_on = await parts.read(lambda tx: audit_page(tx, wanted))
    return told({"lines": [line_json(line) for line in lines], "next": go_on})


async def _made(parts: Parts, caller: Caller, grant: Grant, *, expires_seconds: float | None) -> Response:
    now, entropy = parts.clock.now(), parts.entropy(ENTROPY_BYTES)
    expires_at = None if expires_seconds is None else now + timedelta(seconds=expires_seconds)

    def act(tx: Transaction) -> Minted:
        minted = make_token(tx, grant, maker=caller.token, entropy=entropy, now=now, expires_at=expires_at)
        keep(
            tx,
            "token.create" if grant.kind is TokenKind.USER else "token.enrol",
            minted.token.id,
            actor=caller.actor,
            product=grant.product,
            now=now,
            states=(None, token_json(minted.token)),
            detail=grant.name if grant.role is None else f"{grant.name}, {grant.role}",
        )
        return minted

    minted = await parts.engine.apply_async(act)
    parts.gate.tokens.forget()
    return told(token_json(minted.token) | {"token": minted.text}, status=201)


def token_json(token: Token) -> dict[str, Json]:
    """Return a token without its secret, and without the secret's digest."""
    return {
        "id": token.id,
        "kind": token.kind.value,
        "name": token.name,
        "role": token.role.value if token.role is not None else None,
        "product": token.product,
        "factory": token.factory,
        "created_at": token.created_at.isoformat(),
        "expires_at": moment(token.expires_at),
        "revoked_at": moment(token.revoked_at),
        "used_at": moment(token.used_at),
    }


def moment(time: datetime | None) -> str | None:
    """Return a time as answers tell it."""
    return time.isoformat() if time is not None else None


def _product(named: str | None) -> ProductId | None:
    return ProductId(named) if named is not None else None
