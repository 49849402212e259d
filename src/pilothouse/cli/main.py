"""The tree of commands, and the outermost edge where errors become exit codes."""

from __future__ import annotations

import signal
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from pilothouse import __version__
from pilothouse.cli import (
    bench,
    budget,
    calibrate,
    campaign,
    campaign_records,
    campaign_report,
    campaign_schedule,
    demo,
    doctor,
    factory,
    factory_orders,
    fleet,
    fleet_settings,
    init,
    job,
    job_orders,
    judge,
    logbook,
    proposal,
    proposal_draft,
    run,
    server,
    token,
)
from pilothouse.cli.context import note
from pilothouse.cli.exits import SIGNAL_BASE, exit_code
from pilothouse.errors import PilothouseError

COMMANDS_GROUP = "pilothouse.commands"

app = typer.Typer(
    name="pilothouse",
    help="Unattended training its owners can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
campaign.app.command("calibrate")(calibrate.calibrate)
campaign.app.command("report")(campaign_report.report)
campaign.app.command("note")(campaign_records.note)
campaign.app.command("records")(campaign_records.records)
campaign.app.command("schedule")(campaign_schedule.schedule)
app.add_typer(campaign.app, name="campaign")
proposal.app.command("draft")(proposal_draft.draft)
app.add_typer(proposal.app, name="proposal")
app.add_typer(run.app, name="run")
job.app.add_typer(job_orders.app)
app.add_typer(job.app, name="job")
factory.app.add_typer(factory_orders.app)
app.add_typer(factory.app, name="factory")
app.add_typer(budget.app, name="budget")
app.add_typer(token.app, name="token")
app.add_typer(logbook.app, name="logbook")
app.add_typer(judge.app, name="judge")
app.add_typer(bench.app, name="bench")
fleet.app.command("settings")(fleet_settings.show_settings)
fleet.app.command("configure")(fleet_settings.configure)
app.add_typer(fleet.app, name="fleet")
app.command("init")(init.init)
app.command("server")(server.server)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)


def print_version(asked: bool) -> None:
    """Answer `--version` before any command is looked for."""
    if asked:
        sys.stdout.write(f"pilothouse {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="FOLDER", help="Where the state lives; .pilothouse of this folder by default."),
    ] = None,
    server_url: Annotated[
        str | None,
        typer.Option("--server", metavar="URL", help="The server to ask; the home's own by default, if one runs."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """Run unattended training that its owners can trust."""
    del home, server_url, version  # the first two are read where they are needed, the last has been answered


def add_program_commands(target: typer.Typer) -> None:
    """Plug in the nouns of installed programs; the platform knows none of them by name."""
    for entry in sorted(entry_points(group=COMMANDS_GROUP), key=lambda found: found.name):
        try:
            target.add_typer(entry.load(), name=entry.name)
        except ImportError as error:
            note(f"note: the command {entry.name!r} is missing: {error}")


def main() -> None:
    """Run the command line and leave with the exit code that the outcome has."""
    add_program_commands(app)
    try:
        code = app(standalone_mode=False)
    except PilothouseError as error:
        note(f"error: {error.message}\n  mend: {error.fix}")
        sys.exit(exit_code(error))
    except typer.TyperException as error:
        message = error.format_message()
        asked_nothing = message.startswith("Usage:")
        note(message if asked_nothing else f"error: {message}\n  mend: see --help of that command")
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(SIGNAL_BASE + signal.SIGINT)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)
