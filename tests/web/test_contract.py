"""The contract: every operation answers as the OpenAPI document says, whatever it is sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pilothouse.web.app import HEALTH, new_app
from tests.web.contract import fleet, hold, operations
from tests.web.world import World

CASES = 4


@pytest.fixture(name="fleet", scope="module")
def _fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with fleet(tmp_path_factory.mktemp("fleet")) as world:
        yield world


@pytest.mark.parametrize(("method", "path"), operations())
def test_an_operation_keeps_its_contract(fleet: World, method: str, path: str) -> None:
    assert hold(fleet, method, path, cases=CASES) >= CASES


def test_every_operation_tells_its_problems_and_its_bearer() -> None:
    for path, methods in new_app().openapi()["paths"].items():
        for operation in methods.values():
            refusals = [answer for status, answer in operation["responses"].items() if int(status) >= 400]
            assert all(set(answer["content"]) == {"application/problem+json"} for answer in refusals)
            assert {"400", "401", "403", "413", "422", "429", "500", "503"} <= operation["responses"].keys()
            assert ("security" in operation) == (path != HEALTH)
            assert operation["description"]
