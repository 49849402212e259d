"""`pilothouse fleet what-if`: the record of a home under other weights, as figures and as a table."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict

from pilothouse.canonical import Json
from pilothouse.cli.fleet_replay import row
from pilothouse.cli.table import print_table
from pilothouse.errors import BadValue
from pilothouse.fleet.score import merge
from pilothouse.fleet.what_if import what_if
from pilothouse.ids import ProductId
from pilothouse.operations.recorded_jobs import recorded_jobs
from pilothouse.ports.store import Transaction

ORDERING = ("age", "priority")
"""The weights that tell jobs apart where all seats are alike."""


def weights_named(text: str) -> dict[str, Json]:
    """Return the weights that `age=2,priority=0` names."""
    found: dict[str, Json] = {}
    for part in text.split(","):
        name, _, value = (each.strip() for each in part.partition("="))
        if name not in ORDERING:
            raise BadValue(
                f"a replay has no weight {name!r:.80}: its seats are all alike, so nothing else orders jobs",
                fix=f"give {' or '.join(ORDERING)}, such as age=1,priority=20",
            )
        try:
            found[name] = float(value)
        except ValueError as error:
            raise BadValue(f"the weight {name} is {value!r:.80}", fix="write a number, such as age=1") from error
    return found


def measure(tx: Transaction, product: ProductId, *, weights: Mapping[str, Json], seats: int | None) -> dict[str, Json]:
    """Return the figures of the record, of its replay, and of the replay under the other weights."""
    jobs, others = recorded_jobs(tx, product)
    settings = tx.fleet_settings.get(product)
    before, after = settings.weigh({}), settings.weigh(weights)
    merge(before, weights, {})
    found = what_if(jobs, seats=seats, weights=before, other=after, clock=time.perf_counter)
    return {
        "product": product,
        "seats": found.seats,
        "jobs": len(jobs),
        "left_out": others,
        "weights": {"recorded": _ordering(before.as_json()), "other": _ordering(after.as_json())},
        "recorded": asdict(found.recorded),
        "replayed": asdict(found.replayed),
        "other": asdict(found.other),
    }


def _ordering(weights: Mapping[str, Json]) -> dict[str, Json]:
    return {name: weights[name] for name in ORDERING}


def show(figures: Mapping[str, Json]) -> None:
    """Print the three side by side."""
    rows = [
        row(name, found) for name in ("recorded", "replayed", "other") if isinstance(found := figures[name], Mapping)
    ]
    print_table(list(rows[0]), rows)
