"""When a word on the forge opens the gate: a listed person's, with the right to write, for exactly this.

The text is data. It counts when one of its lines is the command and nothing else, outside code, quotes and comments; it
is never asked to be anything more. What is refused is refused with its reason, for the person who wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from pilothouse.logbook.marks import MARK

COMMAND = "/pilothouse approve"
_COMMAND = re.compile(r"^/pilothouse approve ([0-9a-f]{64})(?: ([0-9a-f]{40}))?$")
_FENCE = re.compile(r"^( {0,3})(?:(`{3,})[^`]*|(~{3,}).*)$")
"""A line that opens or ends a block of code; backticks with others behind them are code within a line."""
_LISTED_FENCE = re.compile(r"^ {0,3}(?:(?:[-+*]|\d{1,9}[.)]) +)+(?:`{3,}[^`]*|~{3,}.*)$")
"""A block of code that begins with the item of a list, and ends nobody knows where without reading the whole list."""
_QUOTE = re.compile(r"^ {0,3}>(.*)$")
_TAG = re.compile(
    r"<!--|-->|<(/?)(blockquote|code|del|details|kbd|pre|q|s|samp|strike|textarea|tt)\b", flags=re.IGNORECASE
)
"""What begins and ends a stretch in which nothing is said."""
_SPAN = re.compile(r"`+|~~+|\$\$")
"""What begins and ends a stretch of code, of struck words or of mathematics within a paragraph."""
_TEXT_MAX = 65_536
MAY_WRITE = frozenset({"admin", "maintain", "write"})
APPROVED = "APPROVED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A comment or a review as the forge shows it now. A review names the commit that it is of, a comment none.

    `permission` is what its author may do in the repository at this moment; `verdict` is a review's, "" of a comment.
    `edit_is_told` is False where the forge does not say whether it was edited.
    """

    id: str
    author: str
    author_kind: str
    permission: str
    text: str
    at: datetime
    edited_at: datetime
    by_app: bool
    url: str
    commit: str = ""
    verdict: str = ""
    edit_is_told: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What may be approved: the digest of the proposal's subject, and the head that the pull request has now.

    `proposed_head` is the commit that was proposed, `proposed_at` when; `approvers` are the listed logins, lower case.
    """

    digest: str
    head: str
    proposed_head: str
    proposed_at: datetime
    approvers: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The word of this person counts."""

    by: str
    at: datetime
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotCounted:
    """A command that does not count, and why."""

    by: str
    why: str


Ruling: TypeAlias = Granted | NotCounted
CLOCKS = timedelta(seconds=60)
"""By how much the forge's clock and ours may differ."""


def digests(text: str) -> frozenset[str]:
    """Return the digests that a text approves, by well-formed commands."""
    return frozenset(digest for digest, _ in commands(text))


def commands(text: str) -> tuple[tuple[str, str], ...]:
    """Return the commands of a text: each a digest, and the commit that it names or ""."""
    found = [_COMMAND.match(line) for line in _said(text)]
    return tuple((match[1], match[2] or "") for match in found if match)


def rule(remark: Remark, subject: Subject) -> Ruling | None:
    """Return whether a remark approves the subject; None when it holds no command at all.

    Who it is comes first, so that a stranger learns nothing about the digest.
    """
    if not any(line.startswith(COMMAND) for line in _said(remark.text)):
        return None
    why = _who(remark, subject) or _what(remark, subject)
    if why:
        return NotCounted(by=remark.author, why=why)
    return Granted(by=remark.author, at=remark.at, url=remark.url)


def taken_back(remark: Remark | None, subject: Subject) -> str:
    """Return why a yes that has counted is none any more, "" while it stands; None is a remark that is not there now.

    Where the branch is says nothing here: the yes was to what was proposed, and that has not changed.
    """
    if remark is None:
        return "it was deleted, or says it no more"
    if remark.edited_at > remark.at:
        return "it was edited"
    if remark.verdict and remark.verdict != APPROVED:
        return f"the review is {remark.verdict.lower()} now"
    if subject.digest not in digests(remark.text):
        return "it says it no more"
    return _who(remark, subject)


