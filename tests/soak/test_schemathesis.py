"""The contract again, with hundreds of requests to every operation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.web.contract import fleet, hold, operations

CASES = 200

pytestmark = pytest.mark.soak


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("method", "path"), operations())
def test_an_operation_keeps_its_contract_for_long(tmp_path: Path, method: str, path: str) -> None:
    with fleet(tmp_path) as world:
        assert hold(world, method, path, cases=CASES) >= CASES
