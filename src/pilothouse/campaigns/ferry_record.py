"""What is stored of a ferry besides its trial: its name, what its proposal considered, how it was judged and closed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from pilothouse.canonical import Json
from pilothouse.ids import CampaignName, JobId, ProductId, RunId

_STAMP = re.compile(r"-(\d{4}-\d\d-\d\d)(?:-\d+)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ferry:
    """One ferry of a campaign; `number` is its trial's.

    `run` names the run, its folder and what a tracker calls it. `tick` is the tick that it answers, None for one that a
    person asked for. `considered` holds what the proposal was drafted from, `judged` what came out, each as JSON.
    `seal` is the tag of a sealed ferry.
    """

    product: ProductId
    campaign: CampaignName
    number: int
    run: RunId
    tick: datetime | None
    drafted_at: datetime
    considered: Mapping[str, Json]
    judged: Mapping[str, Json] | None = None
    closed_at: datetime | None = None
    seal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """Who watches a run, and what was last seen of it. A run has one owner at a time.

    `state` is one of `ferry_watch.Standing`; `step` of `total` is what the run last reported, each None while unknown.
    `moved_at` is when the step last grew.
    """

    product: ProductId
    run: RunId
    owner: str
    taken_at: datetime
    looked_at: datetime | None = None
    moved_at: datetime | None = None
    looks: int = 0
    state: str = "pending"
    step: int | None = None
    total: int | None = None
    detail: str = ""


def run_name(*, campaign: str, size: str, day: date) -> str:
    """Return the date-stamped name, such as `daily-125m-2026-11-22`; the size is not said twice."""
    stem = campaign if campaign.endswith(f"-{size}") else f"{campaign}-{size}"
    return f"{stem}-{day.isoformat()}"


def day_of(run: RunId) -> date:
    """Return the date that a run's name is stamped with: that of its tick where the schedule lives."""
    found = _STAMP.search(run)
    assert found is not None, f"{run} is no name of a ferry's run"
    return date.fromisoformat(found[1])


def numbered(name: str, number: int) -> str:
    """Return the name of the run number `number` of a day, from 1: the first carries none."""
    return name if number == 1 else f"{name}-{number}"


def job_name(run: RunId, *, index: int, generation: int) -> JobId:
    """Return the job of a ferry's seed number `index`, launched the time number `generation`, both from 0.

    The first launch of the first seed has the run's own name.
    """
    seed = "" if index == 0 else f"-s{index + 1}"
    again = "" if generation == 0 else f"-r{generation + 1}"
    return JobId(f"{run}{seed}{again}")
