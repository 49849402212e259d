"""`pilothouse demo`: two full turns of the flywheel, or two ferries, in a workspace of its own."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import note, say, settings_of

if TYPE_CHECKING:
    from pilothouse.settings import Settings

DEMO_FOLDER = "demo"
DEMO_FILE = "forty-two.toml"


class Demo(StrEnum):
    """What can be shown."""

    FLYWHEEL = "flywheel"
    FERRY = "ferry"


def demo(
    ctx: typer.Context,
    what: Annotated[Demo, typer.Argument(metavar="[WHAT]", help="flywheel or ferry.")] = Demo.FLYWHEEL,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Throw the demo's earlier iterations away and start over.")
    ] = False,
    iterations: Annotated[int, typer.Option(min=1, help="How many iterations, or ferries, more.")] = 2,
) -> None:
    """Run two turns of the flywheel on perfect play, or two ferries of a small language model.

    The flywheel: generate, tokenise, train, evaluate, judge and record. The ferry: draft, approve, launch, watch, judge
    and seal, in a git repository of its own. A second demo goes on from the first.
    """
    if what is Demo.FERRY:
        from pilothouse.cli.demo_ferry import demo_ferry

        raise typer.Exit(demo_ferry(settings_of(ctx), ferries=iterations, fresh=fresh))
    from dataclasses import replace

    from pilothouse.cli.campaign_run import RunRequest, run_in_foreground
    from pilothouse.cli.examples import write_example
    from pilothouse.wiring.workspace import discard_workspace

    outer = settings_of(ctx)
    settings = replace(outer, home=outer.home / DEMO_FOLDER, product=None)
    file = settings.home / DEMO_FILE
    if fresh:
        discard_workspace(settings.home, marker=DEMO_FILE)
    if not file.exists():
        write_example(file, example="nano", force=False)
    note(f"demo: {_relative(file)}")
    code = run_in_foreground(settings, RunRequest(file=file, iterations=iterations, go_on="pilothouse demo"))
    if code == 0:
        show_result(settings)
    raise typer.Exit(code)


def show_result(settings: Settings) -> None:
    """Print the table of the iterations, where everything lies, and what to run next."""
    from pilothouse.campaigns.status import status_json
    from pilothouse.cli.campaign_view import iterations_table, seconds_table
    from pilothouse.cli.table import console
    from pilothouse.operations.campaign_snapshot import campaign_snapshot, find_campaign
    from pilothouse.wiring.workspace import open_workspace

    workspace = open_workspace(settings, create=False)
    with workspace.store.read() as tx:
        campaign = find_campaign(tx, workspace.product, None)
        snapshot = campaign_snapshot(tx, campaign, is_alive=workspace.is_alive)
    values = status_json(snapshot, now=workspace.clock.now(), best_checkpoint=workspace.best_checkpoint(snapshot))
    console().print(iterations_table(values))
    console().print(seconds_table(values))
    pages = workspace.pages(campaign)
    home = _relative(settings.home)
    checkpoint = values["best_checkpoint"]
    say(f"logbook     {_relative(pages.logbook)}")
    say(f"plot        {_relative(pages.plot)}")
    say(f"checkpoint  {_relative(Path(str(checkpoint))) if checkpoint is not None else 'none kept yet'}")
    say("next        make demo                                            two iterations more")
    say(f"            pilothouse --home {home} logbook show")
    say(f"            pilothouse --home {home} run list")
    say("            pilothouse campaign init my.toml                     a campaign of your own")


def _relative(path: Path) -> str:
    """Return the path from the working folder, where it lies below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
