"""A whole run: the cells that were asked for, each between two probes of the disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.ports.clock import Clock
from pilothouse.testing.fleet_bench.peers_beside import peer_systems
from pilothouse.testing.fleet_bench.place import Place, open_place
from pilothouse.testing.fleet_bench.probe import machine, probe_flush
from pilothouse.testing.fleet_bench.rows import System, measure_in_turns, medians

Progress = Callable[[str], None]
OURS = "pilothouse"
OURS_IN_BATCHES = "pilothouse in batches"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be measured, and where."""

    store: str
    folder: Path
    clock: Clock
    cells: tuple[str, ...] = ("claim",)
    clients: int = 256
    seconds: float = 8.0
    rounds: int = 2
    backlog: int = 1_000_000
    decay_seconds: float = 60.0
    peers: bool = False
    peers_python: Path = Path(".venv-peers/bin/python")
    dsn: str | None = None


Cell = Callable[[Place, Order, Progress], Mapping[str, Json]]


def run(
    order: Order, *, ours: Callable[[Place, Order], Sequence[System]], cells: Mapping[str, Cell], progress: Progress
) -> dict[str, Json]:
    """Return the figures of every cell, in the order they were asked for."""
    unknown = [name for name in order.cells if name not in {"claim", *cells}]
    if unknown:
        raise BadValue(f"no cell is called {unknown[0]}", fix=f"choose from {', '.join(['claim', *cells])}")
    with open_place(store=order.store, folder=order.folder, dsn=order.dsn) as place:
        figures: dict[str, Json] = {"machine": {**machine(order.folder), "postgres": place.version or None}}
        for name in order.cells:
            if name == "claim":
                figures |= side_by_side(place, order, ours=ours, progress=progress)
            else:
                progress(name)
                before = probe_flush(place.folder).as_json()
                found = dict(cells[name](place, order, progress))
                figures[name] = {**found, "fsync_us": {"before": before, "after": probe_flush(place.folder).as_json()}}
    return figures


def side_by_side(
    place: Place, order: Order, *, ours: Callable[[Place, Order], Sequence[System]], progress: Progress
) -> dict[str, Json]:
    """Return the rows of our queue and of its peers, and how many times the others' rate ours is."""
    systems = [*ours(place, order)]
    if order.peers:
        systems += peer_systems(place, interpreter=order.peers_python, seconds=order.seconds)
    rows = measure_in_turns(systems, rounds=order.rounds, folder=place.folder, progress=progress)
    found = medians(rows)
    return {
        "rows": list(rows),
        "median_per_s": dict(found),
        "times_the_rate_of": _times(found, OURS),
        "in_batches_times_the_rate_of": _times(found, OURS_IN_BATCHES),
    }


def _times(rates: Mapping[str, float], name: str) -> dict[str, Json]:
    """Return how many times each other's rate that of ours is."""
    own = rates.get(name)
    others = {other: rate for other, rate in rates.items() if other not in {OURS, OURS_IN_BATCHES}}
    return {other: round(own / rate, 2) for other, rate in others.items() if own and rate}
