"""Post what a ferry publishes, in the transaction of the deed that it tells of."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_letters import Sender
from pilothouse.campaigns.record import Campaign
from pilothouse.logbook.letter import COALESCING, Letter
from pilothouse.operations.post_letter import post_letter
from pilothouse.ports.store import Transaction


def sender_of(definition: FerryDefinition, campaign: Campaign, run: str) -> Sender:
    """Return whose letters they are."""
    return Sender(product=campaign.product, definition=definition, run=run)


def post_all(tx: Transaction, letters: Iterable[Letter], *, now: datetime) -> None:
    """Post letters in their order; one whose key is taken was posted by an earlier try, and stays as it is.

    Of the kinds that coalesce the newest counts.
    """
    for letter in letters:
        if letter.kind in COALESCING or tx.outbox.by_key(letter.product, letter.channel, letter.key) is None:
            post_letter(tx, letter, now=now)
