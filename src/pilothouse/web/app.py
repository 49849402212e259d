"""The app: every route of the fleet behind one gate."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from pilothouse import __version__
from pilothouse.web import (
    access_routes,
    artifact_routes,
    budget_routes,
    dispatch_routes,
    factory_routes,
    figure_routes,
    gate_page,
    job_routes,
    proposal_routes,
    scheduling_routes,
    webhooks,
)
from pilothouse.web.answers import Health
from pilothouse.web.bodies import BODIES
from pilothouse.web.edge import Edge, Limits
from pilothouse.web.parts import Parts, route, told
from pilothouse.web.problems import Problem, add_problems
from pilothouse.web.short_way import ShortWay

OPENAPI = "/openapi.json"
HEALTH = "/health"
ROOMS = (
    dispatch_routes,
    job_routes,
    artifact_routes,
    factory_routes,
    budget_routes,
    access_routes,
    figure_routes,
    scheduling_routes,
    proposal_routes,
    gate_page,
    webhooks,
)
"""What is asked most comes first: routes are tried in their order."""
_REF = "#/components/schemas/{model}"
_SUMMARY = "A durable fleet of training jobs: claims with fencing epochs, graphs, budgets and preemption."


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """How the app is seen from outside: the Host headers it believes (None: any), and the largest bodies."""

    hosts: Collection[str] | None = None
    limits: Limits = field(default_factory=Limits)


class App(FastAPI):
    """FastAPI, whose schema also tells the bodies that routes read themselves, the problems and the bearer."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            self.openapi_schema = _completed(super().openapi())
        return self.openapi_schema


def build_app(parts: Parts, face: Face) -> Edge:
    """Return the ASGI app over these parts."""
    app = new_app()
    app.state.parts = parts
    short = ShortWay(app, dispatch_routes.OFTEN)
    return Edge(short, hosts=face.hosts, limits=face.limits, failed=parts.figures.failed)


def new_app() -> App:
    """Return the routes and their contract, with nothing behind them yet."""
    app = App(
        title="Pilothouse",
        version=__version__,
        summary=_SUMMARY,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for room in ROOMS:
        app.include_router(room.router)
    app.add_api_route(HEALTH, health, methods=["GET"], **route(answers={200: Health}))
    app.add_api_route(OPENAPI, openapi, methods=["GET"], include_in_schema=False)
    add_problems(app)
    return app


async def health() -> Response:
    """Answer that the server lives; it is the one route that asks for no token."""
    return told({"status": "ok"})


async def openapi(request: Request) -> Response:
    """Return the contract of this API; it is the same for everybody, and no secret."""
    app = request.app
    assert isinstance(app, App), f"not our app: {app!r}"
    return told(app.openapi())


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    told: tuple[type[BaseModel], ...] = (*BODIES, Problem)
    models: list[tuple[type[BaseModel], Literal["validation"]]] = [(each, "validation") for each in told]
    _, definitions = models_json_schema(models, ref_template=_REF)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(definitions["$defs"])
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    for path, methods in document["paths"].items():
        if path != HEALTH:
            for operation in methods.values():
                operation["security"] = [{"bearer": []}]
    return document
