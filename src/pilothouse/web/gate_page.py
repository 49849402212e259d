"""The gate's page: open proposals with exactly what each changes, and two buttons.

The page holds nothing itself: it asks the same routes as any other client, with the token that its reader types.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

from fastapi import APIRouter
from starlette.responses import Response

router = APIRouter()
PAGE = "/gate"
PAGES = "pilothouse.web.pages"
KINDS = {"gate.html": "text/html", "gate.css": "text/css", "gate.js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Only our own files run here, and no text can become one of them."""


@router.get(PAGE, include_in_schema=False)
async def gate_page() -> Response:
    """Return the page."""
    return _file("gate.html")


@router.get(PAGE + "/{name}", include_in_schema=False)
async def gate_file(name: Literal["gate.css", "gate.js"]) -> Response:
    """Return what the page is made of."""
    return _file(name)


def _file(name: str) -> Response:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return Response(_read(name), media_type=KINDS[name], headers=headers)


@cache
def _read(name: str) -> bytes:
    return files(PAGES).joinpath(name).read_bytes()
