"""Write the local publications now: the pages of this home, for whoever runs no engine that delivers them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pilothouse.engine.postman import Postman
from pilothouse.logbook.letter import LOCAL, LetterState
from pilothouse.ports.outbox import LetterQuery
from pilothouse.ports.store import Transaction
from pilothouse.publish.local import LocalChannel
from pilothouse.wiring.workspace import Workspace

LETTERS_MAX = 10_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Books:
    """The workspace as a postman's books, one transaction at a time."""

    workspace: Workspace

    def apply(self, act: Callable[[Transaction], T]) -> T:
        """Return what the act returned, once it is committed."""
        with self.workspace.store.write() as tx:
            return act(tx)

    def read(self) -> AbstractContextManager[Transaction]:
        """Begin a reading transaction."""
        return self.workspace.store.read()

    def now(self) -> datetime:
        """Return the present, in UTC."""
        return self.workspace.clock.now()


def deliver_local(workspace: Workspace, *, stop: threading.Event) -> int:
    """Deliver what the local channel has waiting, and return how many letters still wait."""
    postman = Postman(_Books(workspace), LocalChannel(workspace.home), wait=stop.wait)
    for _ in range(LETTERS_MAX):
        if postman.turn() > 0:
            break
    with workspace.store.read() as tx:
        query = LetterQuery(channel=LOCAL, state=LetterState.WAITING, limit=LETTERS_MAX)
        return len(tx.outbox.listed(query))
