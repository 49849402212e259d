"""The one rule of access: deny, unless a good token's role permits the act on this product."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pilothouse.access.roles import ALWAYS_NAMED, PERMISSIONS, Permission, Role
from pilothouse.access.token import Token
from pilothouse.ids import ProductId


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The act is permitted; `token` is None where the server is open to whoever reaches it."""

    token: Token | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The act is refused. `known` tells a good token that does not suffice from no good token at all."""

    why: str
    fix: str
    known: bool


def authorise(
    token: Token | None, permission: Permission, product: ProductId | None, *, now: datetime, open_loopback: bool
) -> Allowed | Denied:
    """Return whether the token permits the act on the product; a product of None stands for all of them.

    An open server asks for no token but for what is always done by name; one that is shown must be good and suffice.
    """
    if token is None:
        if open_loopback and permission not in ALWAYS_NAMED:
            return Allowed(token=None)
        return Denied(
            why="this needs a token, and none was shown",
            fix=f"send it as `Authorization: Bearer TOKEN`; {_maker(permission)} makes one",
            known=False,
        )
    fault = token.fault(now=now)
    if fault is not None:
        return Denied(why=f"the token {token.id} {fault}", fix="ask an admin for a new one", known=False)
    if permission not in token.permissions:
        return Denied(
            why=f"{_described(token)} does not permit to {permission.value}", fix=_who_may(permission), known=True
        )
    if token.product is not None and token.product != product:
        asked = f"product {product}" if product is not None else "all products"
        return Denied(
            why=f"the token {token.id} is for product {token.product}, not for {asked}",
            fix=f"name product {token.product}, or use a token for {asked}",
            known=True,
        )
    return Allowed(token=token)


def _maker(permission: Permission) -> str:
    """Return the command that makes a token for the act, of the role that may do the least besides."""
    roles = [role for role, permitted in PERMISSIONS.items() if permission in permitted and role is not Role.WORKER]
    if not roles:
        return "`pilothouse factory enroll`"
    least = min(roles, key=lambda role: len(PERMISSIONS[role]))
    return f"`pilothouse token create NAME --role {least.value}`"


def _described(token: Token) -> str:
    role = token.role.value if token.role is not None else token.kind.value
    return f"the token {token.id} of {token.name} ({role})"


def _who_may(permission: Permission) -> str:
    roles = [role.value for role, permitted in PERMISSIONS.items() if permission in permitted]
    return f"use a token of the role {' or '.join(roles)}" if roles else "use an enrolment token"
