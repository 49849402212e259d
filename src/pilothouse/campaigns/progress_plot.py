"""The progress of a campaign as one SVG: each trial's primary metric, its interval, and the running best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pilothouse.campaigns.record import Promotion, Trial, TrialState
from pilothouse.evidence.verdict import Outcome
from pilothouse.proposals.promotion import Confirmation

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 78, 24, 52, 56
TICKS = 5
COLOURS = {
    Outcome.IMPROVED: "#1a7f37",
    Outcome.REGRESSED: "#cf222e",
    Outcome.INCONCLUSIVE: "#9a6700",
    Outcome.EQUIVALENT: "#8250df",
}
BASELINE_COLOUR = "#57606a"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """One trial on the plot; `low` and `high` place the interval of its change around its rival's value."""

    number: int
    value: float
    low: float
    high: float
    colour: str
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From values to pixels."""

    low: float
    high: float
    count: int
    floor: float = BOTTOM

    @classmethod
    def around(cls, values: Sequence[float], *, count: int, floor: float = BOTTOM) -> Scale:
        """Return the scale that shows these values with a margin, over a foot of `floor` pixels."""
        low, high = min(values), max(values)
        margin = 0.08 * (high - low) or 1.0
        return cls(low=low - margin, high=high + margin, count=count, floor=floor)

    def x(self, index: int) -> float:
        """Return the place of a trial."""
        return LEFT + (WIDTH - LEFT - RIGHT) * ((index + 0.5) / self.count)

    def y(self, value: float) -> float:
        """Return the place of a value; one beyond the frame, such as an unbounded end, lies on its edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return TOP + (HEIGHT - TOP - self.floor) * (1 - share)


def progress_svg(*, title: str, metric: str, trials: Sequence[Trial], promotions: Sequence[Promotion]) -> str:
    """Return the SVG text; a campaign without a judged trial gives an empty frame that says so.

    A trial that was judged by another metric, before the campaign's file named this one, has no place on the plot.
    """
    undone = {
        trial.number
        for trial in trials
        if trial.confirmation is not None and trial.confirmation.state is Confirmation.ROLLED_BACK
    }
    kept = {promotion.trial for promotion in promotions} - undone
    judged = (_point(trial, metric, kept) for trial in trials if trial.state is TrialState.JUDGED)
    points = [point for point in judged if point is not None and math.isfinite(point.value)]
    about = f"{metric} by trial; bars: interval of the change against the best before"
    if not points:
        return frame(title, about, ["no trial is judged yet"], texts=True)
    return frame(title, about, _drawing(points))


def frame(title: str, about: str, parts: Sequence[str], *, texts: bool = False) -> str:
    """Return a whole SVG: the parts below a title and a line about them; `texts` are sentences in their place."""
    said = [f'<text x="{LEFT}" y="{HEIGHT // 2}" fill="{BASELINE_COLOUR}">{escape(part)}</text>' for part in parts]
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'font-family="system-ui, sans-serif" font-size="13"><title>{escape(title)}</title>'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="16" font-weight="600" fill="#1f2328">{escape(title)}</text>',
        f'<text x="{LEFT}" y="42" fill="{BASELINE_COLOUR}">{escape(about)}</text>',
        *(said if texts else parts),
    ]
    return "\n".join([*lines, "</svg>", ""])


def _point(trial: Trial, metric: str, kept: set[int]) -> _Point | None:
    verdict = trial.verdict
    if metric not in trial.metrics or (verdict is not None and verdict.metric != metric):
        return None
    if verdict is None:
        value = trial.metrics[metric]
        return _Point(number=trial.number, value=value, low=value, high=value, colour=BASELINE_COLOUR, kept=True)
    return _Point(
        number=trial.number,
        value=verdict.candidate,
        low=verdict.baseline + verdict.low,
        high=verdict.baseline + verdict.high,
        colour=COLOURS[verdict.outcome],
        kept=trial.number in kept,
    )


def _drawing(points: Sequence[_Point]) -> list[str]:
    ends = [end for point in points for end in (point.low, point.value, point.high) if math.isfinite(end)]
    scale = Scale.around(ends, count=len(points))
    return [*grid(scale), *_best_line(points, scale), *_marks(points, scale), *_legend()]


def grid(scale: Scale) -> list[str]:
    """Return the lines of the values, with their numbers."""
    parts = []
    for tick in range(TICKS + 1):
        value = scale.low + (scale.high - scale.low) * tick / TICKS
        y = scale.y(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eaeef2"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#57606a">{value:.3g}</text>')
    return parts


def _best_line(points: Sequence[_Point], scale: Scale) -> list[str]:
    """Draw the running best as steps: it moves only where a trial was kept."""
    path, best = "", points[0].value
    for index, point in enumerate(points):
        before = best
        best = point.value if point.kept else best
        x = scale.x(index)
        path += (
            f"M{x:.1f} {scale.y(best):.1f}"
            if index == 0
            else f"L{x:.1f} {scale.y(before):.1f}L{x:.1f} {scale.y(best):.1f}"
        )
    return [f'<path d="{path}" fill="none" stroke="#0969da" stroke-width="1.5" stroke-dasharray="5 4"/>']


def _marks(points: Sequence[_Point], scale: Scale) -> list[str]:
    every = max(1, len(points) // 20)
    parts = []
    for index, point in enumerate(points):
        x = scale.x(index)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{scale.y(point.low):.1f}" y2="{scale.y(point.high):.1f}" '
            f'stroke="{point.colour}" stroke-width="2"/>'
        )
        fill = point.colour if point.kept else "#ffffff"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{scale.y(point.value):.1f}" r="5" fill="{fill}" stroke="{point.colour}" '
            f'stroke-width="2"><title>trial {point.number}: {point.value:.4g}</title></circle>'
        )
        if index % every == 0:
            label = "baseline" if point.number == 0 else str(point.number)
            parts.append(
                f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle" fill="#57606a">{label}</text>'
            )
    return parts


def _legend() -> list[str]:
    entries = [(COLOURS[each], each.value) for each in (Outcome.IMPROVED, Outcome.REGRESSED, Outcome.INCONCLUSIVE)]
    parts = []
    for index, (colour, label) in enumerate(entries):
        x = LEFT + 130 * index
        parts.append(f'<circle cx="{x}" cy="{HEIGHT - 14}" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{x + 10}" y="{HEIGHT - 10}" fill="#57606a">{label}</text>')
    x = LEFT + 130 * len(entries)
    parts.append(
        f'<line x1="{x}" x2="{x + 24}" y1="{HEIGHT - 14}" y2="{HEIGHT - 14}" stroke="#0969da" stroke-dasharray="5 4"/>'
    )
    parts.append(f'<text x="{x + 30}" y="{HEIGHT - 10}" fill="#57606a">best so far; hollow marks were not kept</text>')
    return parts