def _who(remark: Remark, subject: Subject) -> str:
    """Return why the author's word does not count, "" when it does."""
    if remark.by_app or remark.author_kind != "User":
        return f"{remark.author} is no person"
    if not remark.author.isascii() or remark.author.casefold() not in subject.approvers:
        return f"{remark.author} is not among those who may approve"
    if remark.permission not in MAY_WRITE:
        return f"{remark.author} may not write to the repository"
    return ""


def _what(remark: Remark, subject: Subject) -> str:  # noqa: PLR0911  one sentence for each reason
    """Return why the words do not count, "" when they do."""
    found = commands(remark.text)
    if not found:
        return f"a command is a line `{COMMAND} DIGEST` by itself, with the whole digest"
    if len(set(found)) > 1:
        return "it holds several different commands"
    if not remark.edit_is_told:
        return "the forge does not tell whether it was edited; write a comment instead"
    if remark.edited_at > remark.at:
        return "it was edited; write a new one"
    [(digest, commit)] = set(found)
    if digest != subject.digest:
        return f"it approves {digest[:12]}…, and what is proposed now is {subject.digest[:12]}…"
    if subject.head != subject.proposed_head:
        return "the branch was changed since the proposal: somebody has pushed to it"
    if remark.verdict and remark.verdict != APPROVED:
        return f"the review's verdict is {remark.verdict.lower()}, and not approved"
    named = remark.commit or commit
    if named and named != subject.head:
        return f"it is about commit {named[:12]}, and the head is {subject.head[:12]}"
    if not named and remark.at + CLOCKS < subject.proposed_at:
        return "it is older than the proposal"
    return ""


def _hidden_after(line: str, hidden: tuple[str, ...]) -> tuple[str, ...]:
    """Return what still hides the text behind this line, the innermost last: a comment, blocks of HTML."""
    for tag in _TAG.finditer(line):
        name = tag[2].lower() if tag[2] else tag[0]
        if hidden[-1:] == ("<!--",):
            hidden = hidden[:-1] if name == "-->" else hidden
        elif name == "<!--" or (tag[2] and not tag[1]):
            hidden = (*hidden, name)
        elif name in hidden:
            hidden = hidden[: len(hidden) - 1 - hidden[::-1].index(name)]
    return hidden


def _ends(fence: re.Match[str], line: str) -> bool:
    """Whether a line ends a block of code: a fence alone, of the same kind, at least as long and as far to the right.

    One that is further to the left may be of no list any more in which the block began.
    """
    mark = _FENCE.match(line)
    if mark is None or len(mark[1]) < len(fence[1]):
        return False
    opened, closed = fence[2] or fence[3], line.strip(" ")
    return set(closed) == {opened[0]} and len(closed) >= len(opened)


def _lines_outside_code(text: str) -> Iterator[str]:
    """Give the lines that stand in no block of code, an empty one for each block."""
    fence: re.Match[str] | None = None
    for line in text[:_TEXT_MAX].replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if fence is not None:
            fence = None if _ends(fence, line) else fence
            continue
        if _LISTED_FENCE.match(line):
            return
        fence = _FENCE.match(line)
        yield line if fence is None else ""


def _said(text: str) -> Iterator[str]:
    """Give the lines that its author says: no quotes, no code, no HTML that hides, no lines of our own.

    What cannot be told without reading the whole as the forge does is not said: whoever means it writes it plainly.
    """
    hidden: tuple[str, ...] = ()
    quoted, spans = False, 0
    for line in _lines_outside_code(text):
        before, hidden = hidden, _hidden_after(line, hidden)
        if not line.strip():
            quoted, spans = False, 0
            continue
        quote = _QUOTE.match(line)
        # A quote goes on without its mark to the end of its paragraph.
        quoted = bool(quote[1].strip()) if quote else quoted
        is_open, spans = spans % 2 == 1, spans + len(_SPAN.findall(line))
        shown = quote or quoted or is_open or before or hidden or _TAG.search(line)
        if not shown and not line.startswith((" " * 4, "\t")) and MARK not in line:
            yield line.strip(" ")
