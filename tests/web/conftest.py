"""A server for each test, and one that is open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pilothouse.web.edge import loopback_hosts
from tests.web.world import World, running


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path) as world:
        yield world


@pytest.fixture(name="open_world")
def _open_world(tmp_path: Path) -> Iterator[World]:
    """Serve as on a loopback: no token is asked for, and only the loopback's names are believed."""
    with running(tmp_path, open_loopback=True, hosts=loopback_hosts(8750)) as world:
        yield world
