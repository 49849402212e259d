"""`ports.store.Entries` over a connection of either database."""

from __future__ import annotations

from collections.abc import Sequence

from pilothouse.ids import ProductId
from pilothouse.logbook.entry import Entry
from pilothouse.store import rows
from pilothouse.store.connection import Connection
from pilothouse.store.rows import instant


class StoredEntries:
    """The logbook within one transaction of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sql = connection.queries("entries")

    def append(self, entry: Entry) -> None:
        """Append an entry; `Conflict` when it does not follow the last one of its thread by number and hash."""
        body = entry.body
        self._connection.run(
            self._sql["append_entry"],
            {
                "product": entry.product,
                "thread": entry.thread,
                "number": entry.number,
                "at": instant(entry.at),
                "label": body.label,
                "hypothesis": body.hypothesis,
                "command": body.command,
                "config": body.config,
                "result": body.result,
                "interpretation": body.interpretation,
                "next_action": body.next_action,
                "confidence": body.confidence,
                "evidence": rows.strict_json(body.evidence),
                "previous_hash": entry.previous_hash,
                "hash": entry.hash,
            },
        )

    def last(self, product: ProductId, thread: str) -> Entry | None:
        """Return the entry that the next one must follow."""
        row = self._connection.row(self._sql["last_entry"], {"product": product, "thread": thread})
        return None if row is None else rows.entry(row)

    def thread(self, product: ProductId, thread: str) -> Sequence[Entry]:
        """Return the entries by number."""
        found = self._connection.rows(self._sql["entries_of_thread"], {"product": product, "thread": thread})
        return [rows.entry(row) for row in found]

    def threads(self, product: ProductId) -> Sequence[str]:
        """Return the threads by name."""
        return [row["thread"] for row in self._connection.rows(self._sql["threads_of_product"], {"product": product})]
