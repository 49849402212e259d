"""A campaign's loop at work: the engine, its factory process, and the pages for people."""

from __future__ import annotations

import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.progress_plot import progress_svg
from pilothouse.campaigns.record import Campaign, Owner, TrialState
from pilothouse.canonical import Json
from pilothouse.engine.campaign_loop import CampaignLoop, Ending, LoopParts
from pilothouse.engine.engine import Engine
from pilothouse.engine.loop_events import LoopEvent, TrialJudged
from pilothouse.engine.ownership import own_engine
from pilothouse.errors import StorageFailed
from pilothouse.factory.child import FactoryChild
from pilothouse.factory.keeper import FactoryKeeper
from pilothouse.factory.orphans import sweep_orphans
from pilothouse.ids import BootId, FactoryName
from pilothouse.operations.campaign_facts import Session
from pilothouse.operations.halt_campaign import resume_campaign
from pilothouse.operations.open_campaign import check_overrides, open_campaign, unheeded_defaults
from pilothouse.operations.read_logbook import thread_markdown
from pilothouse.ports.store import Transaction
from pilothouse.wiring.workspace import Workspace, write_text

FACTORY_STOP_SECONDS = 45.0
GIT_SECONDS = 10.0
LEASE_SECONDS = 30.0
_JUDGE = "pilothouse.evidence.clustered"
"""Loads scipy, which takes longer than a verdict: it is loaded while the first job runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStart:
    """How a campaign's loop is started. `iterations` more are judged, None for endless."""

    definition: Definition
    iterations: int | None
    overrides: Mapping[str, Json]
    restore_golden: bool
    warn: Callable[[str], None]
    tell: Callable[[LoopEvent], None]


def run_campaign(workspace: Workspace, start: CampaignStart, stop: threading.Event) -> Ending:
    """Own the workspace, bring back what a killed start left, and run the loop to its ending.

    Raises `AlreadyOwned` when another process runs a campaign here.
    """
    with running_engine(workspace, stop) as (engine, owner):
        now = workspace.clock.now()
        campaign = engine.apply(lambda tx: _begin(tx, start, owner, now=now))
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
            _leave(workspace, engine, campaign, warn=start.warn)


def _leave(workspace: Workspace, engine: Engine, campaign: Campaign, *, warn: Callable[[str], None]) -> None:
    """Write the pages and give up the ownership; what cannot be written now hides no other error."""
    try:
        write_pages(workspace, campaign)
        engine.apply(lambda tx: tx.campaigns.own(campaign.product, campaign.name, owner=None))
    except StorageFailed as error:
        warn(f"note: {error.message}")


@contextmanager
def running_engine(workspace: Workspace, stop: threading.Event) -> Iterator[tuple[Engine, Owner]]:
    """Own the workspace's engine for the block, with one factory process that works for it.

    What an earlier owner left behind is ended and taken back first, so that nothing runs twice. A factory that dies is
    replaced; when that does not help, `stop` is set and the block ends with the reason.
    """
    factory = FactoryName(f"local-{socket.gethostname()}")
    with own_engine(workspace.home, boot=secrets.token_hex(8)) as owner:
        sweep_orphans(workspace.home)
        engine = Engine(workspace.store, workspace.clock, lease_seconds=LEASE_SECONDS)
        with engine:
            with engine.read() as tx:
                held = {(job.factory, job.boot) for job in tx.jobs.leased()}
            for name, dead in held:
                assert name is not None, "a leased job has a factory"
                assert dead is not None, "a leased job has a boot"
                engine.rescue_boot(name, dead)
            keeper = FactoryKeeper(
                lambda boot: FactoryChild(engine, home=workspace.home, work_folder=Path.cwd(), name=factory, boot=boot),
                rescue=lambda boot: engine.rescue_boot(factory, boot),
                new_boot=lambda: BootId(secrets.token_hex(8)),
                monotonic=workspace.clock.monotonic,
                given_up=stop.set,
            )
            keeper.open()
            try:
                yield engine, owner
            finally:
                keeper.close(grace_seconds=FACTORY_STOP_SECONDS)
            if keeper.failure is not None:
                raise keeper.failure


def write_pages(workspace: Workspace, campaign: Campaign) -> None:
    """Write the campaign's logbook and plot for people."""
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


def _begin(tx: Transaction, start: CampaignStart, owner: Owner, *, now: datetime) -> Campaign:
    """Open the campaign, take its halt away and own it, in one transaction; refused overrides leave it untouched."""
    campaign = open_campaign(tx, start.definition, now=now)
    check_overrides(start.definition, campaign, start.overrides)
    resume_campaign(tx, campaign)
    tx.campaigns.own(campaign.product, campaign.name, owner=owner)
    return campaign


def _session(tx: Transaction, campaign: Campaign, start: CampaignStart, *, now: datetime) -> Session:
    """Return this start's limits; an iteration that is open counts as the first of those asked for."""
    trials = tx.campaigns.trials(campaign.product, campaign.name)
    judged = max((trial.number for trial in trials if trial.state is TrialState.JUDGED), default=0)
    limit = judged + start.iterations if start.iterations is not None else None
    return Session(since=now, trials_max=limit, restore_golden=start.restore_golden)
