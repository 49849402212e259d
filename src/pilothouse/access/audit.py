"""What is kept of an act that needs a privilege: who did it, when, to what, and from which state to which.

The states are kept as digests of what the object's route told before and after, so that a present state can be held
against the line that made it. No secret, and no text that a person typed, is part of a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pilothouse.access.token import Token
from pilothouse.ids import ProductId

NOBODY_ELSE = "local"
"""Who acts on an open server, where nobody has to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts: the name of a token and its id, which is None on an open server."""

    name: str
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One act. `act` is a noun and a verb, such as `factory.revoke`; a product of None is all of them.

    `before` and `after` are the digests of the object's states, None where there was none or is none any more.
    """

    at: datetime
    product: ProductId | None
    actor: Actor
    act: str
    object: str
    detail: str = ""
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """A deed as it was stored; later ones have higher positions."""

    position: int
    deed: Deed


def actor_of(token: Token | None) -> Actor:
    """Return who acts with this token, or without one on an open server."""
    return Actor(name=NOBODY_ELSE) if token is None else Actor(name=token.name, token=token.id)
