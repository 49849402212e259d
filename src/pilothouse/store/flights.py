"""`ports.store.Flight` for a database that waits for nobody: it lands where it begins."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple

from pilothouse.fleet.claim import Ending, Grant
from pilothouse.ports.store import Moved, Transaction


class Landed(NamedTuple):
    """A flight that was over when it began."""

    moved: Moved

    def land(self) -> Moved:
        """Return what was moved."""
        return self.moved


def fly(
    transaction: AbstractContextManager[Transaction],
    grants: Sequence[Grant],
    endings: Sequence[Ending],
    *,
    now: datetime,
) -> Landed:
    """Return what was moved in the transaction of those that are where they are expected, once it is committed."""
    with transaction as tx:
        left = set(tx.jobs.assign(grants, now=now))
        handed = tx.jobs.handed([grant.number for grant in grants if grant.number not in left])
        missed = set(tx.jobs.ship(endings, now=now))
    return Landed(Moved(handed, {ending.number for ending in endings if ending.number not in missed}))
