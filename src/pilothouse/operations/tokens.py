"""Make tokens, take them away, and turn a one-time enrolment token into a worker's key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pilothouse.access.roles import Role
from pilothouse.access.token import Grant, Token, TokenKind, mint_token
from pilothouse.errors import NotAuthenticated, NotFound, Refused
from pilothouse.ids import FactoryName, ProductId
from pilothouse.ports.store import Transaction

KEY_SECONDS = 30 * 86400.0
"""How long a worker's key is good."""
OVERLAP_SECONDS = 300.0
"""How long the old key stays good after a new one was made, so that an answer that was lost does no harm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A token as it was stored, and its text, which nobody can read again."""

    text: str
    token: Token


def make_token(
    tx: Transaction,
    grant: Grant,
    *,
    maker: Token | None,
    entropy: bytes,
    now: datetime,
    expires_at: datetime | None,
) -> Minted:
    """Return a new token; whoever's own is for one product makes none for another, or for all of them."""
    if maker is not None and maker.product is not None and maker.product != grant.product:
        scope = f"product {grant.product}" if grant.product is not None else "all products"
        raise Refused(
            f"the token {maker.id} is for product {maker.product}, and makes none for {scope}",
            fix=f"make it for product {maker.product}, or use an admin's token for all products",
        )
    text, token = mint_token(grant, entropy=entropy, now=now, expires_at=expires_at)
    tx.access.add(token)
    return Minted(text=text, token=token)


def revoke_token(tx: Transaction, name: str, *, by: Token | None, now: datetime) -> Token:
    """Return the token as it is from now on: worthless."""
    token = tx.access.by_id(name)
    if token is None or (by is not None and by.product is not None and by.product != token.product):
        raise NotFound(f"there is no token {name}", fix="`pilothouse token list` shows what there is")
    tx.access.revoke(name, now=now)
    found = tx.access.by_id(name)
    assert found is not None, f"the token {name} is gone"
    return found


def use_enrolment(
    tx: Transaction, enrolment: Token | None, factory: FactoryName, *, entropy: bytes, now: datetime
) -> Minted:
    """Return the factory's key, for which the enrolment token is used up; one that was used already is refused.

    Without an enrolment token, as on an open server, the key is good for all products.
    """
    if enrolment is not None and not tx.access.consume(enrolment.id, now=now):
        raise NotAuthenticated(
            f"the enrolment token {enrolment.id} is no longer good: it was used, revoked, or has expired",
            fix="ask an admin for a new one: `pilothouse token enrol`",
        )
    product = enrolment.product if enrolment is not None else None
    return _new_key(tx, factory, product=product, entropy=entropy, now=now)


def rotate_key(
    tx: Transaction, factory: FactoryName, *, product: ProductId | None, entropy: bytes, now: datetime
) -> Minted:
    """Return a new key of the factory; those it has stay good for a short while only."""
    old = live_keys(tx, factory, product=product, now=now)
    if not old:
        raise NotFound(f"factory {factory} has no key that is good", fix="enrol it: `pilothouse factory enroll`")
    minted = _new_key(tx, factory, product=product, entropy=entropy, now=now)
    until = now + timedelta(seconds=OVERLAP_SECONDS)
    for key in old:
        tx.access.revoke(key.id, now=until)
    return minted


def revoke_keys(
    tx: Transaction, factory: FactoryName, *, product: ProductId | None, spare: Token | None, now: datetime
) -> Sequence[Token]:
    """Return the factory's keys that were good until now; one may be spared."""
    keys = [key for key in live_keys(tx, factory, product=product, now=now) if spare is None or key.id != spare.id]
    for key in keys:
        tx.access.revoke(key.id, now=now)
    return keys


def live_keys(tx: Transaction, factory: FactoryName, *, product: ProductId | None, now: datetime) -> Sequence[Token]:
    """Return the factory's keys that are good now."""
    keys = [token for token in tx.access.listed(product) if token.kind is TokenKind.WORKER]
    return [key for key in keys if key.factory == factory and key.product == product and key.fault(now=now) is None]


def _new_key(
    tx: Transaction, factory: FactoryName, *, product: ProductId | None, entropy: bytes, now: datetime
) -> Minted:
    grant = Grant(kind=TokenKind.WORKER, name=factory, role=Role.WORKER, product=product, factory=factory)
    text, token = mint_token(grant, entropy=entropy, now=now, expires_at=now + timedelta(seconds=KEY_SECONDS))
    tx.access.add(token)
    return Minted(text=text, token=token)
