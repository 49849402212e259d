"""What the tests of the factory share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pilothouse.testing.factory_bench import Bench


@pytest.fixture(name="bench")
def _bench(tmp_path: Path) -> Iterator[Bench]:
    """Give a factory on a home of its own, and stop it after the test."""
    home = (tmp_path / "home").resolve()
    home.mkdir()
    bench = Bench(home)
    yield bench
    bench.stop.set()
