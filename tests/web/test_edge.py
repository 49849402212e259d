"""The outermost edge: names, pages, sizes, malformed requests, and what every answer carries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilothouse.errors import PilothouseError, StorageFailed
from pilothouse.web.edge import HEADERS, Edge, Limits
from pilothouse.web.problems import STATUSES, status_of
from tests.web.world import JSON_BYTES, WORK, World, refused, running

REBOUND = [
    "evil.test",
    "evil.test:8750",
    "localhost",
    "localhost:8751",
    "127.0.0.1",
    "127.0.0.1.nip.io:8750",
    "",
    "[::1]",
]
OWN = ["localhost:8750", "127.0.0.1:8750", "[::1]:8750"]
UNSAFE = ["POST", "PUT", "PATCH", "DELETE"]


@pytest.mark.parametrize("host", REBOUND)
@pytest.mark.parametrize("path", ["/health", "/fleet/jobs", "/metrics", "/openapi.json", "/nothing"])
def test_a_rebound_name_reaches_nothing(open_world: World, host: str, path: str) -> None:
    refused(open_world.ask("GET", path, headers={"Host": host}), 421)


@pytest.mark.parametrize("host", OWN)
def test_the_loopback_is_believed_with_its_port(open_world: World, host: str) -> None:
    assert open_world.ask("GET", "/fleet/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8751"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_changes_nothing(open_world: World, method: str, headers: dict[str, str]) -> None:
    answer = open_world.ask(method, "/fleet/jobs", headers=headers, json=WORK)

    refused(answer, 403, "Refused")
    assert open_world.do("GET", "/fleet/jobs")["jobs"] == []


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "http://localhost:8750", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}]
)
def test_a_program_and_a_page_of_its_own_may_change(open_world: World, headers: dict[str, str]) -> None:
    assert open_world.ask("POST", "/fleet/jobs", headers=headers, json=WORK).status_code == 201


def test_every_answer_carries_the_headers(open_world: World) -> None:
    """Good ones, problems and refusals at the edge alike."""
    for path, headers in (("/health", {}), ("/nothing", {}), ("/health", {"Host": "evil.test"}), ("/metrics", {})):
        answer = open_world.ask("GET", path, headers=headers)
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, path


# --- bodies


def test_a_body_that_says_it_is_too_large_is_not_read(world: World) -> None:
    taken: list[int] = []

    def body() -> Iterator[bytes]:
        taken.append(1)
        yield b"{}"

    headers = {"Content-Length": str(JSON_BYTES + 1), "Content-Type": "application/json"}
    answer = world.client.post("/fleet/jobs", headers=headers, content=body())

    refused(answer, 413, "TooLarge")


def test_a_body_that_grows_too_large_is_read_no_further() -> None:
    """Without a length it is counted as it comes."""
    sent: list[dict[str, Any]] = []
    pieces = iter(range(1000))

    async def receive() -> dict[str, Any]:
        next(pieces)
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    async def gather(scope: Any, receive: Any, send: Any) -> None:
        del scope, send
        while (await receive())["more_body"]:
            pass

    edge = Edge(gather, hosts=None, limits=Limits(json_bytes=10_500), failed=lambda: None)
    scope = {"type": "http", "method": "POST", "path": "/fleet/jobs", "headers": []}
    asyncio.run(edge(scope, receive, send))

    assert sent[0]["status"] == 413
    assert next(pieces) == 11


@pytest.mark.parametrize("length", ["-1", "1.5", "many", "9" * 30])
def test_a_length_that_is_none_is_refused(world: World, length: str) -> None:
    answer = world.client.post("/fleet/jobs", headers={"Content-Length": length}, content=b"")

    assert answer.status_code in {400, 413}
    refused(answer, answer.status_code)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"command": ["\xff"]}',
        b'{"command": ["\\ud800"]}',
        b"[" * 5000,
        b'{"a":' * 5000,
        b"null garbage",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/fleet/jobs"), ("PUT", "/fleet/budgets/demo")])
def test_what_is_no_json_is_refused(open_world: World, body: bytes, method: str, path: str) -> None:
    answer = open_world.ask(method, path, content=body, headers={"Content-Type": "application/json"})

    refused(answer, 400, "BadValue")


@pytest.mark.parametrize(
    "body", ["[]", "null", "1", '"text"', "{}", '{"command": 1}', '{"command": ["x"], "seats": "1"}']
)
def test_what_is_json_and_no_job_is_refused(open_world: World, body: str) -> None:
    answer = open_world.ask("POST", "/fleet/jobs", content=body, headers={"Content-Type": "application/json"})

    refused(answer, 422, "BadValue")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1", "true", '"5"', "1e13"])
def test_a_ceiling_is_a_finite_number_from_zero(open_world: World, number: str) -> None:
    answer = open_world.ask(
        "PUT", "/fleet/budgets/demo", content=f'{{"usd": {number}}}', headers={"Content-Type": "application/json"}
    )

    assert refused(answer, 422, "BadValue")["errors"][0]["at"] == "body.usd"


def test_an_unknown_key_is_refused(open_world: World) -> None:
    answer = open_world.ask("PUT", "/fleet/budgets/demo", json={"usd": 1, "euro": 1})

    assert refused(answer, 422)["errors"][0]["at"] == "body.euro"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_another_type_of_content_is_refused(open_world: World, kind: str) -> None:
    answer = open_world.ask("POST", "/fleet/jobs", content=json.dumps(WORK), headers={"Content-Type": kind})

    refused(answer, 415)


def test_a_route_or_method_that_is_not_there_is_a_problem(world: World) -> None:
    refused(world.ask("GET", "/fleet/nothing"), 404, "NotFound")
    refused(world.ask("GET", "/"), 404, "NotFound")
    answer = world.ask("DELETE", "/fleet/claim")
    refused(answer, 405, "UsageError")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("host", ["[", "a b", "::::", "x" * 5000])
def test_a_name_that_is_none_is_no_failure(world: World, host: str) -> None:
    """Where names are not checked, a strange one must do no harm."""
    refused(world.ask("GET", "/fleet/nothing", headers={"Host": host}), 404)
    refused(world.ask("GET", "/fleet/jobs", headers={"Host": host}), 401)


def test_a_query_that_is_wrong_names_its_field(world: World) -> None:
    answer = world.ask("GET", "/fleet/jobs?limit=0&stage=lost", token=world.owner)

    assert {each["at"] for each in refused(answer, 422)["errors"]} == {"query.limit", "query.stage"}


# --- errors


def every_error() -> list[type[PilothouseError]]:
    """Return the error classes of the product."""
    found: list[type[PilothouseError]] = []
    waiting = list(PilothouseError.__subclasses__())
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += one.__subclasses__()
    return found


@pytest.mark.parametrize("error", every_error())
def test_every_error_has_a_status(error: type[PilothouseError]) -> None:
    """The table is total, and the nearest family counts."""
    families = [family for family in STATUSES if issubclass(error, family)]
    nearest = max(families, key=lambda family: len(family.__mro__))

    assert status_of(error.__new__(error)) == STATUSES[nearest]


@pytest.mark.parametrize(
    "failure", [RuntimeError("a secret of the inside"), StorageFailed("the disk is full", fix="free it")]
)
def test_a_failure_inside_is_a_problem_that_tells_no_secret(
    tmp_path: Path, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, open_loopback=True) as world:

        def fail(*_: object) -> None:
            raise failure

        monkeypatch.setattr(type(world.store), "read", fail)
        answer = world.ask("GET", "/fleet/jobs")
        monkeypatch.undo()
        outages = world.ask("GET", "/metrics").text

    foreseen = isinstance(failure, PilothouseError)
    problem = refused(answer, 503 if foreseen else 500)
    assert "secret" not in json.dumps(problem)
    assert ("retry-after" in answer.headers) == foreseen
    assert f"pilothouse_outages_total {float(foreseen)}" in outages
