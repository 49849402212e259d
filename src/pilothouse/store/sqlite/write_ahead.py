"""The write-ahead log of a database in a file, which has to be folded back into it now and then.

SQLite does so by itself after a commit, once the log is longer than a thousand pages. While a reader holds an old
snapshot it may have to give up, and may learn so only after it has sorted the whole log: each commit then pays for
every one since the snapshot began. So, once the log has grown long, it is tried here, and seldom.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pilothouse.errors import StorageFailed

PAGES = 1000
"""From so many pages on SQLite folds the log back by itself."""
LONG_BYTES = 16 * 1024 * 1024
"""A log that is longer than this is held by somebody; one that is folded back is cut to it."""
REST = 100
"""How many times as long as a vain try has taken nothing is tried again."""


class WriteAheadLog:
    """Folds one database's log back where SQLite's own way would cost each commit more than the last."""

    def __init__(
        self,
        database: str,
        ask: Callable[[str], Sequence[Sequence[Any]]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = Path(f"{database}-wal").absolute()
        self._ask = ask
        self._monotonic = monotonic
        self._try_at: float | None = None
        ask(f"PRAGMA wal_autocheckpoint = {PAGES}")
        ask(f"PRAGMA journal_size_limit = {LONG_BYTES}")

    def committed(self) -> None:
        """Look after the log once something was committed; a failure leaves it as it is, and the commit stands."""
        with suppress(OSError, StorageFailed):
            if self._try_at is None:
                if self._file.stat().st_size > LONG_BYTES:
                    self._ask("PRAGMA wal_autocheckpoint = 0")
                    self._fold()
            elif self._monotonic() >= self._try_at:
                self._fold()

    def _fold(self) -> None:
        began = self._monotonic()
        self._try_at = began
        # While another process folds it, it is told as busy, and so many pages as folded ones: -1.
        busy, pages, folded = self._ask("PRAGMA wal_checkpoint(PASSIVE)")[0]
        if not busy and folded == pages:
            self._ask(f"PRAGMA wal_autocheckpoint = {PAGES}")
            self._try_at = None
        else:
            ended = self._monotonic()
            self._try_at = ended + REST * (ended - began)
