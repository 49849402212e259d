"""One measurement of one system, and the order in which systems take turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pilothouse.canonical import Json
from pilothouse.testing.fleet_bench.probe import Flush, probe_flush


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one measurement found; `reason` says why there is nothing to find.

    `processor_us_per_job` is of the worker's process alone: by it, a run on a busy machine still says something.
    """

    claim_complete_per_s: float | None = None
    claim_p50_ms: float | None = None
    claim_p99_ms: float | None = None
    enqueue_per_s: float | None = None
    processor_us_per_job: float | None = None
    done: int = 0
    seconds: float = 0.0
    version: str = ""
    setting: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A queue that can be measured. `contract` says what it promises, without which a speed says nothing."""

    name: str
    store: str
    contract: str
    clients: int
    measure: Callable[[], Figures]


def in_turns(systems: Sequence[System], *, rounds: int) -> list[System]:
    """Return the systems forwards, backwards, forwards …: a drift of the machine then favours none of them."""
    turns: list[System] = []
    for number in range(rounds):
        turns += systems if number % 2 == 0 else reversed(systems)
    return turns


def measure_in_turns(
    systems: Sequence[System], *, rounds: int, folder: Path, progress: Callable[[str], None]
) -> list[dict[str, Json]]:
    """Return one row for each measurement, with what a flush cost before and after it."""
    rows: list[dict[str, Json]] = []
    broken: set[str] = set()
    for number, system in enumerate(in_turns(systems, rounds=rounds)):
        if system.name in broken:
            continue
        progress(f"{system.name} on {system.store}")
        before = probe_flush(folder)
        found = system.measure()
        rows.append(_row(system, found, before=before, after=probe_flush(folder), turn=number))
        if found.reason:
            broken.add(system.name)
    return rows


def medians(rows: Sequence[dict[str, Json]]) -> dict[str, float]:
    """Return the median rate of each system that was measured."""
    rates: dict[str, list[float]] = {}
    for row in rows:
        rate = row["claim_complete_per_s"]
        if isinstance(rate, float):
            rates.setdefault(str(row["system"]), []).append(rate)
    return {name: statistics.median(found) for name, found in rates.items()}


def _row(system: System, found: Figures, *, before: Flush, after: Flush, turn: int) -> dict[str, Json]:
    return {
        "system": system.name,
        "store": system.store,
        "contract": system.contract,
        "clients": system.clients,
        "claim_complete_per_s": found.claim_complete_per_s,
        "claim_p50_ms": found.claim_p50_ms,
        "claim_p99_ms": found.claim_p99_ms,
        "fsync_us": {"before": before.as_json(), "after": after.as_json()},
        "enqueue_per_s": found.enqueue_per_s,
        "processor_us_per_job": found.processor_us_per_job,
        "done": found.done,
        "seconds": found.seconds,
        "version": found.version,
        "setting": found.setting,
        "turn": turn,
        "reason": found.reason,
    }
