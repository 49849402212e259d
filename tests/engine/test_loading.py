"""A start with a long backlog, and Python's collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from tests.engine.world import Fleet

from pilothouse.engine import memory
from pilothouse.errors import StorageFailed


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    """Leave the collector as it was."""
    enabled = gc.isenabled()
    gc.unfreeze()
    yield
    gc.unfreeze()
    (gc.enable if enabled else gc.disable)()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(*, enabled: bool) -> None:
    """Also when the database cannot be read."""
    fleet = Fleet()
    (gc.enable if enabled else gc.disable)()

    fleet.fresh()
    assert gc.isenabled() is enabled
    fleet.store.close()
    with pytest.raises(StorageFailed):
        fleet.fresh()

    assert gc.isenabled() is enabled


@pytest.mark.parametrize(("backlog", "frozen"), [(2, False), (3, True)])
def test_a_long_backlog_is_never_looked_through(monkeypatch: pytest.MonkeyPatch, *, backlog: int, frozen: bool) -> None:
    """A short one is no trouble, and freezing would keep other things alive for nothing."""
    monkeypatch.setattr(memory, "FROZEN_MIN", 3)
    fleet = Fleet()
    for number in range(backlog):
        fleet.submit(number)

    fleet.restart()

    assert (gc.get_freeze_count() > 0) is frozen
    assert len(fleet.scheduler.board) == backlog
