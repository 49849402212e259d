"""When the autopilot ends by itself, and when it goes to a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from pilothouse.campaigns.action import Finished
from pilothouse.campaigns.arms import NO_FAULT
from pilothouse.campaigns.autopilot_definition import Stop
from pilothouse.campaigns.record import Trial
from pilothouse.proposals.promotion import Confirmation


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """Going on by itself would waste the budget: a person has to look."""

    reason: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far the loop has come: what `stop_of` compares with its rules.

    `trials_max` is the highest trial this start may judge, `elapsed` the seconds since the campaign was opened.
    """

    trials: Sequence[Trial]
    trials_max: int | None
    refusals: int
    elapsed: float


def stop_of(stop: Stop, standing: Standing) -> Finished | Stuck | None:
    """Return why no further proposal is asked for, or None."""
    judged = [trial for trial in standing.trials if trial.number > 0]
    last = standing.trials[-1].number
    if stop.proposals is not None and last >= stop.proposals:
        return Finished(reason=f"all {stop.proposals} proposals are judged", final=True)
    idle = _in_a_row(judged, lambda trial: not was_kept(trial))
    if stop.without_improvement is not None and idle >= stop.without_improvement:
        return Finished(reason=f"{idle} proposals in a row improved nothing", final=True)
    if stop.after is not None and standing.elapsed >= stop.after:
        return Finished(
            reason=f"the campaign was opened {standing.elapsed:.0f} s ago, its limit is {stop.after:g} s", final=True
        )
    if standing.trials_max is not None and last >= standing.trials_max:
        reason = f"trial {last} is judged" if last > 0 else "the baseline is calibrated"
        return Finished(reason=reason, final=False)
    return stuck_of(stop, judged, refusals=standing.refusals)


def was_kept(trial: Trial) -> bool:
    """Whether the trial moved the baseline for good."""
    return trial.confirmation is not None and trial.confirmation.state is Confirmation.CONFIRMED


def stuck_of(stop: Stop, judged: Sequence[Trial], *, refusals: int) -> Stuck | None:
    """Return why a person has to look before another proposal is asked for, or None."""
    failing = _in_a_row(judged, lambda trial: trial.failure not in NO_FAULT)
    if failing >= stop.failures:
        classes = ", ".join(sorted({trial.failure for trial in judged[-failing:]}))
        return Stuck(
            reason=f"{failing} proposals in a row failed ({classes})",
            mend="read the logs of their runs (`pilothouse run list`), narrow the knobs' ranges or mend the program, "
            "and run again with a higher [autopilot.stop] failures",
        )
    if refusals >= stop.refusals:
        return Stuck(
            reason=f"{refusals} proposals in a row were refused before any run",
            mend="read why with `pilothouse proposal list`, widen the ranges or the change budget, and run again",
        )
    return None


def _in_a_row(trials: Sequence[Trial], holds: Callable[[Trial], bool]) -> int:
    """Return for how many trials it holds, counted back from the newest."""
    return sum(1 for _ in takewhile(holds, reversed(trials)))
