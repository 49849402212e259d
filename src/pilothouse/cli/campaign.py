"""`pilothouse campaign`: begin, run, watch and stop a loop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import AsJson, note, open_existing, own_command, print_json, say, settings_of

if TYPE_CHECKING:
    from pilothouse.campaigns.definition import Definition
    from pilothouse.canonical import Json

app = typer.Typer(help="Begin, run, watch and stop a loop.", no_args_is_help=True)

STOP_SECONDS_MAX = 60.0
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The campaign file.", show_default=False)]
NameArgument = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="The campaign; may be left out if there is one.")
]


@app.command("run")
def run_campaign(  # each option of the command is one argument
    ctx: typer.Context,
    file: FileArgument,
    once: Annotated[bool, typer.Option("--once", help="Judge one iteration, then leave.")] = False,
    iterations: Annotated[int | None, typer.Option(min=1, help="Judge this many iterations more, then leave.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KNOB=VALUE", help="Propose this value for the next iteration.")
    ] = None,
    restore_golden: Annotated[
        bool, typer.Option("--restore-golden", help="Make a damaged golden set again; it must come out the same.")
    ] = False,
    seats: Annotated[int, typer.Option(min=1, max=64, help="How many runs may go at once on this machine.")] = 1,
    listen: Annotated[
        str | None, typer.Option(metavar="[HOST:]PORT", help="Serve the gate in a browser meanwhile; 0 takes any port.")
    ] = None,
) -> None:
    """Run the loop in the foreground, endless unless told otherwise; Ctrl-C stops it where it can go on."""
    from pilothouse.cli.campaign_run import RunRequest, run_in_foreground

    if once and iterations is not None:
        raise typer.BadParameter("--once and --iterations exclude each other", param_hint="--once")
    request = RunRequest(
        file=file,
        iterations=1 if once else iterations,
        assignments=tuple(settings or ()),
        restore_golden=restore_golden,
        seats=seats,
        listen=listen,
    )
    raise typer.Exit(run_in_foreground(settings_of(ctx), request))


@app.command("init")
def init_campaign(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path("forty-two.toml"),
    example: Annotated[str, typer.Option(help="Which example to start from.")] = "nano",
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a commented campaign file to start from."""
    from pilothouse.cli.examples import write_example

    write_example(file, example=example, force=force)
    if read_file(file).campaign.kind == "ferry":
        say(f"wrote {file}; commit it. Next, from its repository: pilothouse proposal draft --file {file},")
        say(f"then approve it, then pilothouse campaign run {file} --once")
    else:
        say(f"wrote {file}; next: pilothouse campaign run {file} --iterations 2")


@app.command("status")
def show_status(ctx: typer.Context, name: NameArgument = None, as_json: AsJson = False) -> None:
    """Tell what the loop is doing: ready, running, failed or done, and what to do next."""
    from pilothouse.campaigns.status import status_json
    from pilothouse.cli.campaign_view import status_text
    from pilothouse.operations.campaign_snapshot import campaign_snapshot, find_campaign

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        campaign = find_campaign(tx, workspace.product, name)
        snapshot = campaign_snapshot(tx, campaign, is_alive=workspace.is_alive)
    values = status_json(
        snapshot,
        now=workspace.clock.now(),
        best_checkpoint=workspace.best_checkpoint(snapshot),
        command=own_command(settings_of(ctx)),
    )
    if as_json:
        print_json(values)
    else:
        say(status_text(values))


@app.command("list")
def list_campaigns(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the campaigns of this workspace."""
    from pilothouse.campaigns.status import state_of
    from pilothouse.cli.table import print_table
    from pilothouse.operations.campaign_snapshot import campaign_snapshot

    workspace = open_existing(ctx)
    rows: list[dict[str, Json]] = []
    with workspace.store.read() as tx:
        for campaign in tx.campaigns.listed(workspace.product):
            snapshot = campaign_snapshot(tx, campaign, is_alive=workspace.is_alive)
            judged = sum(trial.number > 0 and trial.verdict is not None for trial in snapshot.trials)
            rows.append(
                {
                    "campaign": campaign.name,
                    "product": campaign.product,
                    "kind": campaign.kind,
                    "state": state_of(snapshot).value,
                    "iterations": judged,
                }
            )
    if as_json:
        print_json(rows)
    else:
        print_table(("campaign", "product", "kind", "state", "iterations"), rows)


@app.command("stop")
def stop_campaign(ctx: typer.Context, name: NameArgument = None) -> None:
    """Stop a running loop where it can go on: the training writes a checkpoint, and nothing is lost."""
    from pilothouse.operations.campaign_snapshot import find_campaign

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        campaign = find_campaign(tx, workspace.product, name)
    if campaign.owner is None or not workspace.is_alive(campaign.owner):
        say(f"{campaign.name} is not running")
        return
    note(f"asking pid {campaign.owner.pid} to stop")
    workspace.stop_owner(campaign.owner, timeout_seconds=STOP_SECONDS_MAX)
    say(f"{campaign.name} stopped; it goes on with: {own_command(settings_of(ctx))} campaign run FILE")


@app.command("check")
def check_campaign(file: FileArgument, as_json: AsJson = False) -> None:
    """Read a campaign file as `run` would, and change nothing."""
    definition = read_file(file)
    rules = definition.knob_rules()
    if as_json:
        print_json({"campaign": definition.campaign.name, "kind": definition.campaign.kind, "knobs": sorted(rules)})
    else:
        knobs = "1 knob" if len(rules) == 1 else f"{len(rules)} knobs"
        say(f"{file}: campaign {definition.campaign.name}, {knobs}, nothing to mend")


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of campaign files, for editors."""
    from pilothouse.campaigns.kinds import file_schema

    print_json(file_schema())


def read_file(file: Path) -> Definition:
    """Return the definition in the file, or raise the error that names its line."""
    from pilothouse.campaigns.source import read_definition
    from pilothouse.errors import BadCampaignFile

    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadCampaignFile(
            f"there is no file {file}", fix=f"write one: `pilothouse campaign init {file}`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BadCampaignFile(f"{file} cannot be read: {why}", fix="name a campaign file, in TOML") from error
    return read_definition(text, name=str(file))
