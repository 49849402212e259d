"""`pilothouse run`: the executions with a seed whose results are judged."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import AsJson, note, open_existing, print_json, say

if TYPE_CHECKING:
    from pilothouse.canonical import Json

app = typer.Typer(help="The executions with a seed whose results are judged.", no_args_is_help=True)
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or `latest`.")]
LIST_MAX = 200


@app.command("list")
def list_runs(
    ctx: typer.Context,
    campaign: Annotated[str | None, typer.Option("--campaign", help="Only this campaign's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs, newest first."""
    from pilothouse.cli.table import print_table
    from pilothouse.ids import CampaignName
    from pilothouse.operations.campaign_snapshot import find_campaign
    from pilothouse.operations.job_view import job_row

    workspace = open_existing(ctx)
    rows: list[dict[str, Json]] = []
    with workspace.store.read() as tx:
        name = CampaignName(find_campaign(tx, workspace.product, campaign).name) if campaign is not None else None
        for run in tx.campaigns.runs(workspace.product, campaign=name, limit=LIST_MAX):
            row: dict[str, Json] = {"run": run.id, "campaign": run.campaign, "trial": run.trial, "seed": run.seed}
            rows.append(row | job_row(tx, workspace.product, run.job))
    if as_json:
        print_json(rows)
    else:
        print_table(("run", "campaign", "trial", "seed", "stage", "attempts", "progress", "seconds", "outcome"), rows)


@app.command("show")
def show_run(ctx: typer.Context, run: RunArgument, as_json: AsJson = False) -> None:
    """Show one run: its config, attempts, metrics and artifacts."""
    from pilothouse.cli.job import show_details
    from pilothouse.operations.job_view import find_run, job_details

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        found = find_run(tx, workspace.product, run)
        details = job_details(tx, workspace.product, found.job)
        campaign = tx.campaigns.get(workspace.product, found.campaign)
    view = workspace.pages(campaign).runs / found.id if campaign is not None else None
    details["records"] = str(view) if view is not None and view.is_dir() else None
    show_details(details, home=workspace.home, as_json=as_json)


@app.command("logs")
def show_logs(ctx: typer.Context, run: RunArgument, as_json: AsJson = False) -> None:
    """Print what the newest attempt of a run wrote."""
    from pilothouse.cli.job import print_log
    from pilothouse.operations.job_view import find_run, job_details, kept_log, log_end

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        job = find_run(tx, workspace.product, run).job
        kept = kept_log(job_details(tx, workspace.product, job), home=workspace.home)
        end = kept or log_end(tx, workspace.product, job, home=workspace.home)
    print_log(end, as_json=as_json)


@app.command("watch")
def watch_run(
    ctx: typer.Context,
    run: RunArgument = "latest",
    own: Annotated[bool, typer.Option("--own", help="Take over the monitor of a ferry's run first.")] = False,
    by: Annotated[str | None, typer.Option("--by", help="Who takes it over; you, if left out.")] = None,
    given_by: Annotated[
        str | None, typer.Option("--from", help="Whom it is taken over from, agreed with them.")
    ] = None,
) -> None:
    """Follow a run's metrics until it ends, or until nobody runs it (exit 8); Ctrl-C leaves the run alone."""
    from pilothouse.cli.watch import follow
    from pilothouse.operations.ferry_watch import own_monitor
    from pilothouse.operations.job_view import find_run

    if not own and (by is not None or given_by is not None):
        raise typer.BadParameter("--by and --from say who takes the monitor over: give --own", param_hint="--own")
    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        found = find_run(tx, workspace.product, run)
    if own:
        owner, now = by or getpass.getuser(), workspace.clock.now()
        with workspace.store.write() as tx:
            own_monitor(tx, workspace.product, found.id, owner=owner, given_by=given_by, now=now)
        note(f"{found.id} is watched by {owner}, to its end")
    note(f"following {found.id}; Ctrl-C leaves it running")
    say(follow(workspace, found.job))
