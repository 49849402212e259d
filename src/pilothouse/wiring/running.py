"""A campaign's loop at work: the engine, its factory process, and the pages for people."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.flywheel_definition import FlywheelDefinition
from pilothouse.campaigns.record import Campaign, Owner, TrialState
from pilothouse.canonical import Json
from pilothouse.engine.autopilot_loop import AutopilotLoop
from pilothouse.engine.campaign_loop import Ending, LoopParts
from pilothouse.engine.engine import Engine
from pilothouse.engine.ferry_loop import FerryLoop
from pilothouse.engine.flywheel_loop import FlywheelLoop
from pilothouse.engine.forge_watch import Bell
from pilothouse.engine.loop_events import LoopEvent
from pilothouse.engine.ownership import own_engine
from pilothouse.errors import Refused, StorageFailed
from pilothouse.factory.keeper import FactoryKeeper
from pilothouse.factory.loop import SEATS
from pilothouse.operations.admit_proposal import recheck_open_trial
from pilothouse.operations.campaign_facts import Session
from pilothouse.operations.halt_campaign import resume_campaign
from pilothouse.operations.open_campaign import check_overrides, check_seeds, open_campaign, unheeded_defaults
from pilothouse.ports.store import Transaction
from pilothouse.wiring.conditions import code_commit, hardware_class
from pilothouse.wiring.ferry_agents import drafter_of, patcher_of
from pilothouse.wiring.ferry_repository import keep_in_repository
from pilothouse.wiring.ferry_sources import GitHistory, NoIssues
from pilothouse.wiring.lead import lead
from pilothouse.wiring.listening import Address
from pilothouse.wiring.local_factory import local_factory
from pilothouse.wiring.proposers import proposer_of
from pilothouse.wiring.publishing import issues_of, publishing
from pilothouse.wiring.recording import recording
from pilothouse.wiring.serving import Serving, beside_campaign, shown
from pilothouse.wiring.workspace import Workspace

LEASE_SECONDS = 30.0
_JUDGE = "pilothouse.evidence.clustered"
"""Loads scipy, which takes longer than a verdict: it is loaded while the first job runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStart:
    """How a campaign's loop is started. `iterations` more are judged, None for endless; so many `seats` run at once.

    `file` is where the definition was read, None where it stands in no file. While the loop runs, the gate is served at
    `listen`, None for nowhere.
    """

    definition: Definition
    iterations: int | None
    overrides: Mapping[str, Json]
    restore_golden: bool
    warn: Callable[[str], None]
    tell: Callable[[LoopEvent], None]
    seats: int = SEATS
    file: Path | None = None
    listen: Address | None = None


@dataclass(kw_only=True)
class Running:
    """An engine at work with its factory. `campaign` is the one that this process owns, once it has begun it."""

    engine: Engine
    owner: Owner
    keeper: FactoryKeeper
    bell: Bell
    campaign: Campaign | None = None


def run_campaign(workspace: Workspace, start: CampaignStart, stop: threading.Event) -> Ending:
    """Own the workspace, bring back what a killed start left, and run the loop to its ending.

    Raises `AlreadyOwned` when another process runs a campaign here.
    """
    _check_seats(start)
    with running_engine(workspace, start, stop) as running:
        engine, now, commit = running.engine, workspace.clock.now(), code_commit(workspace.home)
        campaign = engine.apply(lambda tx: begin_campaign(tx, start, running.owner, code_commit=commit, now=now))
        running.campaign = campaign
        # A ferry's config leaves its template by design, a step a day, until a promotion moves the template.
        if not isinstance(start.definition, FerryDefinition):
            for sentence in unheeded_defaults(start.definition, campaign):
                start.warn(f"note: {sentence}")
        with engine.read() as tx:
            session = _session(tx, campaign, start, now=now)
        threading.Thread(target=import_module, args=(_JUDGE,), name="warm-judge", daemon=True).start()
        loop = loop_of(workspace, start, engine, campaign, session)
        with (
            recording(workspace, engine, campaign, file=start.file, warn=start.warn, stop=stop),
            _listening(workspace, running, start),
        ):
            ending = loop.run(stop)
        if running.keeper.failure is not None:
            loop.fail(running.keeper.failure)
            raise running.keeper.failure
        return ending


@contextmanager
def _listening(workspace: Workspace, running: Running, start: CampaignStart) -> Iterator[None]:
    """Serve the gate beside the block where the start asks for it; other factories get no work there."""
    if start.listen is None:
        yield
        return
    serving = beside_campaign(Serving(workspace=workspace, engine=running.engine, bell=running.bell))
    with shown(serving, start.listen) as url:
        start.warn(f"serving {url}; the gate is at {url}/gate")
        yield


