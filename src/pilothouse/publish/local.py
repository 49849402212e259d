"""The record in this home: the same letters as markdown pages, one page for each issue, pull request, commit and tag.

`publications/<product>/<campaign>/<key>.md` holds what a letter has made, its status block, and below it what was said
of it, in order. Every page is written aside, forced to the disk and renamed, and a section carries its letter's mark,
so that a delivery which is done twice leaves one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pilothouse.canonical import digest
from pilothouse.logbook import marks
from pilothouse.logbook.letter import ABOUT, LOCAL, Kind, Posted
from pilothouse.logbook.pace import Pace
from pilothouse.ports.channel import Delivered, Gate, Later, Outcome, Refused
from pilothouse.publish import fields
from pilothouse.trainer.durable import write_bytes
from pilothouse.trainer.errors import StorageFailed

FOLDER = "publications"
DISK_SECONDS = 30.0
_SECTION = f"\n---\n\n{marks.MARK}"
"""How a section begins; no text that is published holds a mark."""
_NAME_MAX = 150


class LocalChannel:
    """`ports.channel.Channel` over a folder of this home."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    @property
    def name(self) -> str:
        """The channel's name."""
        return LOCAL

    @property
    def pace(self) -> Pace:
        """A disk needs no patience."""
        return Pace()

    def deliver(self, posted: Posted, *, about: Posted | None, gate: Gate) -> Outcome:
        """Write the page of what the letter makes, or its section on the page of what it is about."""
        made = posted.letter.kind not in ABOUT
        page = self._page(posted if made or about is None else about)
        try:
            before = page.read_text(encoding="utf-8") if page.exists() else ""
            after = _made(posted) if made else _said(before, posted)
            if before != after and not (made and marks.mark(posted.letter) in before):
                gate.pass_one()
                page.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(page, after.encode())
                gate.passed()
        except UnicodeDecodeError as error:
            return Refused(why=f"{page} is no text any more: {error}")
        except (OSError, StorageFailed) as error:
            return Later(seconds=DISK_SECONDS, why=f"{page} cannot be written: {error}")
        return Delivered(remote=str(page.relative_to(self._folder)), answer={"page": str(page)})

    def close(self) -> None:
        """Nothing is held open."""

    def _page(self, posted: Posted) -> Path:
        letter = posted.letter
        folder = self._folder / _safe(letter.product) / _safe(letter.campaign or "none")
        return folder / f"{_safe(letter.key)}.md"


def _safe(name: str) -> str:
    """Return a name that stays inside its folder, another one for each key."""
    spelt = "".join(
        each if each.isalnum() or each in "._-" else "~" if each == "/" else f"+{ord(each):x}" for each in name
    )
    spelt = f"+2e{spelt[1:]}" if spelt.startswith(".") else spelt
    return spelt if len(spelt) <= _NAME_MAX else f"{spelt[:_NAME_MAX]}+{digest(name)[:12]}"


def _made(posted: Posted) -> str:
    """Return the page of a letter that makes something."""
    letter, body = posted.letter, posted.letter.body
    lines = [marks.mark(letter), f"# {_heading(posted)}", "", *_facts(body), _text(posted).rstrip()]
    return "\n".join(lines).rstrip() + "\n"


def _heading(posted: Posted) -> str:
    body = posted.letter.body
    told = fields.text(body, "title") or fields.text(body, "tag") or fields.text(body, "message").partition("\n")[0]
    return " ".join(marks.unmarked(told).split()) or posted.letter.key


def _facts(body: Mapping[str, object]) -> list[str]:
    """Return the lines that are no text: labels, branches, commits, files."""
    told = {name: value for name, value in body.items() if name not in {"title", "text", "message", "files"}}
    lines = [f"- {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in sorted(told.items())]
    files = body.get("files")
    if isinstance(files, Mapping):
        lines += [f"- {'writes' if content is not None else 'removes'}: {path}" for path, content in files.items()]
    return [*lines, ""] if lines else []


def _text(posted: Posted) -> str:
    body = posted.letter.body
    return marks.unmarked(fields.text(body, "text") or fields.text(body, "message"))


def _said(before: str, posted: Posted) -> str:
    """Return the page with what a letter says of it: a new section, or the newest status in its place."""
    letter, own = posted.letter, marks.mark(posted.letter)
    stamp = f"{posted.posted_at:%Y-%m-%d %H:%M:%SZ}"
    if letter.kind is Kind.STATUS:
        made, rule, sections = before.partition(_SECTION)
        return marks.with_status(made, f"{_text(posted).rstrip()}\n\n({stamp})").rstrip() + "\n" + rule + sections
    if own in before and letter.kind is not Kind.LABELS:
        return before
    words = {
        Kind.LABELS: f"labels: {', '.join(fields.texts(letter.body.get('wanted')))}",
        Kind.CLOSE: f"closed: {fields.text(letter.body, 'reason')}",
    }
    said = words.get(letter.kind) or _text(posted).rstrip()
    section = f"{_SECTION}{own.removeprefix(marks.MARK)}\n**{stamp}** {letter.kind.value}\n\n{said}\n"
    return before if section in before else before.rstrip("\n") + "\n" + section
