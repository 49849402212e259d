"""The progress of a campaign over seeds as one SVG: what became of each trial, and the running best with its interval.

The line is what holds: it moves only where fresh runs have confirmed a promotion, and the band around it is the
interval of that config's own runs, which no look has chosen. A trial whose runs cannot be compared, because they failed
or because a cheaper mode turned it away, has its mark on the rail below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape

from pilothouse.campaigns.arms import NO_FAULT
from pilothouse.campaigns.progress_plot import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, Scale, frame, grid
from pilothouse.campaigns.record import Trial, TrialState
from pilothouse.campaigns.stop_rules import was_kept
from pilothouse.evidence.interval import Interval
from pilothouse.evidence.verdict import Direction
from pilothouse.proposals.promotion import Confirmation

RAIL = HEIGHT - BOTTOM - 12
RAIL_HEIGHT = 24
BEST = "#0969da"
GREY = "#57606a"


class Fate(StrEnum):
    """What became of a trial."""

    BASELINE = "baseline"
    KEPT = "kept"
    WAITING = "waits for its confirmation"
    ROLLED_BACK = "rolled back"
    DISCARDED = "discarded"
    FAILED = "failed"


COLOURS = {
    Fate.BASELINE: GREY,
    Fate.KEPT: "#1a7f37",
    Fate.WAITING: BEST,
    Fate.ROLLED_BACK: "#bc4c00",
    Fate.DISCARDED: "#8c959f",
    Fate.FAILED: "#cf222e",
}
_LEGEND = (Fate.KEPT, Fate.DISCARDED, Fate.ROLLED_BACK, Fate.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What the runs of a config say of the metric, which no look has chosen: their mean, and its 95 % interval."""

    mean: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """One trial; `value` is None for one that stands on the rail."""

    number: int
    fate: Fate
    value: float | None
    low: float
    high: float


def fate_of(trial: Trial) -> Fate:
    """Return what became of a trial that is no longer running."""
    confirmation = trial.confirmation
    if trial.number == 0:
        return Fate.BASELINE
    if was_kept(trial):
        return Fate.KEPT
    if confirmation is not None and confirmation.state is Confirmation.ROLLED_BACK:
        return Fate.ROLLED_BACK
    if trial.state is TrialState.CONFIRMING:
        return Fate.WAITING
    return Fate.FAILED if trial.failure not in NO_FAULT else Fate.DISCARDED


def autopilot_svg(
    *, title: str, metric: str, direction: Direction, trials: Sequence[Trial], levels: Mapping[int, Level]
) -> str:
    """Return the SVG text; `levels` holds those of the trials that were the baseline, as far as they were measured."""
    better = "lower" if direction is Direction.MIN else "higher"
    marks = [_mark(trial, metric) for trial in trials if trial.state is not TrialState.RUNNING]
    best = _best(trials, levels)
    ends = [end for mark in marks if mark.value is not None for end in (mark.low, mark.value, mark.high)]
    ends += [end for _, level in best for end in (level.mean, level.interval.low, level.interval.high)]
    finite = [end for end in ends if math.isfinite(end)]
    about = f"{metric} by trial, {better} is better; bars: interval of the change against the best before"
    if not marks or not finite:
        return frame(title, about, ["no trial is judged yet"], texts=True)
    scale = Scale.around(finite, count=len(marks), floor=BOTTOM + RAIL_HEIGHT)
    places = {mark.number: index for index, mark in enumerate(marks)}
    drawn = [*grid(scale), _rail(), *_best_line(best, places, scale), *_marks(marks, scale), *_legend()]
    return frame(title, about, drawn)


def _mark(trial: Trial, metric: str) -> _Mark:
    verdict, fate = trial.verdict, fate_of(trial)
    measured = trial.metrics.get(metric)
    if verdict is None or verdict.metric != metric:
        value = measured if verdict is None and measured is not None and math.isfinite(measured) else None
        low = high = value if value is not None else math.nan
    else:
        # A verdict at level 0 rests on a cheaper mode, whose values are no rivals of these.
        told = verdict.alpha > 0 and math.isfinite(verdict.candidate)
        value = verdict.candidate if told else None
        low, high = verdict.baseline + verdict.low, verdict.baseline + verdict.high
    return _Mark(number=trial.number, fate=fate, value=value, low=low, high=high)