def loop_of(
    workspace: Workspace, start: CampaignStart, engine: Engine, campaign: Campaign, session: Session
) -> FlywheelLoop | AutopilotLoop | FerryLoop:
    """Return the loop of the campaign's kind."""
    parts = LoopParts(
        engine=engine,
        blobs=workspace.blobs,
        clock=workspace.clock,
        code_commit=lambda: code_commit(workspace.home),
        tell=start.tell,
    )
    definition, overrides = start.definition, dict(start.overrides)
    match definition:
        case FlywheelDefinition():
            return FlywheelLoop(
                parts=parts, definition=definition, campaign=campaign, session=session, overrides=overrides
            )
        case AutopilotDefinition():
            return AutopilotLoop(
                parts=parts,
                definition=definition,
                campaign=campaign,
                session=session,
                overrides=overrides,
                proposer=proposer_of(workspace, definition),
                hardware=hardware_class(),
            )
        case FerryDefinition():
            return FerryLoop(
                parts=parts,
                definition=definition,
                campaign=campaign,
                session=session,
                overrides=overrides,
                history=GitHistory(Path.cwd()),
                issues=issues_of(workspace) or NoIssues(),
                watcher=f"pilothouse on {socket.gethostname()}",
                wait=start.iterations is None,
                keep=lambda: (
                    keep_in_repository(workspace.store, campaign, Path.cwd()) if definition.ferry.own_repository else ()
                ),
                drafter=drafter_of(workspace, definition),
                patcher=patcher_of(workspace, definition, campaign, start.file),
            )
    raise AssertionError(f"a campaign of kind {definition.campaign.kind!r} has no loop")


@contextmanager
def running_engine(workspace: Workspace, start: CampaignStart, stop: threading.Event) -> Iterator[Running]:
    """Own the workspace's engine for the block, with one factory process that works for it.

    What an earlier owner left behind is ended and taken back first, so that nothing runs twice. A factory that dies is
    replaced; when that does not help, `stop` is set and the keeper holds the reason.
    """
    warn = start.warn
    with own_engine(workspace.home, boot=secrets.token_hex(8)) as owner, _lead(workspace, owner, stop, warn=warn):
        engine = Engine(workspace.store, workspace.clock, lease_seconds=LEASE_SECONDS)
        bell = Bell()
        with engine, publishing(workspace, engine, bell):
            running: Running | None = None
            try:
                with local_factory(workspace, engine, seats=start.seats, given_up=stop.set) as keeper:
                    running = Running(engine=engine, owner=owner, keeper=keeper, bell=bell)
                    yield running
            finally:
                if running is not None:
                    _leave(running, warn=warn)


def _lead(
    workspace: Workspace, owner: Owner, stop: threading.Event, *, warn: Callable[[str], None]
) -> AbstractContextManager[None]:
    """Lead the database for a block; a lead that is lost ends the loop like any other stop."""
    return lead(
        workspace,
        owner,
        stop.set,
        waiting=lambda name: warn(f"note: {name} leads this database; waiting for the lead"),
        stop=stop,
    )


def _leave(running: Running, *, warn: Callable[[str], None]) -> None:
    """Give up the ownership, last of all; what cannot be written now hides no other error."""
    campaign = running.campaign
    if campaign is None:
        return
    try:
        running.engine.apply(lambda tx: tx.campaigns.own(campaign.product, campaign.name, owner=None))
    except StorageFailed as error:
        warn(f"note: {error.message}")


def _check_seats(start: CampaignStart) -> None:
    """Refuse what no factory here could ever run, instead of waiting for it."""
    wanted = start.definition.trainer.requires.seats
    if wanted > start.seats:
        raise Refused(
            f"trainer.requires.seats is {wanted}, and the local factory has {start.seats}",
            fix=f"give it more with --seats {wanted}, or set seats = 1: a run may use every core of its one seat",
        )


def begin_campaign(tx: Transaction, start: CampaignStart, owner: Owner, *, code_commit: str, now: datetime) -> Campaign:
    """Open the campaign, take its halt away and own it, in one transaction; what is refused leaves it untouched."""
    campaign = open_campaign(tx, start.definition, now=now)
    check_overrides(start.definition, campaign, start.overrides)
    if isinstance(start.definition, FlywheelDefinition):
        check_seeds(tx, start.definition, campaign)
    if not isinstance(start.definition, FerryDefinition):  # a ferry that has sailed is what was approved
        recheck_open_trial(tx, start.definition, campaign, code_commit=code_commit)
    resume_campaign(tx, campaign)
    tx.campaigns.own(campaign.product, campaign.name, owner=owner)
    return campaign


def _session(tx: Transaction, campaign: Campaign, start: CampaignStart, *, now: datetime) -> Session:
    """Return this start's limits; an iteration that is open counts as the first of those asked for."""
    trials = tx.campaigns.trials(campaign.product, campaign.name)
    judged = max((trial.number for trial in trials if trial.state is TrialState.JUDGED), default=0)
    limit = judged + start.iterations if start.iterations is not None else None
    return Session(since=now, trials_max=limit, restore_golden=start.restore_golden)
