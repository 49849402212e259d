"""The oracle's measures: states per second on one core, seconds a deal, ten shards on two cores, memory of a worker."""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pilothouse import trainer
from pilothouse.programs.forty_two.generate import ShardTask, make_shard
from pilothouse.programs.forty_two.pool import each_done
from pilothouse.programs.forty_two.rules import DECLARATIONS
from pilothouse.programs.forty_two.shards import Shard, write_shard
from pilothouse.programs.forty_two.solver import prepare, solve

SHARD_SEEDS: Final = range(200, 210)
SHARD_ROWS: Final = 50_000
SHARD_WORKERS: Final = 2

_PEAK_FIELD = "VmHWM:"


def run(
    *, seeds: Sequence[int] = range(60), progress: Callable[[int, int], None] | None = None
) -> dict[str, trainer.JSON]:
    """Return the measures, each deal under the declaration seed modulo 10.

    `progress(done, total)` is called after each deal and each shard. Compiling, or loading compiled code, is told apart
    as `prepare_seconds`; `shards_seconds` takes in starting the workers, their loading, and the Parquet files.
    """
    assert len(seeds) > 0, seeds
    total = len(seeds) + len(SHARD_SEEDS)
    tell = progress if progress is not None else _quiet
    started = time.perf_counter()
    prepare()
    prepare_seconds = time.perf_counter() - started
    states, seconds = _solve_each(seeds, lambda done: tell(done, total))
    shards_seconds, peak = _make_shards(lambda done: tell(len(seeds) + done, total))
    return {
        "states_per_second": states / sum(seconds),
        "mean_seconds_per_deal": sum(seconds) / len(seconds),
        "worst_seconds": max(seconds),
        "shards_seconds": shards_seconds,
        "worker_rss_mb": peak / 2**20,
        "prepare_seconds": prepare_seconds,
        "deals": len(seconds),
        "states": states,
        "shards": len(SHARD_SEEDS),
        "rows_per_shard": SHARD_ROWS,
        "workers": SHARD_WORKERS,
        "machine": _machine(),
    }


def _quiet(_done: int, _total: int) -> None:
    """Tell nobody."""


def _solve_each(seeds: Sequence[int], tell: Callable[[int], None]) -> tuple[int, list[float]]:
    states, seconds = 0, []
    for done, seed in enumerate(seeds, start=1):
        started = time.perf_counter()
        solution = solve(seed, seed % DECLARATIONS)
        seconds.append(time.perf_counter() - started)
        states += solution.states
        tell(done)
    return states, seconds


def _make_shards(tell: Callable[[int], None]) -> tuple[float, int]:
    """Return the seconds for all shards and the highest memory (bytes) that a worker had."""
    highest = 0
    with tempfile.TemporaryDirectory(prefix="forty-two-bench-") as name:
        tasks = [
            ShardTask(
                seed=seed,
                declaration=seed % DECLARATIONS,
                rows=SHARD_ROWS,
                scheme="stratified",
                global_seed=42,
                folder=Path(name),
            )
            for seed in SHARD_SEEDS
        ]
        started = time.perf_counter()
        made = each_done(_make_and_weigh, tasks, workers=SHARD_WORKERS, stopping=lambda: False)
        for done, (task, (shard, peak)) in enumerate(made, start=1):
            write_shard(task.folder, shard)
            highest = max(highest, peak)
            tell(done)
        return time.perf_counter() - started, highest


def _make_and_weigh(task: ShardTask) -> tuple[Shard, int]:
    shard, _ = make_shard(task)
    return shard, _peak_memory()


def _peak_memory() -> int:
    """Return the highest resident memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux `getrusage` would count the parent's memory before the exec
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith(_PEAK_FIELD):
                return int(line.removeprefix(_PEAK_FIELD).split()[0]) * 1024
    import resource  # noqa: PLC0415  there is none on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _machine() -> dict[str, trainer.JSON]:
    import numba  # noqa: PLC0415  the solver has loaded it by now
    import numpy as np  # noqa: PLC0415

    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numba": str(numba.__version__),
        "numpy": np.__version__,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
