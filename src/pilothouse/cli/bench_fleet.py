"""The fleet's figures as a table, and the options that choose what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pilothouse.canonical import Json
from pilothouse.cli.context import note, say
from pilothouse.cli.table import print_table, shown
from pilothouse.errors import BadValue
from pilothouse.testing.fleet_bench.cells import CELLS, measure_fleet
from pilothouse.testing.fleet_bench.run import Order

STORES = ("sqlite", "postgres")


def measure(order: Order) -> dict[str, Json]:
    """Return every figure that was asked for; what happens is told on standard error."""
    if order.store not in STORES:
        raise BadValue(f"no store is called {order.store}", fix="choose sqlite or postgres")
    return measure_fleet(order, progress=note)


def cells_named(text: str) -> tuple[str, ...]:
    """Return the cells of a list such as `claim,decay`; `all` is every one."""
    known = ("claim", *CELLS)
    names = known if text == "all" else tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise BadValue("no cell is named", fix=f"choose from {', '.join(known)}, or all")
    return names


def folder_named(folder: Path | None) -> Path:
    """Return the folder in which the databases are made: the one that is named, or where temporary files lie."""
    import tempfile

    return Path(tempfile.gettempdir()) if folder is None else folder


def show(figures: Mapping[str, Json]) -> None:
    """Print the systems side by side, then each cell's figures by name."""
    rows = figures.get("rows")
    if isinstance(rows, Sequence) and not isinstance(rows, str):
        print_table(
            ["system", "store", "clients", "claim+complete/s", "claim p99 ms", "fsync µs before", "after", "contract"],
            [_shown_row(row) for row in rows if isinstance(row, Mapping)],
        )
    for name, value in figures.items():
        if name != "rows":
            say(f"{name}")
            for key, each in value.items() if isinstance(value, Mapping) else {"": value}.items():
                say(f"  {key:<28} {shown(each)}")


def _shown_row(row: Mapping[str, Json]) -> dict[str, Json]:
    flush = row["fsync_us"]
    assert isinstance(flush, Mapping)
    before, after = flush["before"], flush["after"]
    assert isinstance(before, Mapping)
    assert isinstance(after, Mapping)
    return {
        "system": row["system"],
        "store": row["store"],
        "clients": row["clients"],
        "claim+complete/s": row["claim_complete_per_s"],
        "claim p99 ms": row["claim_p99_ms"],
        "fsync µs before": before["p50"],
        "after": after["p50"],
        "contract": row["reason"] or row["contract"],
    }
