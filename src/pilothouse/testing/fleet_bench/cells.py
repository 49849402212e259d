"""The cells by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pilothouse.canonical import Json
from pilothouse.testing.fleet_bench.decisions import decisions
from pilothouse.testing.fleet_bench.engine_cells import (
    backlog_cell,
    claim_systems,
    decay_cell,
    enqueue_cell,
    restart_cell,
)
from pilothouse.testing.fleet_bench.run import Cell, Order, run
from pilothouse.testing.fleet_bench.server_cells import http_cell, idle_cell
from pilothouse.testing.fleet_bench.slow_disk import slow_disk_cell

CELLS: Mapping[str, Cell] = {
    "backlog": backlog_cell,
    "decay": decay_cell,
    "restart": restart_cell,
    "enqueue": enqueue_cell,
    "slow-disk": slow_disk_cell,
    "http": http_cell,
    "decision": lambda _place, _order, progress: decisions(progress),
    "idle": idle_cell,
}


def measure_fleet(order: Order, *, progress: Callable[[str], None]) -> dict[str, Json]:
    """Return every figure that was ordered."""
    return run(order, ours=claim_systems, cells=CELLS, progress=progress)
