"""New jobs as the rows that are stored of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from pilothouse.fleet.claim import DEPENDED_ON, NEEDS_MORE
from pilothouse.fleet.job import Job, Placed, Ship
from pilothouse.ids import JobNumber, ShapeNumber
from pilothouse.store import rows
from pilothouse.store.connection import Value
from pilothouse.store.rows import STAGE_NUMBERS, instant


class NewRows(NamedTuple):
    """What is stored of new jobs, and the jobs as they are then."""

    hot: Sequence[tuple[Value, ...]]
    specs: Sequence[tuple[Value, ...]]
    jobs: Sequence[Job]


def new_rows(news: Sequence[Placed], *, first: int, shapes: Sequence[ShapeNumber], now: datetime) -> NewRows:
    """Return the rows of jobs that are numbered from the first on, each with its shape."""
    when = instant(now)
    hot: list[tuple[Value, ...]] = []
    specs: list[tuple[Value, ...]] = []
    jobs: list[Job] = []
    for number, (placed, shape) in enumerate(zip(news, shapes, strict=True), start=first):
        new, parent = placed.new, placed.parent
        spec = new.spec
        marks = NEEDS_MORE if spec.approvals or spec.ship is Ship.MANUAL else 0
        if parent is not None:
            marks |= DEPENDED_ON
        hot.append((number, shape, STAGE_NUMBERS[placed.stage], new.priority.rank, when, marks))
        names = (number, new.id, new.product, new.pool, new.key, spec.seats, parent, spec.campaign)
        specs.append((*names, rows.strict_text(spec)))
        jobs.append(rows.new_job(placed, number=JobNumber(number), shape=shape, marks=marks, now=now))
    return NewRows(hot, specs, jobs)
