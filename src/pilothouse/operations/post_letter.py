"""Post a letter together with its twin for the local record."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pilothouse.logbook.letter import LOCAL, Letter, Posted
from pilothouse.ports.store import Transaction


def post_letter(tx: Transaction, letter: Letter, *, now: datetime) -> Posted:
    """Return the letter as it stands in the outbox; it and its twin on `local` are delivered after the commit.

    The twin's key is `<channel>/<key>`, so that two channels may use the same key. A letter to `local` has no twin.
    """
    if letter.channel != LOCAL:
        about = f"{letter.channel}/{letter.about}" if letter.about else ""
        twin = replace(letter, channel=LOCAL, key=f"{letter.channel}/{letter.key}", about=about)
        tx.outbox.post(twin, now=now)
    return tx.outbox.post(letter, now=now)
