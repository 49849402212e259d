"""The server beside a campaign's loop: everybody of this machine may look, and nothing is done without a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx2
import pytest

from pilothouse.engine.engine import Engine
from pilothouse.engine.forge_watch import Bell
from pilothouse.settings import Settings
from pilothouse.wiring.listening import Address
from pilothouse.wiring.server_file import living_server
from pilothouse.wiring.serving import Serving, beside_campaign, shown
from pilothouse.wiring.workspace import open_workspace
from tests.web.world import PRODUCT, WORK


@pytest.fixture(name="served")
def _served(tmp_path: Path) -> Iterator[tuple[httpx2.Client, Mapping[str, str]]]:
    """Yield a client of the server on an open loopback, and the headers of the home's owner."""
    workspace = open_workspace(Settings(home=tmp_path, product=PRODUCT), create=True)
    with Engine(workspace.store, workspace.clock) as engine:
        serving = beside_campaign(Serving(workspace=workspace, engine=engine, bell=Bell()))
        with shown(serving, Address(host="127.0.0.1", port=0)) as url, httpx2.Client(base_url=url) as client:
            note = living_server(tmp_path)
            assert note is not None
            yield client, {"Authorization": f"Bearer {note.token}"}
    workspace.store.close()


def test_nobody_without_a_name_has_a_command_run_beside_a_campaign(
    served: tuple[httpx2.Client, Mapping[str, str]],
) -> None:
    """What runs there is what was approved: its factory would take whatever is submitted."""
    client, owner = served

    assert client.get("/fleet/jobs").status_code == 200
    assert client.get("/proposals").status_code == 200
    assert client.post("/fleet/jobs", json=WORK).status_code == 401
    assert client.get("/fleet/jobs").json()["jobs"] == []
    assert client.put(f"/fleet/settings/{PRODUCT}", json={}).status_code == 401
    assert client.post("/fleet/jobs", json=WORK, headers=owner).status_code == 201


def test_other_factories_get_no_work_beside_a_campaign(served: tuple[httpx2.Client, Mapping[str, str]]) -> None:
    client, owner = served
    answer = client.post("/fleet/claim", json={}, headers=owner)

    assert answer.status_code == 403
    assert "belongs to a campaign that runs here" in answer.json()["detail"]
