"""Which trackers are spoken to, what is said of one that cannot be, and how long its letters are waited for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.campaigns.pilot_world import pilot_definition

from pilothouse.canonical import Json
from pilothouse.ids import ProductId
from pilothouse.logbook.letter import WANDB, Kind, Letter
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.ports.outbox import Hold
from pilothouse.settings import load_settings
from pilothouse.wiring.trackers import settle, tracker_channels, tracker_names
from pilothouse.wiring.workspace import Workspace, open_workspace

FAKES = Path(__file__).parents[1] / "publish/tracker_fakes"
BOTH = '\n[tracking.wandb]\nproject = "n"\n\n[tracking.mlflow]\nuri = "runs"\nexperiment = "e"\n'
BODY: dict[str, Json] = {
    "id": "r",
    "name": "r",
    "group": "g",
    "purpose": "look",
    "tags": [],
    "config": {},
    "summary": {},
    "ok": True,
}


@pytest.fixture(name="workspace")
def _workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Return a workspace of one's own."""
    workspace = open_workspace(load_settings(folder=tmp_path, home=tmp_path / "home"), create=True)
    yield workspace
    workspace.store.close()


def letter(*, product: str = "p", campaign: str = "c") -> Letter:
    """Return a run's letter."""
    return Letter(product=ProductId(product), campaign=campaign, channel=WANDB, key="k", kind=Kind.RUN, body=BODY)


def post(workspace: Workspace) -> None:
    """Post a run's letter that nobody delivers."""
    with workspace.store.write() as tx:
        tx.outbox.post(letter(), now=workspace.clock.now())


def test_a_file_that_names_no_tracker_has_none(workspace: Workspace) -> None:
    """And nothing is said."""
    said: list[str] = []

    assert tracker_names(pilot_definition()) == ()
    assert tracker_channels(workspace, pilot_definition(), warn=said.append) == []
    assert said == []


def test_a_channel_for_each_whose_library_is_there(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the file's own words, in a folder of the home."""
    monkeypatch.syspath_prepend(FAKES)
    said: list[str] = []

    channels = tracker_channels(workspace, pilot_definition(extra=BOTH), warn=said.append)
    own = letter(product="default", campaign="pilot")
    with workspace.store.write() as tx:
        open_campaign(tx, pilot_definition(extra=BOTH), now=workspace.clock.now())

    assert [channel.name for channel in channels] == ["wandb", "mlflow"]
    assert channels[0].options(own) == {"project": "n", "entity": None, "mode": "offline"}
    assert channels[1].options(own) == {"uri": "runs", "experiment": "e"}
    assert channels[0].options(letter(product="other", campaign="pilot")) is None
    assert channels[0].folder == workspace.home / "trackers/wandb"
    assert said == []


def test_a_library_that_is_missing_is_told_with_its_mend(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its letters are posted all the same, and wait for the first start that has it."""
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)
    said: list[str] = []

    channels = tracker_channels(workspace, pilot_definition(extra=BOTH), warn=said.append)

    assert channels == []
    assert tracker_names(pilot_definition(extra=BOTH)) == ("wandb", "mlflow")
    assert [line.partition("; ")[0] for line in said] == [
        f"note: [tracking.{name}] needs the package {name}, which is missing" for name in ("wandb", "mlflow")
    ]
    assert all(f"pilothouse[{name}]" in line for name, line in zip(("wandb", "mlflow"), said, strict=True))


def test_letters_of_a_channel_that_is_held_are_not_waited_for(workspace: Workspace) -> None:
    """It is said how many are left, and why."""
    said: list[str] = []
    post(workspace)
    hold = Hold(channel=WANDB, until=workspace.clock.now() + timedelta(hours=1), why="no account", closed=True)
    with workspace.store.write() as tx:
        tx.outbox.put_hold(hold)

    settle(workspace, [WANDB], stop=threading.Event(), warn=said.append)

    assert said == ["note: letters to wandb wait in the outbox (1), and the next start sends them: no account"]


def test_a_start_that_was_stopped_waits_for_no_tracker(workspace: Workspace) -> None:
    """A person wants it to end now."""
    said: list[str] = []
    post(workspace)
    stop = threading.Event()
    stop.set()

    settle(workspace, [WANDB], stop=stop, warn=said.append)
    settle(workspace, [], stop=threading.Event(), warn=said.append)

    assert said == ["note: letters to wandb wait in the outbox (1), and the next start sends them"]
