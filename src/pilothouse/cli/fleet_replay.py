"""`pilothouse fleet simulate --workload`: a trace under several policies, as figures and as a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pilothouse.canonical import Json
from pilothouse.cli.csv_files import read_text
from pilothouse.cli.table import duration, print_table
from pilothouse.errors import BadValue
from pilothouse.fleet.duration import parse_duration
from pilothouse.fleet.job import Priority
from pilothouse.fleet.policy import POLICIES
from pilothouse.fleet.replay import Checkpoints, Result, replay
from pilothouse.fleet.score import DEFAULT, Weights
from pilothouse.fleet.shakes import LEVEL, ratios, shaken, spreads
from pilothouse.fleet.trace import Trace, read_trace

USUAL_LIMITS = 2.0
"""The fleet runs no job without a time limit, so where a trace has none, limits are made up."""
COMPARED = "mean_completion_s"
RIVAL = "fifo"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to replay, and how."""

    workload: Path
    gpus: int
    policies: tuple[str, ...]
    mix: Mapping[Priority, float]
    seed: int
    shakes: int
    shake_seconds: float
    checkpoints: Checkpoints
    limits: float = USUAL_LIMITS
    weights: Weights = DEFAULT


def measure(order: Order, progress: Progress) -> dict[str, Json]:
    """Return the figures of every policy on the trace, and on its shaken copies where they are asked for."""
    trace = load(order)
    for each in trace.notes:
        progress(f"note: {order.workload.name}: {each}")
    told, trace = facts(trace, order), trace.with_limits(order.limits)
    found: dict[str, Json] = {
        "policies": {name: asdict(_play(order, trace, name, progress)) for name in order.policies},
        "cluster": {
            "gpus": order.gpus,
            "checkpoint_every_s": order.checkpoints.every_seconds,
            "restart_cost_s": order.checkpoints.restart_seconds,
            "assumed_limits": order.limits,
        },
        "trace": told,
    }
    if order.shakes:
        found["shakes"] = _shakes(order, trace, progress)
    return found


def load(order: Order) -> Trace:
    """Return the trace as the cluster can run it, with priorities where they are drawn."""
    trace = read_trace(read_text(order.workload), file=order.workload.name).fitting(
        order.gpus, file=order.workload.name
    )
    return trace.with_priorities(order.mix, seed=order.seed) if order.mix else trace


def facts(trace: Trace, order: Order) -> dict[str, Json]:
    """Return what the trace is, without regard to any policy; `offered_load` is its work over the cluster's time."""
    jobs = trace.jobs
    span = jobs[-1].submit - jobs[0].submit
    work = sum(job.gpu_seconds for job in jobs)
    counted = {priority.value: sum(job.priority is priority for job in jobs) for priority in Priority}
    return {
        "file": order.workload.name,
        "jobs": len(jobs),
        "span_s": span,
        "gpu_hours": work / 3600.0,
        "offered_load": work / (order.gpus * span) if span else None,
        "widest_gpus": max(job.gpus for job in jobs),
        "priorities": counted,
        "time_limits": sum(job.timeout is not None for job in jobs),
        "left_out": dict(trace.left_out or {}),
    }


def _play(order: Order, trace: Trace, name: str, progress: Progress) -> Result:
    began = time.perf_counter()
    result = replay(
        trace.jobs,
        gpus=order.gpus,
        policy=POLICIES[name](order.weights),
        checkpoints=order.checkpoints,
        clock=time.perf_counter,
    )
    progress(f"{name}: {len(trace.jobs)} jobs in {time.perf_counter() - began:.1f} s")
    return result


