"""Brings letters to any other chat that Apprise knows; an optional extra, loaded only where it is configured.

Apprise tells neither message ids nor reasons, so a letter is sent once and never looked for.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from pilothouse.errors import BadValue, UsageError
from pilothouse.logbook import marks
from pilothouse.logbook.answers import Treatment, of_apprise
from pilothouse.logbook.letter import APPRISE, Kind, Posted
from pilothouse.logbook.pace import DISCORD_PACE, Pace
from pilothouse.ports.channel import Delivered, Gate, Later, Outcome, Refused
from pilothouse.publish import fields

TEXT_MAX = 1500
RETRY_SECONDS = 60.0


class AppriseChannel:
    """`ports.channel.Channel` over the services whose URLs are given; they hold secrets and are never shown."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._sender = _sender(urls)

    @property
    def name(self) -> str:
        """The channel's name."""
        return APPRISE

    @property
    def pace(self) -> Pace:
        """How fast it may be written to."""
        return DISCORD_PACE

    def deliver(self, posted: Posted, *, about: Posted | None, gate: Gate) -> Outcome:
        """Send the letter as one notification."""
        if posted.letter.kind not in {Kind.ISSUE, Kind.PULL_REQUEST, Kind.COMMENT}:
            return Refused(why=f"a notification knows no {posted.letter.kind}")
        source = posted if about is None else about
        title = marks.quiet(" ".join(fields.text(source.letter.body, "title").split())) or posted.letter.key
        text = marks.quiet(marks.unmarked(fields.text(posted.letter.body, "text")))
        gate.pass_one()
        try:
            sent = self._sender.notify(
                title=title, body=marks.fitted(text, limit=TEXT_MAX, record=marks.record_of(posted.number))
            )
        finally:
            gate.passed()
        if of_apprise(taken=sent) is not Treatment.TAKEN:
            return Later(seconds=RETRY_SECONDS, why="Apprise did not deliver to every service", alone=True)
        return Delivered(remote=posted.letter.key)

    def close(self) -> None:
        """Nothing is held open."""


def _sender(urls: Sequence[str]) -> Any:
    # Both tell addresses, which are secrets: the first even in its errors, the second when it is asked for details.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    logging.getLogger("urllib3").setLevel(logging.INFO)
    try:
        import apprise  # noqa: PLC0415  an optional extra
    except ImportError as error:
        raise UsageError(
            "other chats need Apprise, which is not installed", fix="pip install 'pilothouse[apprise]'"
        ) from error
    sender = apprise.Apprise()
    for number, url in enumerate(urls, start=1):
        if not sender.add(url):
            raise BadValue(f"line {number} of the Apprise file is no service", fix="write one Apprise URL per line")
    return sender