def _best(trials: Sequence[Trial], levels: Mapping[int, Level]) -> list[tuple[int, Level]]:
    """Return the trials at which what holds has changed, with the level that held from there on."""
    held = [trial.number for trial in trials if fate_of(trial) in {Fate.BASELINE, Fate.KEPT}]
    return [(number, levels[number]) for number in held if number in levels]


def _best_line(best: Sequence[tuple[int, Level]], places: Mapping[int, int], scale: Scale) -> list[str]:
    """Draw the running best as steps over its band, from each change to the next or to the right edge."""
    drawn, path = [], ""
    for index, (number, level) in enumerate(best):
        left = scale.x(places[number])
        right = scale.x(places[best[index + 1][0]]) if index + 1 < len(best) else float(WIDTH - RIGHT)
        top, bottom = scale.y(level.interval.high), scale.y(level.interval.low)
        drawn.append(
            f'<rect class="band" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{max(bottom - top, 0.0):.1f}" fill="{BEST}" fill-opacity="0.12"/>'
        )
        y = scale.y(level.mean)
        path += f"{'L' if path else 'M'}{left:.1f} {y:.1f}L{right:.1f} {y:.1f}"
    if path:
        drawn.append(f'<path class="best" d="{path}" fill="none" stroke="{BEST}" stroke-width="1.5"/>')
    return drawn


def _marks(marks: Sequence[_Mark], scale: Scale) -> list[str]:
    every = max(1, len(marks) // 20)
    drawn = []
    for index, mark in enumerate(marks):
        x = scale.x(index)
        drawn.append(_point(mark, x, scale))
        if index % every == 0:
            label = "base" if mark.number == 0 else str(mark.number)
            drawn.append(
                f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle" fill="{GREY}">{label}</text>'
            )
    return drawn


def _point(mark: _Mark, x: float, scale: Scale) -> str:
    colour = COLOURS[mark.fate]
    words = f"trial {mark.number}: {mark.fate.value}" + (f", {mark.value:.4g}" if mark.value is not None else "")
    if mark.value is None:
        d = f"M{x - 4:.1f} {RAIL - 4}l8 8m0 -8l-8 8"
        return f'<path class="trial" d="{d}" stroke="{colour}" stroke-width="2"><title>{escape(words)}</title></path>'
    fill = colour if mark.fate in {Fate.BASELINE, Fate.KEPT} else "#ffffff"
    return (
        f'<line class="bar" x1="{x:.1f}" x2="{x:.1f}" y1="{scale.y(mark.low):.1f}" y2="{scale.y(mark.high):.1f}" '
        f'stroke="{colour}" stroke-width="2" stroke-opacity="0.6"/>'
        f'<circle class="trial" cx="{x:.1f}" cy="{scale.y(mark.value):.1f}" r="5" fill="{fill}" stroke="{colour}" '
        f'stroke-width="2"><title>{escape(words)}</title></circle>'
    )


def _rail() -> str:
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{RAIL}" y2="{RAIL}" stroke="#d0d7de" stroke-dasharray="2 4"/>'
        f'<text x="{LEFT - 8}" y="{RAIL + 4}" text-anchor="end" fill="{GREY}" font-size="11">no result</text>'
    )


def _legend() -> list[str]:
    drawn, x = [], float(LEFT)
    for fate in _LEGEND:
        fill = COLOURS[fate] if fate is Fate.KEPT else "#ffffff"
        drawn.append(
            f'<circle cx="{x:.0f}" cy="{HEIGHT - 14}" r="5" fill="{fill}" stroke="{COLOURS[fate]}" stroke-width="2"/>'
            f'<text x="{x + 10:.0f}" y="{HEIGHT - 10}" fill="{GREY}">{fate.value}</text>'
        )
        x += 28 + 8 * len(fate.value)
    drawn.append(
        f'<rect x="{x:.0f}" y="{HEIGHT - 20}" width="24" height="12" fill="{BEST}" fill-opacity="0.12"/>'
        f'<line x1="{x:.0f}" x2="{x + 24:.0f}" y1="{HEIGHT - 14}" y2="{HEIGHT - 14}" stroke="{BEST}"/>'
        f'<text x="{x + 30:.0f}" y="{HEIGHT - 10}" fill="{GREY}">what holds, with its 95 % interval</text>'
    )
    return drawn
