"""Where a campaign's pages lie: two campaigns never share a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.campaigns.pilot_world import pilot_definition

from pilothouse.campaigns.record import Campaign
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.operations.write_note import write_note
from pilothouse.settings import load_settings
from pilothouse.wiring.pages import write_pages
from pilothouse.wiring.workspace import Workspace, open_workspace


@pytest.fixture(name="workspace")
def _workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Return a workspace of one's own."""
    workspace = open_workspace(load_settings(folder=tmp_path, home=tmp_path / "home"), create=True)
    yield workspace
    workspace.store.close()


def noted(workspace: Workspace, product: str) -> Campaign:
    """Return a campaign of this product in which something was noted, with its pages written."""
    definition = pilot_definition(("[campaign]\n", f'[campaign]\nproduct = "{product}"\n'))
    now = workspace.clock.now()
    with workspace.store.write() as tx:
        campaign = open_campaign(tx, definition, now=now)
        write_note(tx, campaign, f"of {product} alone", author="ada", now=now)
    write_pages(workspace, campaign)
    return campaign


def test_two_products_with_one_campaign_name_keep_their_own_pages(workspace: Workspace) -> None:
    """The second to write does not overwrite what the first one has."""
    pages = [workspace.pages(noted(workspace, product)) for product in ("near", "far")]
    near, far = (each.logbook.read_text(encoding="utf-8") for each in pages)

    assert pages[0].runs != pages[1].runs
    assert "of near alone" in near
    assert "of far alone" not in near
    assert "of far alone" in far