def _shakes(order: Order, trace: Trace, progress: Progress) -> dict[str, Json]:
    runs: dict[str, list[Result]] = {name: [] for name in order.policies}
    copies = shaken(trace, count=order.shakes, seconds=order.shake_seconds, seed=order.seed)
    for number, copy in enumerate(copies, start=1):
        progress(f"shake {number} of {order.shakes}")
        for name, results in runs.items():
            results.append(_play(order, copy, name, lambda _: None))
    found: dict[str, Json] = {
        "count": order.shakes,
        "seed": order.seed,
        "seconds": order.shake_seconds,
        "level": LEVEL,
        "policies": {
            name: {figure: asdict(spread) for figure, spread in spreads(results).items()}
            for name, results in runs.items()
        },
    }
    if RIVAL in runs:
        found[f"{COMPARED}_over_{RIVAL}"] = {
            name: asdict(ratios(results, runs[RIVAL], COMPARED)) for name, results in runs.items() if name != RIVAL
        }
    return found


# --- what is written on the command line


def policies_named(text: str) -> tuple[str, ...]:
    """Return the policies that a comma-separated text names, each once."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in POLICIES:
            raise BadValue(f"there is no policy {name!r:.80}", fix=f"the policies are {', '.join(POLICIES)}")
    if not names:
        raise BadValue("no policy is named", fix=f"the policies are {', '.join(POLICIES)}")
    return names


def mix_named(text: str | None) -> dict[Priority, float]:
    """Return the shares of priorities that `critical=5,low=20` names, or none."""
    found: dict[Priority, float] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        name, _, share = (each.strip() for each in part.partition("="))
        try:
            priority, value = Priority(name), float(share)
        except ValueError as error:
            raise BadValue(
                f"the mix has {part.strip()!r:.80}", fix="write critical=5,high=15,medium=60,low=20"
            ) from error
        if not 0 <= value < 1e9:
            raise BadValue(f"the share of {name} is {share}", fix="write 0 or more")
        found[priority] = value
    if found and not sum(found.values()):
        raise BadValue(f"the mix {text!r:.80} has no share above 0", fix="write critical=5,high=15,medium=60,low=20")
    return found


def seconds_named(text: str, name: str) -> float:
    """Return the seconds of a duration such as 15m; 0 is allowed here."""
    if text.strip() in {"0", "0s"}:
        return 0.0
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadValue(f"{name}: {error}", fix="write a duration such as 90s, 15m, 2h or 1d") from error


# --- what a person reads


def show(figures: Mapping[str, Json]) -> None:
    """Print the policies side by side."""
    policies = figures["policies"]
    assert isinstance(policies, Mapping)
    rows = [row(name, found) for name, found in policies.items() if isinstance(found, Mapping)]
    print_table(list(rows[0]), rows)
    shakes = figures.get("shakes")
    if isinstance(shakes, Mapping):
        _show_shakes(shakes)


def row(name: str, found: Mapping[str, Json]) -> dict[str, Json]:
    """Return the line of a table that shows one result."""
    return {
        "policy": name,
        "mean completion": duration(_number(found["mean_completion_s"])),
        "median": duration(_number(found["median_completion_s"])),
        "p99": duration(_number(found["p99_completion_s"])),
        "slowdown": found["bounded_slowdown"],
        "utilisation": f"{100 * _number(found['utilisation']):.1f} %",
        "longest wait, lowest": duration(_number(found["longest_wait_lowest_s"])),
        "preemptions": found["preemptions"],
        "lost GPU hours": found["lost_gpu_hours"],
        "makespan": duration(_number(found["makespan_s"])),
        "µs a job": found["decision_us"],
    }


def _show_shakes(shakes: Mapping[str, Json]) -> None:
    policies = shakes["policies"]
    assert isinstance(policies, Mapping)
    shown: Sequence[str] = (COMPARED, "median_completion_s", "bounded_slowdown", "longest_wait_lowest_s")
    rows = [
        {"policy": name, **{figure: _interval(found[figure]) for figure in shown}}
        for name, found in policies.items()
        if isinstance(found, Mapping)
    ]
    print_table(list(rows[0]), rows)


def _interval(spread: Json) -> str:
    assert isinstance(spread, Mapping)
    return f"{_number(spread['mean']):.4g} [{_number(spread['low']):.4g}, {_number(spread['high']):.4g}]"


def _number(value: Json) -> float:
    assert isinstance(value, int | float)
    return float(value)
