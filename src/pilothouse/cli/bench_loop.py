"""The loop's figures as tables: regret on noisy surfaces, pauses between runs, injected faults, a peer beside it."""

from __future__ import annotations

import os
import platform
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pilothouse.canonical import Json
from pilothouse.cli.context import note, say
from pilothouse.cli.table import print_table
from pilothouse.errors import BadValue
from pilothouse.settings import Settings
from pilothouse.testing.loop_bench.faults import measure_faults
from pilothouse.testing.loop_bench.gap import gap_definition, gaps_of
from pilothouse.testing.loop_bench.peer import measure_peer
from pilothouse.testing.loop_bench.regret import Scope, every_shape, measure_regret
from pilothouse.wiring.running import CampaignStart, run_campaign
from pilothouse.wiring.workspace import open_workspace

PARTS = ("regret", "gap", "faults", "peer")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOrder:
    """What is to be measured."""

    parts: tuple[str, ...]
    systems: tuple[str, ...]
    shapes: tuple[str, ...]
    dims: tuple[int, ...]
    seeds: int
    every: bool
    workers: int
    peer: Path


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a list by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def dims_of(text: str) -> tuple[int, ...]:
    """Return the dimensions of a list such as `2,3,5`."""
    try:
        dims = tuple(int(word) for word in words_of(text))
    except ValueError:
        dims = ()
    if not dims or min(dims) < 2:
        raise BadValue(f"{text!r} is no list of dimensions", fix="give whole numbers from 2 on, such as 2,3,5")
    return dims


def parts_of(text: str) -> tuple[str, ...]:
    """Return the parts of a list; `all` is every one but the peer, which lives in an environment of its own."""
    parts = PARTS[:3] if text == "all" else words_of(text)
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise BadValue(
            f"there is no part {', '.join(unknown) or text!r}", fix=f"choose from {', '.join(PARTS)}, or all"
        )
    return parts


def shapes_of(text: str) -> tuple[str, ...]:
    """Return the surfaces of a list; `all` is every one."""
    shapes = every_shape() if text == "all" else words_of(text)
    unknown = [shape for shape in shapes if shape not in every_shape()]
    if unknown or not shapes:
        named = ", ".join(unknown) or repr(text)
        raise BadValue(f"there is no surface {named}", fix=f"choose from {', '.join(every_shape())}, or all")
    return shapes


def measure(settings: Settings, order: LoopOrder) -> dict[str, Json]:
    """Return every figure that was asked for, with the machine; what happens is told on standard error."""
    figures: dict[str, Json] = {"machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"}
    if "regret" in order.parts:
        scope = Scope(systems=order.systems, shapes=order.shapes, dims=order.dims, seeds=order.seeds, every=order.every)
        figures["regret"] = measure_regret(scope, workers=order.workers, progress=note)
    if "gap" in order.parts:
        figures["gap"] = _gaps(settings)
    if "faults" in order.parts:
        figures["faults"] = measure_faults(note)
    if "peer" in order.parts:
        figures["peer"] = measure_peer(order.peer, seeds=order.seeds, progress=note)
    return figures


def _gaps(settings: Settings) -> dict[str, Json]:
    with tempfile.TemporaryDirectory(prefix="pilothouse-bench-") as folder:
        definition = gap_definition(Path(folder))
        workspace = open_workspace(replace(settings, home=Path(folder) / "home", product=None), create=True)
        start = CampaignStart(
            definition=definition,
            iterations=None,
            overrides={},
            restore_golden=False,
            warn=lambda _: None,
            tell=lambda _: None,
        )
        run_campaign(workspace, start, threading.Event())
        return gaps_of(workspace.store)


def show(figures: Mapping[str, Json]) -> None:
    """Print each part as a table."""
    say(str(figures["machine"]))
    for name in ("regret", "faults", "peer"):
        rows = figures.get(name)
        if isinstance(rows, Sequence) and not isinstance(rows, str) and rows:
            flat = [_flat(row) for row in rows if isinstance(row, Mapping)]
            print_table(list(flat[0]), flat)
    gap = figures.get("gap")
    for name, value in gap.items() if isinstance(gap, Mapping) else ():
        say(f"{name:<28} {value}")


def _flat(row: Mapping[str, Json]) -> dict[str, Json]:
    """Return a row without its tables, of whose regrets the geometric mean with its interval is shown."""
    flat: dict[str, Json] = {}
    for name, value in row.items():
        if name == "regret" and isinstance(value, Mapping):
            for point, each in value.items():
                flat[point.removeprefix("after_").replace("_", " ")] = _with_interval(each)
        elif not isinstance(value, Mapping):
            flat[name.replace("_", " ")] = value
    return flat


def _with_interval(each: Json) -> str:
    assert isinstance(each, Mapping)
    interval = each["geometric_interval"]
    assert isinstance(interval, Sequence)
    return f"{each['geometric']:.3g} [{interval[0]:.3g}, {interval[1]:.3g}]"
