"""The gate's page in a real browser: it shows what waits, and text that looks like a page stays text."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pilothouse.engine.engine import Engine
from pilothouse.engine.forge_watch import Bell
from pilothouse.ids import ProposalId
from pilothouse.settings import Settings
from pilothouse.wiring.listening import Address
from pilothouse.wiring.serving import Serving, shown
from pilothouse.wiring.workspace import open_workspace
from tests.web.proposing import propose
from tests.web.world import PRODUCT, running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=4000",
    "--dump-dom",
)
HOSTILE = "<img src=x onerror=document.title=1>"


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not here; install it to see the page in a real browser")
def test_the_page_shows_what_waits_and_no_text_becomes_markup(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    with running(tmp_path) as world:
        proposal = propose(world)
        hostile = replace(proposal, id=ProposalId("proposal-2"), rationale=HOSTILE)
        world.engine.apply(lambda tx: tx.proposals.add(hostile))
    workspace = open_workspace(Settings(home=tmp_path, product=PRODUCT), create=True)
    with Engine(workspace.store, workspace.clock) as engine:
        serving = Serving(workspace=workspace, engine=engine, bell=Bell())
        with shown(serving, Address(host="127.0.0.1", port=0)) as url:
            page = subprocess.run(
                [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'browser'}", f"{url}/gate"],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            ).stdout
    workspace.store.close()

    assert "2 proposals wait for a yes." in page
    assert proposal.id in page
    assert "&lt;img src=x" in page
    assert "<img" not in page
