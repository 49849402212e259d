"""From settings to a built product; with the factory's own process, the only place that names concrete adapters."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from pilothouse.blobs.local import LocalBlobs
from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.progress_plot import progress_svg
from pilothouse.campaigns.record import Campaign, Owner, TrialState
from pilothouse.campaigns.status import Snapshot
from pilothouse.canonical import Json
from pilothouse.engine.campaign_loop import CampaignLoop, Ending, LoopParts
from pilothouse.engine.engine import Engine
from pilothouse.engine.loop_events import LoopEvent, TrialJudged
from pilothouse.engine.ownership import is_alive, own_engine
from pilothouse.errors import NotFound, OperationFailed, StillPending, StorageFailed, UsageError
from pilothouse.factory.child import FactoryChild
from pilothouse.factory.orphans import sweep_orphans
from pilothouse.ids import ENTROPY_BYTES, BootId, FactoryName, ProductId
from pilothouse.operations.campaign_facts import Session
from pilothouse.operations.halt_campaign import resume_campaign
from pilothouse.operations.open_campaign import open_campaign, unheeded_defaults
from pilothouse.operations.read_logbook import thread_markdown
from pilothouse.ports.blobs import Blobs
from pilothouse.ports.clock import Clock
from pilothouse.ports.store import Store, Transaction
from pilothouse.settings import Settings
from pilothouse.store.sqlite.store import SqliteStore

DATABASE = "pilothouse.db"
FACTORY_STOP_SECONDS = 45.0
GIT_SECONDS = 10.0
LEASE_SECONDS = 30.0
STOP_LOOK_SECONDS = 0.1
_JUDGE = "pilothouse.evidence.clustered"
"""Loads scipy, which takes longer than a verdict: it is loaded while the first job runs."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """The files written for people after every verdict; the database is the truth, these are views."""

    logbook: Path
    plot: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One home with its database and its blobs."""

    home: Path
    store: Store
    blobs: Blobs
    clock: Clock
    product: ProductId

    def is_alive(self, owner: Owner) -> bool:
        """Whether the owner is a living process."""
        return is_alive(owner)

    def best_checkpoint(self, snapshot: Snapshot) -> str | None:
        """Return the folder of the current baseline's checkpoint, unchecked, or None while it has none."""
        best = snapshot.promotions[-1].checkpoint if snapshot.promotions else None
        return str(self.blobs.folder(best)) if best is not None else None

    def pages(self, campaign: Campaign) -> Pages:
        """Return where the campaign's pages are."""
        folder = self.home / "campaigns" / campaign.name
        return Pages(logbook=folder / "logbook.md", plot=folder / "progress.svg")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStart:
    """How a campaign's loop is started. `iterations` more are judged, None for endless."""

    definition: Definition
    iterations: int | None
    overrides: Mapping[str, Json]
    restore_golden: bool
    warn: Callable[[str], None]
    tell: Callable[[LoopEvent], None]


def open_workspace(settings: Settings, *, create: bool) -> Workspace:
    """Return the workspace at the settings' home; without `create` one that is not there is an error."""
    database = settings.home / DATABASE
    if not create and not database.exists():
        raise NotFound(
            f"there is no workspace at {settings.home}",
            fix="begin with `pilothouse demo` or `pilothouse campaign run FILE`, or name one with --home",
        )
    store = SqliteStore(database)
    return Workspace(
        home=settings.home,
        store=store,
        blobs=LocalBlobs(settings.home / "blobs"),
        clock=SystemClock(),
        product=_product(store, settings),
    )


def run_campaign(workspace: Workspace, start: CampaignStart, stop: threading.Event) -> Ending:
    """Own the workspace, bring back what a killed start left, and run the loop to its ending.

    Raises `AlreadyOwned` when another process runs a campaign here.
    """
    with running_engine(workspace) as (engine, owner):
        now = workspace.clock.now()
        campaign = engine.apply(lambda tx: _begin(tx, start.definition, owner, now=now))
        for sentence in unheeded_defaults(start.definition, campaign):
            start.warn(f"note: {sentence}")
        with engine.read() as tx:
            session = _session(tx, campaign, start, now=now)

        def tell(event: LoopEvent) -> None:
            if isinstance(event, TrialJudged):
                write_pages(workspace, campaign)
            start.tell(event)

        threading.Thread(target=import_module, args=(_JUDGE,), name="warm-judge", daemon=True).start()
        loop = CampaignLoop(
            parts=LoopParts(
                engine=engine, blobs=workspace.blobs, clock=workspace.clock, code_commit=code_commit, tell=tell
            ),
            definition=start.definition,
            campaign=campaign,
            session=session,
            overrides=dict(start.overrides),
        )
        try:
            return loop.run(stop)
        finally:
            write_pages(workspace, campaign)
            engine.apply(lambda tx: tx.campaigns.own(campaign.product, campaign.name, owner=None))


