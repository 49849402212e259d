"""Tokens and enrolments: who may ask at all."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from pilothouse.access.roles import Permission, Role
from pilothouse.access.token import ENTROPY_BYTES, Grant, Token, TokenKind
from pilothouse.ids import ProductId
from pilothouse.operations.tokens import make_token, revoke_token
from pilothouse.web.answers import MintedAnswer, TokenAnswer, TokensAnswer
from pilothouse.web.bodies import NewEnrolment, NewToken, take
from pilothouse.web.identity import Caller
from pilothouse.web.parts import Parts, parts_of, route, told

router = APIRouter()
ENROLMENT = "enrolment"
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
    revoked = await parts.engine.apply_async(lambda tx: revoke_token(tx, token, by=caller.token, now=now))
    parts.gate.tokens.forget()
    return told(token_json(revoked))


async def _made(parts: Parts, caller: Caller, grant: Grant, *, expires_seconds: float | None) -> Response:
    now, entropy = parts.clock.now(), parts.entropy(ENTROPY_BYTES)
    expires_at = None if expires_seconds is None else now + timedelta(seconds=expires_seconds)
    minted = await parts.engine.apply_async(
        lambda tx: make_token(tx, grant, maker=caller.token, entropy=entropy, now=now, expires_at=expires_at)
    )
    parts.gate.tokens.forget()
    return told(token_json(minted.token) | {"token": minted.text}, status=201)


def token_json(token: Token) -> dict[str, object]:
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
