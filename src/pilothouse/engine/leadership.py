"""Taking and keeping the lead over a database that several servers may open.

    standby ── nobody leads, or the lead has run out ──► leading ── renewed, renewed, … ──► resigned
                                                            │
                                                            └─ not renewed in time ──► lost: the engine must end

The database's clock decides, and every write checks the lead inside its own transaction, so a server that has slept
through its lead can still think that it leads, but can change nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pilothouse.errors import AlreadyOwned, StorageFailed
from pilothouse.ports.leadership import Leadership

LEAD_SECONDS = 10.0
RENEW_SECONDS = 3.0
_JOIN_SECONDS = 30.0

_log = logging.getLogger(__name__)


@contextmanager
def leading(
    store: Leadership,
    *,
    holder: str,
    stop: threading.Event,
    lost: Callable[[], None],
    waiting: Callable[[str], None],
    seconds: float = LEAD_SECONDS,
) -> Iterator[None]:
    """Lead for the block: stand by until the lead is free, renew it meanwhile, and resign at the end.

    `waiting` is told once who leads. `lost` is called when the lead could not be kept; the block should then end. A
    `stop` that comes while standing by is `AlreadyOwned`.
    """
    _take(store, holder=holder, stop=stop, waiting=waiting, seconds=seconds)
    ended = threading.Event()
    keeper = threading.Thread(target=_keep, args=(store, ended, lost, seconds), name="keep-the-lead", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join(_JOIN_SECONDS)
        try:
            store.resign()
        except StorageFailed as error:
            _log.warning("the lead could not be given up: %s", error.message, extra={"action": "resign_failed"})


def _take(
    store: Leadership, *, holder: str, stop: threading.Event, waiting: Callable[[str], None], seconds: float
) -> None:
    told = False
    while store.lead(holder, seconds=seconds) is None:
        leader = store.leader()
        name = "another server" if leader is None else leader.holder
        if not told:
            waiting(name)
            told = True
        if stop.wait(seconds / 5):
            raise AlreadyOwned(f"{name} leads this database", fix="stop that server, or let this one stand by")


def _keep(store: Leadership, ended: threading.Event, lost: Callable[[], None], seconds: float) -> None:
    while not ended.wait(min(RENEW_SECONDS, seconds / 3)):
        try:
            kept = store.renew_lead(seconds=seconds)
        except StorageFailed as error:
            # The database may be back before the lead has run out; if it is not, the next renewal says so.
            _log.warning("the lead could not be renewed: %s", error.message, extra={"action": "renew_failed"})
            continue
        if not kept:
            _log.error("another server leads now; this one ends", extra={"action": "lead_lost"})
            lost()
            return
