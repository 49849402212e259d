"""A home with its database and its blobs, for whoever reads or writes them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pilothouse.blobs.local import LocalBlobs
from pilothouse.campaigns.record import Campaign, Owner
from pilothouse.campaigns.status import Snapshot
from pilothouse.engine.ownership import own_engine, read_owner
from pilothouse.errors import NotFound, OperationFailed, StillPending, StorageFailed, UsageError
from pilothouse.ids import ENTROPY_BYTES, ProductId
from pilothouse.launch import identity
from pilothouse.ports.blobs import Blobs
from pilothouse.ports.clock import Clock
from pilothouse.ports.leadership import Leadership
from pilothouse.ports.store import Store
from pilothouse.settings import REQUESTS_PER_SECOND, FactoryTable, Publishing, Settings
from pilothouse.store.sqlite.connection import OLDEST_SQLITE
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.trainer.durable import write_bytes
from pilothouse.trainer.errors import StorageFailed as WritingFailed

DATABASE = "pilothouse.db"
STOP_LOOK_SECONDS = 0.1
SQLITE_LEAST = OLDEST_SQLITE
"""The oldest SQLite that can carry the database."""


class SystemClock:
    """The machine's clock, and its randomness for ids."""

    def now(self) -> datetime:
        """Return the present in UTC."""
        return datetime.now(UTC)  # noqa: TID251  the one clock

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def entropy(self) -> bytes:
        """Return the random bytes of one id."""
        return secrets.token_bytes(ENTROPY_BYTES)


class LedStore(Store, Leadership, Protocol):
    """A store that one of several servers leads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """The files written for people as things happen; the database is the truth, these are views.

    `best` points to what holds, `config` has its knobs to paste, and `runs` is the folder of the run folders.
    """

    logbook: Path
    labbook: Path
    plot: Path
    best: Path
    config: Path
    runs: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One home with its database and its blobs.

    `factory` is what the settings say of this machine; `named_product` is the product that they name, if they do.
    """

    home: Path
    store: LedStore
    blobs: Blobs
    clock: Clock
    factory: FactoryTable
    named_product: ProductId | None
    requests_per_second: float = REQUESTS_PER_SECOND
    publishing: Publishing = field(default_factory=Publishing)

    @property
    def product(self) -> ProductId:
        """The product of the settings, or the only one in the store; several without a name are a `UsageError`."""
        if self.named_product is not None:
            return self.named_product
        with self.store.read() as tx:
            known = tx.campaigns.products()
        if len(known) > 1:
            raise UsageError(f"the workspace has the products {', '.join(known)}", fix="name one in PILOTHOUSE_PRODUCT")
        return known[0] if known else ProductId("default")

    def is_alive(self, owner: Owner) -> bool:
        """Whether the owner is a living process."""
        return is_alive(owner)

    def engine_runs(self) -> bool:
        """Whether a living process owns this home's engine, so that what waits will go on."""
        owner = read_owner(self.home)
        return owner is not None and is_alive(owner)

    def best_checkpoint(self, snapshot: Snapshot) -> str | None:
        """Return the folder of the current baseline's checkpoint, unchecked, or None while it has none."""
        best = snapshot.promotions[-1].checkpoint if snapshot.promotions else None
        return str(self.blobs.folder(best)) if best is not None else None

    def pages(self, campaign: Campaign) -> Pages:
        """Return where the campaign's pages are."""
        folder = self.home / "campaigns" / campaign.product / campaign.name
        return Pages(
            logbook=folder / "logbook.md",
            labbook=folder / "labbook.md",
            plot=folder / "progress.svg",
            best=folder / "best.json",
            config=folder / "best.toml",
            runs=folder / "runs",
        )

    def stop_owner(self, owner: Owner, *, timeout_seconds: float) -> None:
        """Ask a living owner on this host to stop, and wait until it has; raise `StillPending` when it takes longer."""
        if owner.host != socket.gethostname():
            raise OperationFailed(f"pid {owner.pid} runs on {owner.host}", fix=f"stop it on {owner.host}")
        os.kill(owner.pid, signal.SIGTERM)
        deadline, pause = time.monotonic() + timeout_seconds, threading.Event()
        while is_alive(owner):
            if time.monotonic() > deadline:
                raise StillPending(
                    f"pid {owner.pid} is still stopping after {timeout_seconds:g} s",
                    fix="wait for it; a second SIGTERM ends it at once, and nothing is lost",
                )
            pause.wait(STOP_LOOK_SECONDS)


def open_workspace(settings: Settings, *, create: bool) -> Workspace:
    """Return the workspace at the settings' home; without `create` one that is not there is an error."""
    database = settings.home / DATABASE
    if not create and settings.database is None and not database.exists():
        raise NotFound(
            f"there is no workspace at {settings.home}",
            fix="begin with `pilothouse demo` or `pilothouse campaign run FILE`, or name one with --home",
        )
    if create:
        _make_home(settings.home)
    return Workspace(
        home=settings.home,
        store=_open_store(settings),
        blobs=LocalBlobs(settings.home / "blobs"),
        clock=SystemClock(),
        factory=settings.factory,
        named_product=None if settings.product is None else ProductId(settings.product),
        requests_per_second=settings.requests_per_second,
        publishing=settings.publishing,
    )


def _make_home(home: Path) -> None:
    """Make a new home that git does not heed: `git add` of the whole repository shall not take a database along.

    A folder that is there already stays as it is, since it may be somebody's own.
    """
    try:
        home.mkdir(parents=True)
    except OSError:
        return  # it is there, or what opens the database says why it cannot be made
    write_text(home / ".gitignore", "*\n")


def _open_store(settings: Settings) -> LedStore:
    """Return the store that the settings name: a PostgreSQL database, or else the home's own file."""
    if settings.database is None:
        return SqliteStore(settings.home / DATABASE)
    try:
        from pilothouse.store.postgres.store import PostgresStore  # noqa: PLC0415  the driver is an extra
    except ImportError as error:
        raise UsageError(
            f"PostgreSQL needs the driver psycopg, which is missing: {error}", fix="install `pilothouse[postgres]`"
        ) from error
    return PostgresStore(settings.database)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or nothing, making its folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, text.encode("utf-8", "replace"))
    except (OSError, WritingFailed) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        why = cause.strerror if isinstance(cause, OSError) else cause
        raise StorageFailed(
            f"{path} cannot be written: {why}", fix="free space, make it writable, or choose another folder"
        ) from error


def discard_workspace(home: Path, *, marker: str) -> None:
    """Throw a workspace away; one without the marker file, or with a living owner, is left alone."""
    if not home.exists():
        return
    if not (home / marker).exists():
        raise UsageError(
            f"{home} does not look like a demo: it has no {marker}", fix="remove it yourself, if it is one"
        )
    with own_engine(home, boot="discard"):
        shutil.rmtree(home)


def is_alive(owner: Owner) -> bool:
    """Whether the owner is a living process of this host; one of another host is taken for living."""
    return owner.host != socket.gethostname() or identity.is_alive(owner.pid, started=owner.started)
