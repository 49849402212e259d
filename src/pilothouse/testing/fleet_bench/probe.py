"""What a flush to this disk costs at this moment, and what machine this is."""

from __future__ import annotations

import os
import platform
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import psutil

from pilothouse.canonical import Json

BLOCK = b"\xa5" * 4096
FLUSHES_MOST = 200
FLUSHES_LEAST = 10
PROBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush:
    """Microseconds of one `fdatasync` after 4 KiB were appended."""

    p50: float
    p99: float
    count: int

    def as_json(self) -> dict[str, Json]:
        """Return the probe as JSON values."""
        return asdict(self)


def probe_flush(folder: Path) -> Flush:
    """Return what a flush costs in this folder now; it takes about a second at most."""
    file = folder / "flush.probe"
    costs: list[float] = []
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    # On macOS a flush that stops at the drive's cache would be no flush.
    flush = getattr(os, "fdatasync", os.fsync)
    try:
        began = perf_counter()
        while len(costs) < FLUSHES_MOST and (perf_counter() - began < PROBE_SECONDS or len(costs) < FLUSHES_LEAST):
            os.write(handle, BLOCK)
            before = perf_counter()
            flush(handle)
            costs.append((perf_counter() - before) * 1e6)
    finally:
        os.close(handle)
        file.unlink()
    return Flush(p50=quantile(costs, 0.5), p99=quantile(costs, 0.99), count=len(costs))


def quantile(values: list[float], share: float) -> float:
    """Return the value below which this share of the values lies, by nearest rank."""
    assert values, "no values, no quantile"
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine(folder: Path) -> dict[str, Json]:
    """Return what the figures were measured on, and how busy it was already."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "file_system": _file_system(folder),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "busy_share_before": round(psutil.cpu_percent(interval=1.0) / 100, 3),
        "loop_ms": round(_loop_milliseconds(), 1),
    }


def _loop_milliseconds() -> float:
    """Return the milliseconds of a million additions: by it, figures of two machines can be compared."""
    began = perf_counter()
    total = 0
    for number in range(1_000_000):
        total += number
    assert total
    return (perf_counter() - began) * 1e3


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _file_system(folder: Path) -> str:
    mounts = [part for part in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else ""