@contextmanager
def running_engine(workspace: Workspace) -> Iterator[tuple[Engine, Owner]]:
    """Own the workspace's engine for the block, with one factory process that works for it.

    What an earlier owner left behind is ended and taken back first, so that nothing runs twice.
    """
    boot = secrets.token_hex(8)
    factory = FactoryName(f"local-{socket.gethostname()}")
    with own_engine(workspace.home, boot=boot) as owner:
        sweep_orphans(workspace.home)
        engine = Engine(workspace.store, workspace.clock, lease_seconds=LEASE_SECONDS)
        with engine:
            with engine.read() as tx:
                held = {(job.factory, job.boot) for job in tx.jobs.leased()}
            for name, dead in held:
                assert name is not None, "a leased job has a factory"
                assert dead is not None, "a leased job has a boot"
                engine.rescue_boot(name, dead)
            child = FactoryChild(engine, home=workspace.home, work_folder=Path.cwd(), name=factory, boot=BootId(boot))
            try:
                yield engine, owner
            finally:
                child.stop(grace_seconds=FACTORY_STOP_SECONDS)


def write_pages(workspace: Workspace, campaign: Campaign) -> None:
    """Write the campaign's logbook and plot for people; a page that cannot be written stops nothing."""
    pages = workspace.pages(campaign)
    with workspace.store.read() as tx:
        trials = tx.campaigns.trials(campaign.product, campaign.name)
        promotions = tx.campaigns.promotions(campaign.product, campaign.name)
        written = campaign.name in tx.entries.threads(campaign.product)
        text = thread_markdown(tx, campaign.product, campaign.name) if written else ""
    if not any(trial.state is TrialState.JUDGED for trial in trials) and not text:
        return
    metric, _ = Definition.model_validate(campaign.definition).primary()
    write_text(pages.logbook, text)
    write_text(
        pages.plot,
        progress_svg(title=f"Campaign {campaign.name}", metric=metric, trials=trials, promotions=promotions),
    )


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or nothing, making its folder."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be written: {error.strerror}", fix="free space, or make it writable"
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


def code_commit() -> str:
    """Return the commit of the working folder, with `+changes` if it has any, or `unversioned`."""
    head = _git("rev-parse", "HEAD")
    if head is None:
        return "unversioned"
    return f"{head}+changes" if _git("status", "--porcelain", "--untracked-files=no") else head


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  fixed words, no shell
            ["git", *words],  # noqa: S607  the git that the person uses
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _begin(tx: Transaction, definition: Definition, owner: Owner, *, now: datetime) -> Campaign:
    """Open the campaign, take its halt away and own it, in one transaction."""
    campaign = open_campaign(tx, definition, now=now)
    resume_campaign(tx, campaign)
    tx.campaigns.own(campaign.product, campaign.name, owner=owner)
    return campaign


def _session(tx: Transaction, campaign: Campaign, start: CampaignStart, *, now: datetime) -> Session:
    """Return this start's limits; an iteration that is open counts as the first of those asked for."""
    trials = tx.campaigns.trials(campaign.product, campaign.name)
    judged = max((trial.number for trial in trials if trial.state is TrialState.JUDGED), default=0)
    limit = judged + start.iterations if start.iterations is not None else None
    return Session(since=now, trials_max=limit, restore_golden=start.restore_golden)


def _product(store: Store, settings: Settings) -> ProductId:
    """Return the product of the settings, or the only one in the store."""
    if settings.product is not None:
        return ProductId(settings.product)
    with store.read() as tx:
        known = tx.campaigns.products()
    if len(known) > 1:
        raise UsageError(f"the workspace has the products {', '.join(known)}", fix="name one in PILOTHOUSE_PRODUCT")
    return known[0] if known else ProductId("default")
