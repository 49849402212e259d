"""A factory of another machine: it enrols once, and works for its server over HTTP until it is told to leave."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pilothouse.errors import AlreadyOwned, LeaseLost, PilothouseError, StorageFailed
from pilothouse.factory.attempt import Surroundings
from pilothouse.factory.command import Engines
from pilothouse.factory.discover import Facts
from pilothouse.factory.gpus import GpuPool
from pilothouse.factory.loop import Factory, FactorySettings, Leaving
from pilothouse.factory.orphans import sweep_orphans
from pilothouse.factory.process import keep_to_itself
from pilothouse.factory.remote_blobs import RemoteBlobs
from pilothouse.factory.remote_dispatch import HttpDispatch
from pilothouse.factory.server_line import ServerLine, is_loopback
from pilothouse.factory.worker_key import KEY_FILE, WorkerKey, enrol, not_enrolled, read_key, rotate, write_key
from pilothouse.ids import BootId, FactoryName
from pilothouse.launch.local import LocalLauncher
from pilothouse.ports.clock import Clock

CLAIM_WAIT_SECONDS = 5.0
"""How long one claim waits at the server, and so how long an idle factory may take to leave.

It does not leave before: what the server might give to a claim that nobody hears the answer of would be lost with it.
"""
KEY_LOOK_SECONDS = 60.0
YOUNG_SECONDS = 30.0
"""A boot that is over sooner is followed by a pause, longer each time: two factories of one name end each other's."""
PAUSE_SECONDS_MAX = 60.0
_LOCK = "lock"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFactory:
    """Which factory this is and what it works with.

    `home` is its own folder: its key, its runs, its blobs. Commands start in `work_folder`. `variables` is the
    environment to filter for jobs, `extra_variables` names what may pass beyond the usual. With an `enrolment_token` a
    factory that has no key yet enrols by itself.
    """

    server: str
    name: FactoryName
    home: Path
    work_folder: Path
    facts: Facts
    settings: FactorySettings
    engines: Engines
    variables: Mapping[str, str]
    extra_variables: Collection[str] = ()
    enrolment_token: str | None = field(default=None, repr=False)


def enrol_once(
    *, server: str, name: FactoryName, home: Path, facts: Facts, token: str | None, clock: Clock
) -> WorkerKey:
    """Return the new factory's key, kept in its home; without a token only an open server gives one."""
    line = ServerLine(server, key=token)
    try:
        key = enrol(line, name=name, facts=facts, now=clock.now())
    finally:
        line.close()
    write_key(home / KEY_FILE, key)
    return key


def run_remote(given: RemoteFactory, *, clock: Clock, stop: threading.Event, gone: threading.Event) -> Leaving:
    """Work for the server until `stop` is set or the factory is drained; say why it ended.

    `gone` ends the jobs with a short grace, and nothing is told any more. A session that was given up is followed by
    another boot. Raises AlreadyOwned if this factory runs already, NotAuthenticated if its key is no longer good.
    """
    keep_to_itself()
    with _owned(given.home):
        sweep_orphans(given.home, patience_seconds=0)
        key = _key(given, clock)
        line = ServerLine(given.server, key=key.token)
        ended = threading.Event()
        keeper = threading.Thread(target=_keep_key, args=(given, line, key, clock, ended), name="key", daemon=True)
        keeper.start()
        try:
            return _boots(given, line, clock=clock, stop=stop, gone=gone)
        finally:
            ended.set()
            line.close()


def _boots(
    given: RemoteFactory, line: ServerLine, *, clock: Clock, stop: threading.Event, gone: threading.Event
) -> Leaving:
    young = 0
    blobs = RemoteBlobs(given.home / "blobs", line)
    gpus = GpuPool(lambda: given.facts.gpu_names)
    launcher = LocalLauncher(given.variables, extra=frozenset(given.extra_variables))
    while True:
        boot, born = BootId(secrets.token_hex(8)), clock.monotonic()
        dispatch = HttpDispatch(line, factory=given.name, boot=boot, facts=given.facts)
        around = Surroundings(
            dispatch=dispatch,
            launcher=launcher,
            blobs=blobs,
            home=given.home,
            work_folder=given.work_folder,
            gone=gone,
            monotonic=clock.monotonic,
            engines=given.engines,
            abilities=lambda: given.facts.abilities,
            transfer=blobs,
            gpus=gpus,
        )
        factory = Factory(name=given.name, boot=boot, around=around, settings=given.settings)
        leaving = factory.run(stop)
        if leaving is not Leaving.SESSION_OVER or stop.is_set():
            return leaving
        if factory.failure is not None and not isinstance(factory.failure, LeaseLost):
            raise factory.failure
        young = young + 1 if clock.monotonic() - born < YOUNG_SECONDS else 0
        pause = min(PAUSE_SECONDS_MAX, 2.0**young - 1)
        log.warning("Another boot begins in %g s.", pause, extra={"action": "boot_over"})
        stop.wait(pause)


def _key(given: RemoteFactory, clock: Clock) -> WorkerKey:
    """Return the factory's key, or a new one: a server of this machine that is open gives one to whoever asks."""
    key = read_key(given.home / KEY_FILE)
    if key is not None and (key.server, key.factory) == (given.server.rstrip("/"), given.name):
        return key
    if given.enrolment_token is None and not is_loopback(given.server):
        raise not_enrolled(given.name, given.server)
    return enrol_once(
        server=given.server,
        name=given.name,
        home=given.home,
        facts=given.facts,
        token=given.enrolment_token,
        clock=clock,
    )


def _keep_key(given: RemoteFactory, line: ServerLine, key: WorkerKey, clock: Clock, ended: threading.Event) -> None:
    """Replace the key before it expires, and keep the new one on the disk."""
    unsaved = False
    while not ended.wait(KEY_LOOK_SECONDS):
        if not (unsaved or key.is_old(now=clock.now())):
            continue
        try:
            if not unsaved:
                key, unsaved = rotate(line, key, now=clock.now()), True
            write_key(given.home / KEY_FILE, key)
            unsaved = False
        except PilothouseError as error:
            log.warning("The key could not be replaced: %s", error.message, extra={"action": "key_kept"})
        line.use_key(key.token)


@contextmanager
def _owned(home: Path) -> Iterator[None]:
    """Own the factory's folder for the block; the lock goes with the process, however that ends."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(home / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFailed(
            f"Cannot write {home}: {error.strerror or error}.", fix="make it writable, or choose another with --home."
        ) from error
    try:
        _lock(descriptor, home)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, home: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise AlreadyOwned(
            f"another factory works in {home}", fix="stop it, or give this one another name with --name"
        ) from error
