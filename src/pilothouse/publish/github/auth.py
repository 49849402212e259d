"""Who we are to GitHub: a fine-grained token, or an App's installation whose tokens live for an hour."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from pilothouse.canonical import Json
from pilothouse.errors import UsageError
from pilothouse.publish import fields
from pilothouse.publish.github.faults import Strange

JWT_SECONDS = 540
"""GitHub takes no more than ten minutes; a minute is left for clocks that differ."""
RENEW_SECONDS = 300.0
"""How long before its end an installation's token is replaced."""

FRESH_SECONDS = 60.0
"""A token that is refused within this time of its making was never good."""

Ask = Callable[[str, str, str], Json]
"""Asks GitHub: method, path and the text of the Authorization header."""


class Auth(Protocol):
    """Shows who we are."""

    def header(self, ask: Ask, *, now: datetime) -> str:
        """Return the text of the Authorization header."""
        ...

    def login(self, ask: Ask, *, now: datetime) -> str:
        """Return the login under which our words stand."""
        ...

    def refused(self, *, now: datetime) -> bool:
        """Hear that the header was refused, and say whether the next one will be another."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuth:
    """A fine-grained token of a person or of an account for machines."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what no header could hold, such as a file with two lines."""
        if not _fits_a_header(self.token):
            raise UsageError(
                "the GitHub token has a line break, or a character that none has",
                fix="write the token alone into its file, or into PILOTHOUSE_GITHUB_TOKEN",
            )

    def header(self, ask: Ask, *, now: datetime) -> str:
        """Return the text of the Authorization header."""
        del ask, now
        return f"Bearer {self.token}"

    def login(self, ask: Ask, *, now: datetime) -> str:
        """Return the login of the token's owner."""
        return _named(fields.text(ask("GET", "/user", self.header(ask, now=now)), "login"), what="GET /user")

    def refused(self, *, now: datetime) -> bool:
        """Hear it: there is no other token."""
        del now
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class AppKey:
    """An App, the installation of it that is meant, and the App's private key as PEM text."""

    app: str
    installation: str
    key: str = field(repr=False)


class AppAuth:
    """The installation of an App; its tokens are fetched and replaced as they run out."""

    def __init__(self, key: AppKey) -> None:
        self._key = key
        self._lock = threading.Lock()
        self._token = ""
        self._expires: datetime | None = None
        self._made: datetime | None = None

    def header(self, ask: Ask, *, now: datetime) -> str:
        """Return the text of the Authorization header."""
        with self._lock:
            if self._expires is None or now + timedelta(seconds=RENEW_SECONDS) >= self._expires:
                path = f"/app/installations/{self._key.installation}/access_tokens"
                told = ask("POST", path, self._signed(now))
                self._made = now
                token = fields.text(told, "token")
                self._token = _named(token if _fits_a_header(token) else "", what=f"POST {path}")
                self._expires = fields.when(told, "expires_at") or now + timedelta(seconds=RENEW_SECONDS)
            return f"Bearer {self._token}"

    def login(self, ask: Ask, *, now: datetime) -> str:
        """Return the login of the App's own account."""
        slug = _named(fields.text(ask("GET", "/app", self._signed(now)), "slug"), what="GET /app")
        return f"{slug}[bot]"

    def refused(self, *, now: datetime) -> bool:
        """Forget a token that was taken back before its end, or outlives it by a clock that was set back.

        One that is refused as soon as it was made is no better the next time.
        """
        with self._lock:
            self._expires = None
            return self._made is None or abs((now - self._made).total_seconds()) > FRESH_SECONDS

    def _signed(self, now: datetime) -> str:
        """Return the App's own credential, signed with its key."""
        try:
            import jwt  # noqa: PLC0415  an optional extra, needed for an App only
        except ImportError as error:
            raise UsageError(
                "a GitHub App needs PyJWT and cryptography, which are not installed",
                fix="pip install 'pilothouse[github]', or use a fine-grained token",
            ) from error
        seconds = int(now.timestamp())
        claims: Mapping[str, Json] = {"iat": seconds - 60, "exp": seconds + JWT_SECONDS, "iss": self._key.app}
        try:
            text = jwt.encode(dict(claims), self._key.key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise UsageError(
                f"the private key of App {self._key.app} cannot be used: {type(error).__name__}",
                fix="name the .pem file that GitHub gave for this App in github_app_key_file",
            ) from error
        return f"Bearer {text}"


def _fits_a_header(token: str) -> bool:
    """Whether a header can hold it: with anything else whoever sends it would quote it, secret and all."""
    return token.isascii() and token.isprintable()


def _named(found: str, *, what: str) -> str:
    if not found:
        raise Strange(f"the answer to {what} lacks what it is asked for", fix="check github_url in the settings")
    return found
