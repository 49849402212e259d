"""Who leads a workspace's database, when several processes may open it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from pilothouse.campaigns.record import Owner
from pilothouse.engine.leadership import leading
from pilothouse.engine.ownership import leader_name
from pilothouse.ports.leadership import Leadership
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.wiring.workspace import Workspace


def lead(
    workspace: Workspace,
    owner: Owner,
    deposed: Callable[[], None],
    *,
    waiting: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> AbstractContextManager[None]:
    """Lead the workspace's database for a block, standing by until it is free; `deposed` is called when it is lost.

    Whoever owns the engine of a home alone has its file to themselves: a lead that is left there is a dead process's.
    """
    if isinstance(workspace.store, SqliteStore):
        bury_leader(workspace.store)
    return leading(
        workspace.store,
        holder=leader_name(owner),
        stop=stop or threading.Event(),
        lost=deposed,
        waiting=waiting,
    )


def bury_leader(store: Leadership) -> None:
    """Give up the lead of a process that is known to be dead."""
    left = store.leader()
    if left is not None and left.holder and left.seconds > 0:
        store.lead(left.holder, seconds=left.seconds)
        store.resign()
