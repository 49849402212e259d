"""The marks by which our own words are found again on the far side, and how a text is made to fit.

A mark is an HTML comment, which nobody sees. It proves nothing by itself, since anybody can paste one: it counts only
in what our own account has written. Marks in texts that come from outside are taken out before they are published.
"""

from __future__ import annotations

import re

from pilothouse.logbook.letter import Letter

MARK = "<!-- pilothouse:"
STATUS_BEGIN = "<!-- pilothouse:status -->"
STATUS_END = "<!-- pilothouse:/status -->"
TRAILER = "Pilothouse-Letter:"
BODY_MAX = 65_536
"""The most characters of a body on GitHub."""
STATUS_LEAST = 1_000
"""Where there is less room than this, no status block is written."""
STATUS_MAX = 16_384
"""The most characters of a status block, so that there is always room for it beside the text."""
NOTHING = "\u200b"
"""A character that nobody sees, which parts what a forge would take for one word."""
_NOTE_MAX = 300
_NAMED = re.compile(r"(?<![A-Za-z0-9])@(?=[A-Za-z0-9])|&(?=#0*64\b|#x0*40\b|commat\b)", re.IGNORECASE)
"""An `@` before a name, and the entities that are shown as one."""
_SPACE = r"(?:\s|&(?:nbsp|#0*(?:32|160)|#x0*(?:20|a0));)"
_HASH = r"(?:#|&(?:num|#0*35|#x0*23);)"
_CLOSING = re.compile(
    rf"(?<![A-Za-z0-9])(close[sd]?|fix(?:e[sd])?|resolve[sd]?)"
    rf"(?=[*_~:]*{_SPACE}+[*_~<(\[]*(?:[\w./-]*{_HASH}\d|GH-\d|https?://))",
    re.IGNORECASE,
)
"""The words by which a merged text closes an issue, where one is named behind them, emphasised or spelt in entities."""


def mark(letter: Letter) -> str:
    """Return the hidden mark of a letter."""
    return f"{MARK}{letter.product}/{letter.key} -->"


def trailer(letter: Letter) -> str:
    """Return the last line of a commit's message, by which the commit is found again."""
    return f"{TRAILER} {letter.product}/{letter.key}"


def unmarked(text: str) -> str:
    """Return the text without anything that could be taken for a mark of ours, and with plain line ends."""
    text = text.replace("\r\n", "\n")
    # What stands around a mark may be another one as soon as the first is gone.
    while MARK in text or TRAILER in text:
        text = text.replace(MARK, "<!-- ").replace(TRAILER, "Letter:")
    return text


def quiet(text: str) -> str:
    """Return the text so that it names nobody on the far side and closes no issue there, in code as well as outside."""
    return _CLOSING.sub(rf"\1{NOTHING}", _NAMED.sub(rf"\g<0>{NOTHING}", text))


def length(text: str) -> int:
    """Return how many characters a far side may count: those beyond the first plane as two."""
    return len(text) + sum(1 for letter in text if letter > "\uffff")


def fitted(text: str, *, limit: int, record: str) -> str:
    """Return the text, or as much of its begin as fits with a line that names the full local record."""
    if length(text) <= limit:
        return text
    note = f"\n\n*Cut here: the full text is {record[:_NOTE_MAX]}.*"
    room = limit - length(note)
    assert room > 0, f"no text fits into {limit} characters"
    # Even if every character counts twice it is at most twice too long.
    kept = text[:room]
    while length(kept) > room:
        kept = kept[: len(kept) - max(1, (length(kept) - room) // 2)]
    return _closed_fence(kept, note)


def _closed_fence(kept: str, note: str) -> str:
    """Return the kept text and the note; a block of code that was cut open would swallow the note, so it is dropped."""
    fences = [line for line in kept.splitlines() if line.lstrip().startswith(("```", "~~~"))]
    if len(fences) % 2 == 0:
        return kept + note
    opened = kept.rindex(fences[-1])
    return kept[:opened].rstrip("\n") + note if opened else note.lstrip("\n")


def record_of(number: int) -> str:
    """Return how a reader finds the full record of a letter."""
    return f"letter {number} of the outbox, `pilothouse logbook outbox show {number}`"


def with_status(body: str, text: str) -> str:
    """Return the body with this text as its one status block, at the place where the old one was, or at the end."""
    block = f"{STATUS_BEGIN}\n{text}\n{STATUS_END}"
    body = body.replace("\r\n", "\n")
    begin = body.find(STATUS_BEGIN)
    end = body.find(STATUS_END, begin)
    if begin < 0 or end < 0:
        return f"{body.rstrip()}\n\n{block}" if body.strip() else block
    return body[:begin] + block + body[end + len(STATUS_END) :]
