"""The trackers that a campaign file names, as channels of the outbox."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.kinds import definition_of
from pilothouse.campaigns.records_section import Mlflow, Wandb
from pilothouse.canonical import Json
from pilothouse.errors import PilothouseError
from pilothouse.ids import CampaignName
from pilothouse.logbook.letter import MLFLOW, WANDB, Letter, LetterState
from pilothouse.publish.trackers import TrackerChannel
from pilothouse.settings import environment
from pilothouse.wiring.workspace import Workspace

FOLDER = "trackers"
SETTLE_SECONDS = 30.0
_LOOK_SECONDS = 0.2


def tracker_names(definition: Definition) -> tuple[str, ...]:
    """Return the trackers that the file names."""
    return tuple(name for name, table in _tables(definition).items() if table is not None)


def tracker_channels(
    workspace: Workspace, definition: Definition, *, warn: Callable[[str], None]
) -> list[TrackerChannel]:
    """Return a channel for each tracker of the file whose library is there; of another it is said how to get it."""
    channels = []
    for name, table in _tables(definition).items():
        if table is None:
            continue
        if find_spec(name) is None:
            warn(
                f"note: [tracking.{name}] needs the package {name}, which is missing; install `pilothouse[{name}]`. "
                "The runs are kept in the outbox and sent by the first start that has it"
            )
            continue
        channels.append(
            TrackerChannel(
                name=name,
                options=partial(_options_of, workspace, name),
                home=workspace.home,
                folder=workspace.home / FOLDER / name,
                environment=environment(),
            )
        )
    return channels


def _options_of(workspace: Workspace, name: str, letter: Letter) -> dict[str, Json] | None:
    """Return where the letter's own campaign has its runs mirrored now, None where it names the tracker no more."""
    with workspace.store.read() as tx:
        campaign = tx.campaigns.get(letter.product, CampaignName(letter.campaign))
    table = None if campaign is None else _tables(definition_of(campaign.definition))[name]
    return None if table is None else table.model_dump(mode="json")


def _tables(definition: Definition) -> dict[str, Wandb | Mlflow | None]:
    return {WANDB: definition.tracking.wandb, MLFLOW: definition.tracking.mlflow}


def settle(workspace: Workspace, names: Sequence[str], *, stop: threading.Event, warn: Callable[[str], None]) -> None:
    """Wait until the channels have taken what was posted, or will not for now, and say what is left."""
    left: dict[str, tuple[int, str]] = {}
    for _ in range(int(SETTLE_SECONDS / _LOOK_SECONDS)):
        try:
            left = _waiting(workspace, names)
        except PilothouseError:
            return
        if not any(count for count, held in left.values() if not held) or stop.wait(_LOOK_SECONDS):
            break
    for name, (count, held) in left.items():
        if count:
            why = f": {held}" if held else ""
            warn(f"note: letters to {name} wait in the outbox ({count}), and the next start sends them{why}")


def _waiting(workspace: Workspace, names: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return how many letters wait for each channel, and why it is held, empty where it is not."""
    with workspace.store.read() as tx:
        counts = tx.outbox.counts()
        holds = {name: tx.outbox.hold(name) for name in names}
    return {
        name: (counts.get((name, LetterState.WAITING), 0), hold.why if hold is not None else "")
        for name, hold in holds.items()
    }
