"""The texts of a campaign: its status and the table of its iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from pilothouse.campaigns.status import STEPS
from pilothouse.canonical import Json
from pilothouse.cli.table import duration, shown

Row = Mapping[str, Json]
SHOWN_ITERATIONS = 5
OVERHEAD = "overhead"
VERDICT_STYLES = {"improved": "green", "regressed": "red", "inconclusive": "yellow"}


def status_text(values: Row) -> str:
    """Return the status as lines for a person."""
    lines = [f"campaign    {values['campaign']} ({values['kind']}, product {values['product']})"]
    lines.append(f"state       {values['state']}")
    owner = cast("Row | None", values["owner"])
    if owner is not None:
        since = datetime.fromtimestamp(cast("float", owner["started"]), UTC)
        lines.append(f"owner       pid {owner['pid']} on {owner['host']}, started {since:%Y-%m-%d %H:%M:%SZ}")
    current = cast("Row | None", values["current"])
    if current is not None:
        lines.append(f"current     {_current_words(current)}")
    eta = cast("float | None", values["eta_seconds"])
    if eta is not None:
        lines.append(f"ETA         {duration(eta)} to the end of this iteration")
    iterations = cast("Sequence[Row]", values["iterations"])
    judged = [row for row in iterations if row["verdict"] is not None]
    lines.append(f"iterations  {len(judged)} judged, best is {_best_words(values['best_iteration'])}")
    names = list(cast("Mapping[str, Json]", values["metrics"]))
    lines += [f"            {_iteration_words(row, names)}" for row in judged[-SHOWN_ITERATIONS:]]
    lines.append(f"checkpoint  {shown(values['best_checkpoint'])}")
    if values["last_error"] is not None:
        lines.append(f"last error  {values['last_error']}")
    lines.append(f"next        {values['next_action']}")
    return "\n".join(lines)


def iterations_table(values: Row) -> Table:
    """Return the table of the iterations: loss, metrics, interval of the change, verdict."""
    metric_names = list(cast("Mapping[str, Json]", values["metrics"]))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("iteration", "train_loss", *metric_names, f"change of {metric_names[0]}", "verdict"):
        table.add_column(column, justify="right")
    for row in _shown_rows(values):
        metrics = cast("Mapping[str, float]", row["metrics"])
        verdict = str(row["verdict"] or ("baseline" if row["number"] == 0 else row["state"]))
        table.add_row(
            _number(row),
            *(shown(metrics.get(name)) for name in ("train_loss", *metric_names)),
            _interval_words(row),
            Text(verdict, style=VERDICT_STYLES.get(verdict, "dim")),
        )
    return table


def seconds_table(values: Row) -> Table:
    """Return the table of the seconds: a column for each step, the platform's own share last."""
    rows = [(_number(row), _seconds_by_step(row)) for row in _shown_rows(values)]
    seen = {step for _, seconds in rows for step in seconds}
    steps = sorted(seen, key=lambda step: (step == OVERHEAD, STEPS.index(step) if step in STEPS else len(STEPS), step))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("seconds", *steps):
        table.add_column(column, justify="right")
    for number, seconds in rows:
        table.add_row(number, *(f"{seconds[step]:.1f}" if step in seconds else "-" for step in steps))
    return table


def _seconds_by_step(row: Row) -> dict[str, float]:
    """Return the seconds with the untrained model's evaluation under the same names as the others'."""
    seconds = cast("Mapping[str, float]", row["seconds"])
    return {step.removeprefix("baseline-"): spent for step, spent in seconds.items()}


def _shown_rows(values: Row) -> list[Row]:
    baseline = cast("Row | None", values["baseline"])
    return ([baseline] if baseline is not None else []) + list(cast("Sequence[Row]", values["iterations"]))


def _number(row: Row) -> str:
    return "untrained" if row["number"] == 0 else str(row["number"])


def _interval_words(row: Row) -> str:
    interval = cast("Sequence[float | None] | None", row["interval"])
    if interval is None:
        return "-"
    low, high = ("unbounded" if end is None else f"{end:+.3f}" for end in interval)
    return f"[{low}, {high}]"


def _iteration_words(row: Row, names: Sequence[str]) -> str:
    metrics = cast("Mapping[str, float]", row["metrics"])
    named = ", ".join(f"{name} {shown(metrics[name])}" for name in names if name in metrics)
    return f"{row['number']}: {row['verdict']}, change {_interval_words(row)}; {named}"


def _best_words(best: Json) -> str:
    if best is None:
        return "none yet"
    return "the untrained model" if best == 0 else f"iteration {best}"


def _current_words(current: Row) -> str:
    done = f", {current['done']} of {current['total']}" if current["done"] is not None else ""
    pid = f", pid {current['pid']}" if current["pid"] is not None else ""
    seconds = cast("float | None", current["seconds"])
    since = f", for {duration(seconds)}" if seconds is not None else ""
    return f"iteration {current['iteration']}, {current['step']} ({current['stage']}{done}{pid}{since})"
