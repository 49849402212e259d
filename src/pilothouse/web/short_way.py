"""The short way to the routes that factories ask thousands of times a second.

FastAPI's general machinery costs several times what these routes do themselves. It still declares them, tells their
contract and answers every other method; a POST to one of them goes straight to its endpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pilothouse.errors import PilothouseError
from pilothouse.web import problems

Endpoint = Callable[[Request], Awaitable[Response]]


class ShortWay:
    """An ASGI app in front of another one; `endpoints` are POST routes by their exact paths."""

    def __init__(self, app: FastAPI, endpoints: Mapping[str, Endpoint]) -> None:
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._app
        try:
            response = await endpoint(Request(scope, receive))
        except PilothouseError as error:
            response = problems.answer(error)
        await response(scope, receive, send)
