"""A thread as the research logbook's markdown page.

Every text in it comes from outside: a program's last words, an agent's reasons. It is data, so it can forge neither
headings nor entries: lines of prose are indented into their list item with their markers escaped, commands and configs
stand in code that is fenced longer than anything in it, HTML and images are inert, and characters that do not print
(terminal escapes, text direction marks) are spelt out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC

from pilothouse.logbook.entry import Entry
from pilothouse.logbook.thread import ThreadHeader

NOT_STATED = "not stated"

BLOCK_MARKER = re.compile(r"^(?:([-+*#>=|~`_\[:])|(\d+)([.)]))")
"""What opens a block in CommonMark or a table when it begins a line."""

ENTITY = re.compile(r"&(?=#?\w+;)")


def render(header: ThreadHeader, entries: Sequence[Entry]) -> str:
    """Return the page: scope, baseline and every entry with its confidence and its hash. Times are UTC."""
    lines = [
        f"# {inline(header.topic)}: Research Logbook",
        "",
        "## Scope",
        *_prose("Goal", header.goal),
        *_prose("Primary metric(s)", header.metrics),
        *_prose("Constraints", header.constraints),
        "",
        "## Baseline",
        *_prose("Date", header.baseline_date),
        *_prose("Code refs", header.baseline_code),
        *_prose("Baseline numbers", header.baseline_numbers),
        "",
        "## Experiment Log",
    ]
    for entry in entries:
        lines += _entry(entry)
    return "\n".join(lines) + "\n"


def _entry(entry: Entry) -> Iterator[str]:
    body = entry.body
    at = entry.at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="minutes")
    yield f"### {at} - {inline(body.label)}"
    yield from _prose("Hypothesis", body.hypothesis)
    yield from _code("Command", body.command)
    yield from _code("Config", body.config)
    yield from _prose("Result", body.result)
    yield from _prose("Interpretation", body.interpretation)
    yield from _prose("Next action", body.next_action)
    yield from _prose("Confidence", body.confidence)
    if body.evidence:
        evidence = json.dumps(dict(body.evidence), sort_keys=True, indent=2, ensure_ascii=False)
        yield from _code("Evidence", evidence, language="json")
    yield f"- Entry: {entry.number}, SHA-256 {inline(entry.hash)} after {inline(entry.previous_hash)}"
    yield ""


def _prose(key: str, text: str) -> Iterator[str]:
    """Yield one list item; each further line of the text is indented into it."""
    lines = [_escape(line.strip()) for line in text.splitlines()]
    lines = lines if any(lines) else [NOT_STATED]
    yield f"- {key}: {lines[0]}"
    for line in lines[1:]:
        yield f"  {line}" if line else ""


def _code(key: str, text: str, *, language: str = "text") -> Iterator[str]:
    """Yield one list item whose text stands verbatim, in a span or in a block of several lines."""
    lines = [visible(line) for line in text.splitlines()]
    if not any(line.strip() for line in lines):
        yield f"- {key}: {NOT_STATED}"
        return
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    if len(lines) == 1:
        fence = "`" * (longest + 1)
        # Blanks inside keep a backtick at the end of the text apart from the fence; a renderer drops them.
        yield f"- {key}: {fence} {lines[0]} {fence}"
        return
    fence = "`" * max(3, longest + 1)
    yield f"- {key}:"
    yield f"  {fence}{language}"
    for line in lines:
        yield f"  {line}"
    yield f"  {fence}"


def inline(text: str) -> str:
    """Return the text in one line, for a place where a line break would end the block."""
    return _escape(" ".join(text.split())) or NOT_STATED


def _escape(line: str) -> str:
    """Return the line so that it opens no block and holds no HTML, entity or image."""
    safe = ENTITY.sub("&amp;", visible(line)).replace("<", "&lt;").replace("![", "!\\[")
    return BLOCK_MARKER.sub(lambda found: f"\\{found[1]}" if found[1] else f"{found[2]}\\{found[3]}", safe)


def visible(line: str) -> str:
    """Return the line with everything that does not print spelt out by its code."""
    return "".join(letter if letter.isprintable() or letter == "\t" else ascii(letter)[1:-1] for letter in line)
