"""Hold the app against its own OpenAPI document, with whatever Schemathesis makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pilothouse.web.app import new_app
from pilothouse.web.artifact_routes import TAR
from pilothouse.web.edge import Limits
from pilothouse.wiring.workspace import SystemClock
from tests.web.proposing import propose
from tests.web.world import World, running

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
URL = "http://localhost"
BATCHES = frozenset({"/fleet/complete"})
"""What takes each part of its body by itself: a bad part is answered beside the good ones."""


@schemathesis.serializer(TAR)
def _archive(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Send a generated archive as it is."""
    del context
    return value if isinstance(value, bytes) else str(value).encode()


def operations() -> list[tuple[str, str]]:
    """Return the method and path of every operation."""
    paths = new_app().openapi()["paths"]
    return [(method, path) for path, methods in paths.items() for method in methods]


@contextmanager
def fleet(home: Path) -> Iterator[World]:
    """Yield an open server with something of everything; its clock runs, since a claim may wait."""
    with running(home, open_loopback=True, clock=SystemClock(), limits=Limits()) as world:
        world.do("PUT", "/fleet/budgets/demo", json={"usd": 100})
        key = world.factory()
        world.submit(ship="manual")
        world.complete(key, world.claim(key, jobs=1)[0])
        world.submit(children=[{"name": "a", "command": ["true"]}])
        world.submit(review={"approvals": 1})
        world.claim(key, jobs=1)
        propose(world)
        yield world


def hold(world: World, method: str, path: str, *, cases: int) -> int:
    """Send so many requests to an operation, half of them bad ones if it can be; return how many were sent."""
    operation = _open_contract()[path][method.upper()]
    say = Saying(app=world.app, cases=max(1, cases // 2), known=_known(world), headers=_shown(world, path))
    if _can_be_wrong(operation):
        say.run(operation, GenerationMode.NEGATIVE, [*CHECKS, *(() if path in BATCHES else (negative_data_rejection,))])
    while say.sent < cases:
        say.run(operation, GenerationMode.POSITIVE, CHECKS)
    return say.sent


class Saying:
    """Sends generated requests to the app and checks each answer; every second good one names what is there."""

    def __init__(self, *, app: Any, cases: int, known: dict[str, str], headers: dict[str, str]) -> None:
        self.sent = 0
        self._app = app
        self._cases = cases
        self._known = known
        self._headers = headers

    def run(self, operation: Any, mode: GenerationMode, checks: list[Any]) -> None:
        """Send as many requests as there are to be; an operation that takes nothing has one only."""

        @settings(
            max_examples=self._cases,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            self.sent += 1
            if mode is GenerationMode.POSITIVE and self.sent % 2:
                _name_what_is_there(case, self._known)
            if isinstance(case.body, dict) and isinstance(case.body.get("wait_seconds"), int | float):
                case.body["wait_seconds"] = min(case.body["wait_seconds"], 0)
            case.headers = {**(case.headers or {}), **self._headers}
            case.call_and_validate(base_url=URL, app=self._app, checks=checks)

        send()


@cache
def _open_contract() -> Any:
    """Return the contract as it holds on an open server: nobody has to show a token."""
    document = new_app().openapi()
    for methods in document["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)
    return schemathesis.openapi.from_dict(document)


def _known(world: World) -> dict[str, str]:
    """Return names that are there, so that not every good request ends with 404."""
    jobs = world.do("GET", "/fleet/jobs")["jobs"]
    (proposal,) = world.do("GET", "/proposals")["proposals"]
    return {
        "proposal": proposal["id"],
        "job": jobs[0]["id"],
        "name": "f1",
        "product": "demo",
        "factory": "f1",
        "boot": "b1",
    }


def _shown(world: World, path: str) -> dict[str, str]:
    """Return what a request shows besides: the gate asks for a name and for what was read on an open server too."""
    if not path.startswith("/proposals"):
        return {}
    (proposal,) = world.do("GET", "/proposals")["proposals"]
    return {"Authorization": f"Bearer {world.owner}", "If-Match": f'"{proposal["subject_digest"]}"'}


def _name_what_is_there(case: Any, known: dict[str, str]) -> None:
    for place in (case.path_parameters, case.body):
        if isinstance(place, dict):
            place.update({name: value for name, value in known.items() if name in place})


def _can_be_wrong(operation: Any) -> bool:
    """Whether the operation takes anything that could be wrong."""
    return bool(operation.body) or bool(operation.path_parameters) or bool(operation.query)
