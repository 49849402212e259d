"""Intervals as a picture: SVG for a page, one line of text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pilothouse.evidence.verdict import Outcome

WIDTH, ROW, TOP, LEFT, RIGHT = 760, 44, 64, 180, 40
COLOURS = {
    Outcome.IMPROVED: "#1a7f37",
    Outcome.REGRESSED: "#cf222e",
    Outcome.INCONCLUSIVE: "#9a6700",
    Outcome.EQUIVALENT: "#8250df",
}
GREY, INK = "#57606a", "#1f2328"
COLUMNS = 61


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One interval around its estimate, with the outcome that it led to."""

    label: str
    low: float
    high: float
    estimate: float
    outcome: Outcome


def interval_text(bar: Bar, *, columns: int = COLUMNS) -> str:
    """Return one line: `|` is zero, `o` the estimate, `-` the interval, arrows an end that is out of sight."""
    low, high = _span([bar])
    cells = [" "] * columns

    def column(value: float) -> int:
        return round((columns - 1) * min(1.0, max(0.0, (value - low) / (high - low))))

    for place in range(column(bar.low), column(bar.high) + 1):
        cells[place] = "-"
    cells[column(bar.low)] = "[" if math.isfinite(bar.low) else "<"
    cells[column(bar.high)] = "]" if math.isfinite(bar.high) else ">"
    cells[column(0.0)] = "|"
    cells[column(bar.estimate)] = "o"
    return "".join(cells)


def interval_svg(bars: Sequence[Bar], *, title: str, unit: str) -> str:
    """Return the SVG text: one row per interval over a common axis with a line at zero."""
    height = TOP + ROW * len(bars) + 44
    low, high = _span(bars)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'font-family="system-ui, sans-serif" font-size="13"><title>{escape(title)}</title>'
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="20" y="26" font-size="16" font-weight="600" fill="{INK}">{escape(title)}</text>',
        f'<text x="20" y="46" fill="{GREY}">{escape(unit)}</text>',
    ]

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, (value - low) / (high - low)))

    bottom = TOP + ROW * len(bars)
    for value in (low, 0.0, high):
        dash = "" if value == 0 else ' stroke-dasharray="2 4"'
        parts.append(f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP}" y2="{bottom}" stroke="#8c959f"{dash}/>')
        parts.append(
            f'<text x="{x(value):.1f}" y="{bottom + 20}" text-anchor="middle" fill="{GREY}">{value:.3g}</text>'
        )
    for place, bar in enumerate(bars):
        y = TOP + ROW * (place + 0.5)
        colour = COLOURS[bar.outcome]
        parts += [
            f'<text x="{LEFT - 12}" y="{y + 4:.1f}" text-anchor="end" fill="{INK}">{escape(bar.label)}</text>',
            (
                f'<line x1="{x(bar.low):.1f}" x2="{x(bar.high):.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" '
                'stroke-width="3"/>'
            ),
            (
                f'<circle cx="{x(bar.estimate):.1f}" cy="{y:.1f}" r="6" fill="{colour}"><title>{escape(bar.label)}: '
                f"{bar.estimate:.4g} [{bar.low:.4g}, {bar.high:.4g}] {bar.outcome.value}</title></circle>"
            ),
        ]
    return "\n".join([*parts, "</svg>", ""])


def _span(bars: Sequence[Bar]) -> tuple[float, float]:
    """Return the ends of the axis: every finite end and zero, with a margin."""
    ends = [0.0, *(end for bar in bars for end in (bar.low, bar.high, bar.estimate) if math.isfinite(end))]
    low, high = min(ends), max(ends)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin
