"""Who owns a workspace's engine: one living process, told by an advisory lock and named by a file beside it.

The lock is the truth, since the kernel drops it however its holder dies; the file only names the holder for people.
A pid alone is no name: it is compared together with the process's start time.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil

from pilothouse.campaigns.record import Owner
from pilothouse.errors import AlreadyOwned, StorageFailed

LOCK_FILE = "engine.lock"


@contextmanager
def own_engine(home: Path, *, boot: str) -> Iterator[Owner]:
    """Hold the workspace's engine for the block; raise `AlreadyOwned`, naming the holder, if another process does."""
    owner = this_process(boot=boot)
    path = home / LOCK_FILE
    try:
        home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written: {error.strerror}", fix=f"make {home} writable") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _owned(home, read_owner(home)) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _text(owner).encode("utf-8"), 0)
        try:
            yield owner
        finally:
            # A block that failed has ended too: only a holder that was killed leaves its name.
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def read_owner(home: Path) -> Owner | None:
    """Return the owner that the file names, or None when it names nobody."""
    try:
        values = json.loads((home / LOCK_FILE).read_text(encoding="utf-8"))
        return Owner(
            host=str(values["host"]), pid=int(values["pid"]), started=float(values["started"]), boot=str(values["boot"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def this_process(*, boot: str) -> Owner:
    """Return this process as an owner."""
    return Owner(host=socket.gethostname(), pid=os.getpid(), started=psutil.Process().create_time(), boot=boot)


def _text(owner: Owner) -> str:
    return json.dumps({"host": owner.host, "pid": owner.pid, "started": owner.started, "boot": owner.boot})


def _owned(home: Path, owner: Owner | None) -> AlreadyOwned:
    if owner is None:
        return AlreadyOwned(f"another process works in {home}", fix="wait until it ends, or stop it")
    since = datetime.fromtimestamp(owner.started, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return AlreadyOwned(
        f"pid {owner.pid} on {owner.host}, started {since}, works in {home}",
        fix="wait until it ends, stop it (a campaign by `pilothouse campaign stop`), or give this one its own --home",
    )


def leader_name(owner: Owner) -> str:
    """Return the name under which an owner leads a database, which no other boot has."""
    return f"{owner.host} pid {owner.pid} boot {owner.boot}"
