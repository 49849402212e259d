"""Tokens: `ph_<kind>_<id>_<secret>` in their holder's hands, and only a digest of that text in ours.

The secret is 256 random bits, so a plain SHA-256 is as good as any slow hash; digests are compared in constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pilothouse.access.roles import PERMISSIONS, Permission, Role
from pilothouse.errors import BadValue, Refused
from pilothouse.ids import FactoryName, ProductId

ID_BYTES = 10
SECRET_BYTES = 32
ENTROPY_BYTES = ID_BYTES + SECRET_BYTES
"""The random bytes that one token takes."""
NAME_MAX = 64

_TEXT = re.compile(r"ph_(?P<kind>user|worker|enrolment)_(?P<id>[a-z2-7]{16})_(?P<secret>[a-z2-7]{52})", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*", re.ASCII)


class TokenKind(StrEnum):
    """Whose a token is: a person's or a program's, a factory's, or nobody's until a factory enrols with it."""

    USER = "user"
    WORKER = "worker"
    ENROLMENT = "enrolment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it is stored; `digest` is the SHA-256 of its text.

    `name` is whom it was given to. A `product` of None stands for all of them. An enrolment token has no role; it is
    used up at `used_at`. A worker's key belongs to one `factory`. `revoked_at` may be to come: a key that was replaced
    stays good for a short while.
    """

    id: str
    kind: TokenKind
    name: str
    role: Role | None
    product: ProductId | None
    factory: FactoryName | None
    digest: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None
    used_at: datetime | None = None

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the token permits, as long as it is good."""
        if self.kind is TokenKind.ENROLMENT:
            return frozenset({Permission.ENROL})
        return PERMISSIONS[self.role] if self.role is not None else frozenset()

    def fault(self, *, now: datetime) -> str | None:
        """Return why the token is no longer good, or None while it is."""
        if self.revoked_at is not None and self.revoked_at <= now:
            return f"was revoked at {_shown(self.revoked_at)}"
        if self.used_at is not None:
            return f"was used at {_shown(self.used_at)}"
        if self.expires_at is not None and self.expires_at <= now:
            return f"expired at {_shown(self.expires_at)}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a new token is to be: kind, holder, role and scope."""

    kind: TokenKind
    name: str
    role: Role | None
    product: ProductId | None
    factory: FactoryName | None = None


def mint_token(grant: Grant, *, entropy: bytes, now: datetime, expires_at: datetime | None) -> tuple[str, Token]:
    """Return the text for the holder, which is shown once, and the token to store."""
    assert len(entropy) == ENTROPY_BYTES, f"entropy is {ENTROPY_BYTES} bytes, got {len(entropy)}"
    _check(grant, now=now, expires_at=expires_at)
    name = _base32(entropy[:ID_BYTES])
    text = f"ph_{grant.kind}_{name}_{_base32(entropy[ID_BYTES:])}"
    token = Token(
        id=name,
        kind=grant.kind,
        name=grant.name,
        role=grant.role,
        product=grant.product,
        factory=grant.factory,
        digest=digest_of(text),
        created_at=now,
        expires_at=expires_at,
    )
    return text, token


def token_id(text: str) -> str | None:
    """Return the id that a token's text names, or None when it is not of a token's form."""
    found = _TEXT.fullmatch(text)
    return found["id"] if found is not None else None


def digest_of(text: str) -> str:
    """Return what is kept of a token's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_text_of(token: Token | None, text: str) -> bool:
    """Return whether the text is the token's; for a token that is not there the work is the same, and the answer no."""
    kept = token.digest if token is not None else "0" * 64
    return hmac.compare_digest(digest_of(text), kept) and token is not None


def _check(grant: Grant, *, now: datetime, expires_at: datetime | None) -> None:
    if not _NAME.fullmatch(grant.name) or len(grant.name) > NAME_MAX:
        raise BadValue(
            f"{grant.name!r:.80} cannot name a token's holder",
            fix=f"use 1 to {NAME_MAX} letters, digits and . _ @ + -, beginning with a letter or a digit",
        )
    if expires_at is not None and expires_at <= now:
        raise BadValue(f"a token that expires at {_shown(expires_at)} is of no use", fix="name a time to come")
    if grant.kind is TokenKind.USER and (grant.role is None or grant.role is Role.WORKER):
        raise Refused(
            f"a user's token cannot have the role {grant.role.value if grant.role else 'none'}",
            fix="a factory gets its worker's key by enrolling; choose another role",
        )
    assert (grant.kind is TokenKind.WORKER) == (grant.role is Role.WORKER), f"{grant.kind} with {grant.role}"
    assert (grant.kind is TokenKind.WORKER) == (grant.factory is not None), f"{grant.kind} for {grant.factory}"
    assert grant.kind is not TokenKind.ENROLMENT or grant.role is None, f"an enrolment as {grant.role}"


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").lower().rstrip("=")


def _shown(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ")
