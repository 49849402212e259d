"""`pilothouse campaign note` and `records`: what a person adds to a campaign's records, and the files made of them."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from pilothouse.cli.context import note as tell
from pilothouse.cli.context import open_existing, say


def note(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The campaign.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What there is to say; - reads standard input.")],
    author: Annotated[str | None, typer.Option("--by", help="Whose note it is; yours, if left out.")] = None,
) -> None:
    """Write a note into the campaign's logbook; it stands there for good, under its author's name."""
    from pilothouse.operations.campaign_snapshot import find_campaign
    from pilothouse.operations.write_note import NOTE_LETTERS_MAX, write_note
    from pilothouse.wiring.pages import write_pages

    workspace = open_existing(ctx)
    said = sys.stdin.read(NOTE_LETTERS_MAX + 1) if text == "-" else text
    with workspace.store.write() as tx:
        campaign = find_campaign(tx, workspace.product, name)
        entry = write_note(tx, campaign, said, author=author or getpass.getuser(), now=workspace.clock.now())
    # A loop at work takes it into the pages itself.
    if not workspace.engine_runs():
        write_pages(workspace, campaign)
    say(f"noted as entry {entry.number} of {campaign.name}, by {author or getpass.getuser()}")


def records(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The campaign; may be left out if there is one.")
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Make every run's folder again, not only those missing.")
    ] = False,
) -> None:
    """Write a campaign's pages and run folders from the database and the blobs."""
    from pilothouse.errors import Conflict
    from pilothouse.operations.campaign_snapshot import find_campaign
    from pilothouse.wiring.recording import write_records

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        campaign = find_campaign(tx, workspace.product, name)
    if workspace.engine_runs():
        raise Conflict(
            "a loop is at work in this home and keeps the records itself", fix="look again, or stop it before"
        )
    made = write_records(workspace, campaign, anew=anew)
    tell(f"{made} run folders written")
    say(str(workspace.pages(campaign).runs.parent))
