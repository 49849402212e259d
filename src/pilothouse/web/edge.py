"""The outermost edge: who may speak to this server from where, how much at once, and what every answer carries.

It is plain ASGI, so that a long poll or an upload passes through without being gathered first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pilothouse.errors import BadValue, PilothouseError, Refused, TooLarge
from pilothouse.web import problems

JSON_BYTES_MAX = 4 << 20
ARTIFACT_BYTES_MAX = 16 << 30
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OWN_SITE = frozenset({b"same-origin", b"none"})

HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What every answer carries; a route may say otherwise."""
_RAW = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most bytes of a body: of JSON, and of an artifact."""

    json_bytes: int = JSON_BYTES_MAX
    artifact_bytes: int = ARTIFACT_BYTES_MAX


def loopback_hosts(port: int) -> frozenset[str]:
    """Return the Host headers that a server on the loopback's port believes; any other may be a rebound name."""
    return frozenset(f"{name}:{port}" for name in LOOPBACK_NAMES)


class Edge:
    """Refuses what comes under a foreign name, from a foreign page or with too large a body; dresses every answer.

    `hosts` are the Host headers that are believed, None for any. `failed` is told of each answer that had to put
    somebody off.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str] | None, limits: Limits, failed: Callable[[], None]
    ) -> None:
        self._app = app
        self._failed = failed
        self._hosts = hosts
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        dressed = _Dressed(send, failed=self._failed)
        refusal = self._refusal(scope, dict(scope["headers"]))
        if refusal is not None:
            error, status = refusal
            await problems.answer(error, status=status)(scope, receive, dressed)
            return
        body = _Body(receive, limit=self._limit(scope))
        try:
            await self._app(scope, body, dressed)
        except ClientDisconnect:
            return
        except PilothouseError as error:
            if dressed.began:
                raise
            await problems.answer(error)(scope, receive, dressed)
        except Exception as error:  # the outermost edge: whatever failed inside, the asker gets an answer
            if dressed.began:
                raise
            await problems.unforeseen(error)(scope, receive, dressed)

    def _refusal(
        self, scope: Scope, headers: Mapping[bytes, bytes]
    ) -> tuple[BadValue | Refused | TooLarge, int | None] | None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts is not None and host not in self._hosts:
            fix = f"call it as {' or '.join(sorted(self._hosts))}, or start it with authentication on another address"
            return Refused(f"this server is not called {host!r:.100}", fix=fix), 421
        if scope["method"] not in SAFE_METHODS and not _from_own_site(headers, host):
            return Refused("a page of another site may not change anything here", fix="call it from a program"), None
        told = headers.get(b"content-length")
        if told is None:
            return None
        if not told.isdigit():
            return BadValue(f"Content-Length is {told!r:.40}", fix="send a whole number"), 400
        limit = self._limit(scope)
        return (_too_large(limit), None) if len(told) > 18 or int(told) > limit else None

    def _limit(self, scope: Scope) -> int:
        is_artifact = scope["method"] == "POST" and "/artifacts/" in scope["path"]
        return self._limits.artifact_bytes if is_artifact else self._limits.json_bytes


class _Body:
    """The body as it comes, up to a limit."""

    def __init__(self, receive: Receive, *, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._taken = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        if self._taken > self._limit:
            raise _too_large(self._limit)
        return message


class _Dressed:
    """Sends an answer with the headers that every answer carries; `began` tells whether it is on its way."""

    def __init__(self, send: Send, *, failed: Callable[[], None]) -> None:
        self._send = send
        self._failed = failed
        self.began = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.began = True
            if message["status"] == HTTPStatus.SERVICE_UNAVAILABLE:
                self._failed()
            there = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(each for each in _RAW if each[0] not in there)]
        await self._send(message)


def _from_own_site(headers: Mapping[bytes, bytes], host: str) -> bool:
    """Return whether a change comes from a program or from a page of this very server; a browser always tells."""
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site is not None and site not in OWN_SITE:
        return False
    return origin is None or origin.decode("latin-1").partition("://")[2] == host


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body has more than {limit} bytes", fix="send it in parts: fewer jobs or reports at once")
