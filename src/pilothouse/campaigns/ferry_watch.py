"""What is seen of a running ferry, and how often one looks.

Pending is no failure, and neither is it progress: a job that waits for capacity is waiting, and a process that has
begun without a step of its own is a placeholder. Only a step that the expected run reports is progress. A run whose
step stands still over several looks is degraded, which is told and waited out; a failed one is for the fleet to call.
That the monitor itself has not looked is a third thing, and said apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pilothouse.campaigns.ferry_definition import Watch
from pilothouse.campaigns.ferry_record import Monitor
from pilothouse.fleet.stages import ENDS, LEASED, Stage

UNKNOWN = "unknown"


class Standing(StrEnum):
    """How a ferry's run stands."""

    PENDING = "pending"
    PLACEHOLDER = "placeholder"
    PROGRESSING = "progressing"
    DEGRADED = "degraded"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at a run's job: its stage, and the last step of the exact total that this attempt reported."""

    stage: Stage
    step: int | None
    total: int | None
    submitted_at: datetime


def is_due(monitor: Monitor, watch: Watch, *, now: datetime) -> bool:
    """Whether it is time to look: once soon after a launch, then at the long interval.

    A clock that has gone back since the last look makes it time at once: what it said then tells nothing of now.
    """
    begun = monitor.looked_at if monitor.looked_at is not None else monitor.taken_at
    wait = watch.first if monitor.looks == 0 else watch.then
    return not begun <= now < begun + timedelta(seconds=wait)


def look(monitor: Monitor, seen: Seen, watch: Watch, *, now: datetime) -> Monitor:
    """Return the monitor after one look."""
    moved = seen.step is not None and (monitor.step is None or seen.step > monitor.step)
    after = replace(
        monitor,
        looked_at=now,
        looks=monitor.looks + 1,
        moved_at=now if moved else monitor.moved_at,
        step=seen.step if seen.step is not None else monitor.step,
        total=seen.total if seen.total is not None else monitor.total,
    )
    standing = _standing(monitor, after, seen, watch, moved=moved)
    return replace(after, state=standing.value, detail=_detail(after, seen, standing, watch, now=now))


def is_stale(monitor: Monitor, watch: Watch, *, now: datetime) -> bool:
    """Whether nobody has looked for more than two intervals; that tells of the monitor, and nothing of the run."""
    if monitor.state == Standing.ENDED.value:
        return False
    last = monitor.looked_at if monitor.looked_at is not None else monitor.taken_at
    return now - last > timedelta(seconds=2 * watch.then)


def progress_words(monitor: Monitor) -> str:
    """Return `~current/exact total`; a total that no run has told is unknown, and never guessed."""
    step = UNKNOWN if monitor.step is None else str(monitor.step)
    return f"~{step}/{UNKNOWN if monitor.total is None else monitor.total}"


def _standing(before: Monitor, after: Monitor, seen: Seen, watch: Watch, *, moved: bool) -> Standing:
    if seen.stage in ENDS:
        return Standing.ENDED
    if seen.stage not in LEASED and seen.stage not in {Stage.REVIEW, Stage.TESTING}:
        return Standing.PENDING
    if after.step is None or after.step <= 0 or (seen.step is None and not moved):
        return Standing.PLACEHOLDER
    if moved:
        return Standing.PROGRESSING
    still = after.looks - before.looks + _still_looks(before, watch)
    return Standing.DEGRADED if still >= watch.degraded_after else Standing.PROGRESSING


def _still_looks(before: Monitor, watch: Watch) -> int:
    """Return over how many of the past looks the step has stood still, by the times that were kept."""
    if before.moved_at is None or before.looked_at is None:
        return 0
    return int((before.looked_at - before.moved_at).total_seconds() / watch.then + 0.5)


def _detail(after: Monitor, seen: Seen, standing: Standing, watch: Watch, *, now: datetime) -> str:
    waited = (now - seen.submitted_at).total_seconds()
    limit = " beyond its limit" if after.moved_at is None and waited > watch.pending_limit else ""
    match standing:
        case Standing.PENDING:
            return f"waits for capacity, {waited:.0f} s since its launch{limit}; pending is no failure"
        case Standing.PLACEHOLDER:
            return f"a process has begun and reported no step, {waited:.0f} s since its launch{limit}"
        case Standing.DEGRADED:
            since = "its launch" if after.moved_at is None else f"{after.moved_at:%Y-%m-%d %H:%M}Z"
            return f"no new step since {since}, at {progress_words(after)}; it still runs"
        case Standing.PROGRESSING:
            return progress_words(after)
        case Standing.ENDED:
            return f"{seen.stage.value} at {progress_words(after)}"
