"""Keep what a person has to say about a campaign, as an entry of its logbook."""

from __future__ import annotations

from datetime import datetime

from pilothouse.campaigns.record import Campaign
from pilothouse.errors import BadValue
from pilothouse.logbook.entry import Entry, NewEntry
from pilothouse.logbook.labbook import NOTE
from pilothouse.operations.record_entry import record_entry
from pilothouse.ports.store import Transaction

NOTE_LETTERS_MAX = 16_384
AUTHOR_LETTERS_MAX = 200


def write_note(tx: Transaction, campaign: Campaign, text: str, *, author: str, now: datetime) -> Entry:
    """Return the entry that the note has become; it stands in the chain like any other, under its author's name."""
    text, author = text.strip(), author.strip()
    if not text:
        raise BadValue("the note is empty", fix='write what you saw: pilothouse campaign note NAME "…"')
    if len(text) > NOTE_LETTERS_MAX:
        raise BadValue(
            f"the note has {len(text)} letters, and {NOTE_LETTERS_MAX} are taken",
            fix="shorten it, and name the file that holds the rest",
        )
    if not author or len(author) > AUTHOR_LETTERS_MAX or not author.isprintable():
        raise BadValue(f"{author!r} names nobody", fix="name the author in one line: --by ada")
    body = NewEntry(
        label=f"note by {author}",
        hypothesis="",
        command="",
        config="",
        result="",
        interpretation=text,
        next_action="",
        confidence="exploratory",
        evidence={NOTE: {"author": author}},
    )
    return record_entry(tx, body, product=campaign.product, thread=campaign.name, now=now)
