"""Append an entry to a thread of the logbook, linked to the one before it."""

from __future__ import annotations

from datetime import datetime

from pilothouse.ids import ProductId
from pilothouse.logbook.chain import link
from pilothouse.logbook.entry import Entry, NewEntry
from pilothouse.ports.store import Transaction


def record_entry(tx: Transaction, body: NewEntry, *, product: ProductId, thread: str, now: datetime) -> Entry:
    """Return the entry as it stands in the chain; it commits with whatever else the transaction holds."""
    entry = link(tx.entries.last(product, thread), product=product, thread=thread, body=body, now=now)
    tx.entries.append(entry)
    return entry
