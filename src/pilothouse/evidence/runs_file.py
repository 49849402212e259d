"""Runs and curves as CSV text: what is wrong with a file is named with its line."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pilothouse.errors import BadValue

DEFAULT_METRIC = "val_loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training's final value; NaN and infinities are kept, for they are failures of the run."""

    group: str
    steps: int | None
    run: str
    value: float
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Runs of one configuration and step count."""

    name: str
    steps: int | None
    values: Mapping[str, float]

    def finite(self) -> list[float]:
        """Return the values of the runs that did not fail."""
        return [value for value in self.values.values() if math.isfinite(value)]


def read_runs(text: str, *, file: str, metric: str = DEFAULT_METRIC) -> list[Run]:
    """Read rows of `run`, the metric and, where there are, `group` and `steps`; a blank metric is a failed run."""
    rows = _rows(text, file=file, needed=("run", metric))
    runs = []
    for line, row in rows:
        steps = row.get("steps")
        runs.append(
            Run(
                group=row.get("group") or "",
                steps=None if steps is None else _whole(steps, "steps", file=file, line=line),
                run=row["run"],
                value=math.nan if not row[metric].strip() else _number(row[metric], metric, file=file, line=line),
                line=line,
            )
        )
    return runs


def grouped(runs: Sequence[Run], *, file: str) -> list[Group]:
    """Return the runs by group and step count, in the file's order; a run that stands there twice is refused."""
    found: dict[tuple[str, int | None], dict[str, float]] = {}
    lines: dict[tuple[str, int | None, str], int] = {}
    for run in runs:
        place = (run.group, run.steps, run.run)
        if place in lines:
            raise BadValue(
                f"{file}, line {run.line}: the run {run.run!r} stands there twice, first in line {lines[place]}",
                fix="keep one row per run: a copy is no second piece of evidence",
            )
        lines[place] = run.line
        found.setdefault((run.group, run.steps), {})[run.run] = run.value
    return [Group(name=name, steps=steps, values=values) for (name, steps), values in found.items()]


def one_arm(runs: Sequence[Run], *, file: str, metric: str) -> Group:
    """Return the runs of a file that holds one arm: one group, one step count, no run twice."""
    groups = grouped(runs, file=file)
    names, steps = sorted({group.name for group in groups}), sorted({str(group.steps) for group in groups})
    if len(steps) > 1:
        raise BadValue(
            f"{file} mixes step counts: {', '.join(steps)}", fix="compare runs of the same number of steps only"
        )
    if len(names) > 1:
        raise BadValue(f"{file} holds {len(names)} groups: {', '.join(names[:4])}", fix="give one group per file")
    if not groups:
        raise BadValue(f"{file} holds no run", fix=f"give rows of run,{metric}")
    return groups[0]


def without_copies(groups: Sequence[Group]) -> tuple[list[Group], list[str]]:
    """Return the groups that are no copy of an earlier one's runs, and the names of those that are.

    The same logs published twice would pass for independent evidence.
    """
    kept: list[Group] = []
    copies: list[str] = []
    seen: set[tuple[int | None, tuple[tuple[str, float], ...]]] = set()
    for group in groups:
        content = (group.steps, tuple(sorted(group.values.items())))
        if content in seen:
            copies.append(group.name)
        else:
            seen.add(content)
            kept.append(group)
    return kept, copies


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Validation curves of one group: `values[run][step]`."""

    name: str
    steps: int
    values: Mapping[str, Mapping[int, float]]


def read_curves(text: str, *, file: str, metric: str = DEFAULT_METRIC) -> list[Curves]:
    """Read rows of group, steps, run, step and the metric."""
    found: dict[tuple[str, int], dict[str, dict[int, float]]] = {}
    for line, row in _rows(text, file=file, needed=("group", "steps", "run", "step", metric)):
        place = (row["group"], _whole(row["steps"], "steps", file=file, line=line))
        step = _whole(row["step"], "step", file=file, line=line)
        curve = found.setdefault(place, {}).setdefault(row["run"], {})
        if step in curve:
            raise BadValue(
                f"{file}, line {line}: the run {row['run']!r} has the step {step} twice", fix="keep one row per step"
            )
        curve[step] = _number(row[metric], metric, file=file, line=line)
    return [Curves(name=name, steps=steps, values=values) for (name, steps), values in found.items()]


def _rows(text: str, *, file: str, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(text.splitlines(), strict=True)
    try:
        columns = list(reader.fieldnames or [])
        _require_columns(columns, file=file, needed=needed)
        for row in reader:
            if None in row or any(value is None for value in row.values()):
                raise BadValue(
                    f"{file}, line {reader.line_num}: the row has another number of fields than the heading",
                    fix=f"give {len(columns)} fields: {','.join(columns)}",
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise BadValue(f"{file}, line {reader.line_num}: {error}", fix="save the table as plain CSV") from error


def _require_columns(columns: Sequence[str], *, file: str, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        raise BadValue(
            f"{file} has no column {missing[0]!r}; it has {', '.join(columns) or 'none'}",
            fix=f"give the columns {','.join(needed)}, or name the metric with --metric",
        )


def _number(text: str, name: str, *, file: str, line: int) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise BadValue(
            f"{file}, line {line}: {name} is {text!r}", fix="give a number, or nan for a failed run"
        ) from error


def _whole(text: str, name: str, *, file: str, line: int) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise BadValue(f"{file}, line {line}: {name} is {text!r}", fix="give a whole number") from error
