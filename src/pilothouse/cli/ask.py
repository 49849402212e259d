"""The one client of the command line: every command of the fleet is a request to the same app.

The app is asked over HTTP where `--server` or PILOTHOUSE_SERVER names a server, or where the home's own server lives;
otherwise it runs in this process, over an engine that lives as long as the command.
"""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

from pilothouse.cli.context import settings_of
from pilothouse.errors import BadValue, OperationFailed, Refused, Unreachable, named

if TYPE_CHECKING:
    import httpx2

    from pilothouse.settings import Settings

ANSWER_SECONDS = 30.0
CONNECT_SECONDS = 5.0
TOKEN_BYTES_MAX = 4096
OWN_URL = "http://localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request. `product` is the one of the settings, unless the route has its own."""

    method: str
    path: str
    body: Any = None
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the app answered, if it did not refuse."""

    status: int
    value: Any
    headers: Mapping[str, str]


def ask(
    ctx: typer.Context,
    method: str,
    path: str,
    *,
    body: Any = None,
    query: Mapping[str, str | None] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Return the app's answer; what it refuses is raised as the error that it was."""
    chosen = {name: value for name, value in (query or {}).items() if value is not None}
    question = Question(method=method, path=path, body=body, query=chosen, headers=headers)
    return asyncio.run(_ask(settings_of(ctx), ctx.find_root().params.get("server_url"), question))


def path(*parts: str) -> str:
    """Return the path of these parts; what a person typed stays one part, whatever it holds."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


async def _ask(settings: Settings, server: str | None, question: Question) -> Reply:
    import httpx2

    async with _client(settings, server, create=question.method != "GET") as client:
        query = dict(question.query or {})
        if settings.product is not None:
            query.setdefault("product", settings.product)
        try:
            response = await client.request(
                question.method,
                question.path,
                json=question.body,
                params=query,
                headers=dict(question.headers or {}),
            )
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise Unreachable(
                f"the server at {client.base_url} does not answer: {str(error) or type(error).__name__}",
                fix="start it with `pilothouse server`, or name the right one with --server",
            ) from error
    return _understood(response)


@asynccontextmanager
async def _client(settings: Settings, server: str | None, *, create: bool) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a client of whichever app is to be asked."""
    import httpx2

    from pilothouse.wiring.server import living_server, local_app

    timeout = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    token, url = shown_token(settings), server or settings.server
    own = living_server(settings.home) if url is None else None
    if own is not None:
        url, token = own.url, token or own.token
    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise BadValue(f"{url!r} is no URL of a server", fix="write it as http://HOST:PORT")
        async with httpx2.AsyncClient(base_url=url, timeout=timeout, headers=_bearer(token), trust_env=False) as client:
            yield client
        return
    with local_app(settings, create=create) as (app, owner):
        transport, headers = httpx2.ASGITransport(app), _bearer(owner)
        async with httpx2.AsyncClient(base_url=OWN_URL, transport=transport, timeout=None, headers=headers) as client:
            yield client


def shown_token(settings: Settings) -> str | None:
    """Return the token of the settings, or of the file that they name, which only its owner may be able to read."""
    if settings.token is not None:
        return settings.token
    if settings.token_file is None:
        return None
    path = Path(settings.token_file).expanduser()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise Refused(f"{path} can be read by others (mode {mode:04o})", fix=f"chmod 600 {path}")
        return path.read_bytes()[:TOKEN_BYTES_MAX].decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OperationFailed(
            f"the token file {path} cannot be read: {error}", fix="mend PILOTHOUSE_TOKEN_FILE"
        ) from error


def _bearer(token: str | None) -> dict[str, str]:
    if token is None:
        return {}
    if not token.isascii() or not token.isprintable():
        raise BadValue("the token holds letters that no token has", fix="mend PILOTHOUSE_TOKEN")
    return {"Authorization": f"Bearer {token}"}


def _understood(response: httpx2.Response) -> Reply:
    try:
        value = json.loads(response.content) if response.content else None
    except ValueError:
        value = None
    if response.is_success:
        return Reply(status=response.status_code, value=value, headers=response.headers)
    if isinstance(value, dict) and {"title", "detail", "fix"} <= value.keys():
        raise named(str(value["title"]), str(value["detail"]), fix=str(value["fix"]))
    raise OperationFailed(
        f"{response.request.url} answered {response.status_code}, and not as a server of ours",
        fix="check that --server names a Pilothouse server",
    )
