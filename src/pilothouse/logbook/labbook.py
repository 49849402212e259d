"""The labbook: one line for each thing that happened, for whoever reads in the morning what the night has brought.

    - UTC | action | observation | outcome | next

It is a view of the logbook and of what is stored beside it, in the order of their times. Every text in it comes from
outside, so it is data: it stays within its line and its column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pilothouse.canonical import Json
from pilothouse.logbook.entry import Entry
from pilothouse.logbook.markdown import ENTITY, inline, visible

HEADING = "UTC | action | observation | outcome | next"
NOTE = "note"
"""The evidence by which an entry is known as a person's note; it names the author."""
CELL_MAX = 400
_NOTHING = "-"
_MARKS = re.compile(r"[\\|`*]|(?<=\])\(|(?<=!)\[")
"""What could end a column, begin code or an emphasis that swallows the next one, or make a link or an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabbookLine:
    """One line; an empty column shows a dash."""

    at: datetime
    action: str
    observation: str = ""
    outcome: str = ""
    next: str = ""


def render_labbook(topic: str, lines: Iterable[LabbookLine]) -> str:
    """Return the page, oldest line first."""
    ordered = sorted(lines, key=lambda line: line.at)
    return "\n".join([f"# {inline(topic)}: Labbook", "", HEADING, "", *map(_line, ordered)]) + "\n"


def line_of(entry: Entry, *, changes: str = "") -> LabbookLine:
    """Return the line of a logbook entry; `changes` says what the proposal moved that the entry judges."""
    body = entry.body
    note = body.evidence.get(NOTE)
    if isinstance(note, Mapping):
        return LabbookLine(at=entry.at, action=f"note by {note.get('author')}", observation=body.interpretation)
    action, _, outcome = body.label.partition(": ")
    verdict = body.evidence.get("verdict")
    return LabbookLine(
        at=entry.at,
        action=f"{action}: {changes}" if changes else action,
        observation=_verdict_words(verdict) if isinstance(verdict, Mapping) else body.result or body.interpretation,
        outcome=outcome,
        next=body.next_action,
    )


def _verdict_words(verdict: Mapping[str, Json]) -> str:
    """Return what was measured, as far as the stored verdict tells it."""
    before, after, runs = verdict.get("baseline"), verdict.get("candidate"), verdict.get("candidate_runs")
    return f"{verdict.get('metric')} {_number(before)} → {_number(after)} over {runs} runs; {verdict.get('reason')}"


def _number(value: Json) -> str:
    return f"{value:.5g}" if isinstance(value, int | float) else "unknown"


def _line(line: LabbookLine) -> str:
    at = line.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    cells = (line.action, line.observation, line.outcome, line.next)
    return f"- {at} | " + " | ".join(_cell(each) for each in cells)


def _cell(text: str) -> str:
    """Return a text that stays within its column; a long one is cut, for the logbook has all of it."""
    joined = " ".join(text.split())
    short = joined if len(joined) <= CELL_MAX else joined[: CELL_MAX - 1] + "…"
    safe = ENTITY.sub("&amp;", visible(short)).replace("<", "&lt;")
    return _MARKS.sub(r"\\\g<0>", safe) or _NOTHING
