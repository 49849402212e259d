"""Write the local publications now: the pages of this home, for whoever runs no engine that delivers them."""

from __future__ import annotations

import threading

from pilothouse.engine.postman import Postman
from pilothouse.logbook.letter import LOCAL, LetterState
from pilothouse.ports.outbox import LetterQuery
from pilothouse.publish.local import LocalChannel
from pilothouse.wiring.publishing import StoreBooks
from pilothouse.wiring.workspace import Workspace

LETTERS_MAX = 10_000


def deliver_local(workspace: Workspace, *, stop: threading.Event) -> int:
    """Deliver what the local channel has waiting, and return how many letters still wait."""
    postman = Postman(StoreBooks(workspace.store, workspace.clock), LocalChannel(workspace.home), wait=stop.wait)
    for _ in range(LETTERS_MAX):
        if postman.turn() > 0:
            break
    with workspace.store.read() as tx:
        query = LetterQuery(channel=LOCAL, state=LetterState.WAITING, limit=LETTERS_MAX)
        return len(tx.outbox.listed(query))
