"""What routes work with, and how they declare and answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path as FolderPath
from typing import Annotated, Any, TypeVar

from fastapi import Path
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from pilothouse.engine.engine import Engine
from pilothouse.errors import PreconditionFailed, PreconditionMissing
from pilothouse.ids import Epoch
from pilothouse.ports.blobs import Blobs
from pilothouse.ports.clock import Clock
from pilothouse.ports.store import Transaction
from pilothouse.web.figures import Figures
from pilothouse.web.identity import Gate
from pilothouse.web.problems import declared
from pilothouse.web.waiting import Waiting

T = TypeVar("T")

JobPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$", description="The job's id.")]
NamePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
DigestPath = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
ProductPath = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The engine behind the routes, who is let in, and what is counted.

    Uploads are unpacked under `scratch`; a factory of this machine may have its run folders in `home`. Webhooks are
    signed with `hook_secret`, None for no webhooks, and `ring` wakes whoever looks at the forge.
    """

    engine: Engine
    blobs: Blobs
    clock: Clock
    gate: Gate
    figures: Figures
    entropy: Callable[[int], bytes]
    home: FolderPath
    scratch: FolderPath
    waiting: Waiting = field(default_factory=Waiting)
    hook_secret: bytes | None = field(default=None, repr=False)
    ring: Callable[[], None] = lambda: None

    async def read(self, query: Callable[[Transaction], T]) -> T:
        """Return what the query finds in one snapshot; it runs beside the event loop."""
        return await asyncio.to_thread(self._query, query)

    def _query(self, query: Callable[[Transaction], T]) -> T:
        with self.engine.read() as tx:
            return query(tx)


def parts_of(request: Request) -> Parts:
    """Return what the app was built with."""
    parts = request.app.state.parts
    assert isinstance(parts, Parts), f"the app was not built by build_app: {parts!r}"
    return parts


def route(
    *,
    answers: Mapping[int, type[BaseModel] | None],
    problems: tuple[int, ...] = (),
    body: type[BaseModel] | None = None,
    raw: Mapping[int | str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return what a route tells of itself: its answers, its problems and its body; raw answers are no JSON."""
    responses = declared(*problems)
    for status, model in answers.items():
        told: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        responses[status] = told | ({"model": model} if model is not None else {})
    responses |= dict(raw or {})
    extra: dict[str, Any] = {}
    if body is not None:
        schema = {"$ref": f"#/components/schemas/{body.__name__}"}
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    first = next(iter(answers))
    return {"status_code": first, "responses": responses, "openapi_extra": extra or None, "response_model": None}


def told(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer in JSON."""
    return Response(to_json(value), status_code=status, media_type="application/json", headers=headers)


def etag(epoch: int) -> dict[str, str]:
    """Return the header by which a later change names what it was meant for."""
    return {"ETag": f'"{epoch}"'}


def expected_epoch(request: Request) -> Epoch:
    """Return the epoch that If-Match names."""
    named = request.headers.get("if-match", "").strip()
    if not named:
        raise PreconditionMissing(
            "a change names the epoch it was meant for", fix='send If-Match: "EPOCH", as ETag told it'
        )
    text = named.removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise PreconditionFailed(
            f"If-Match is {named!r:.60}, and no epoch", fix="send the ETag of the job as it was read"
        )
    return Epoch(int(text))
