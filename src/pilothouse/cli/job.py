"""`pilothouse job`: what the fleet executes, runs and everything else.

The home's own database and a server answer the same questions by the same routes (`cli.ask`), so nothing here asks
which of them it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pilothouse.cli.context import AsJson, print_json, say, settings_of

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer(help="What the fleet executes.", no_args_is_help=True)
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
LIST_USUAL = 200
LIST_MAX = 1000
COLUMNS = ("job", "kind", "trial", "stage", "attempts", "progress", "seconds", "outcome")


@app.command("list")
def list_jobs(
    ctx: typer.Context,
    campaign: Annotated[str | None, typer.Option("--campaign", help="Only this campaign's.")] = None,
    stage: Annotated[str | None, typer.Option("--stage", help="Only those in this stage.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=LIST_MAX, help="The most that are listed.")] = LIST_USUAL,
    as_json: AsJson = False,
) -> None:
    """List the jobs, newest first."""
    from pilothouse.cli.ask import ask
    from pilothouse.cli.table import print_table
    from pilothouse.errors import BadValue
    from pilothouse.fleet.stages import Stage

    if stage is not None and stage not in set(Stage):
        raise BadValue(f"there is no stage {stage!r:.80}", fix=f"write one of {', '.join(Stage)}")
    query = {"campaign": campaign, "stage": stage, "limit": str(limit), "summary": "true"}
    found = ask(ctx, "GET", "/fleet/jobs", query=query).value["jobs"]
    rows = [_row(job) for job in found]
    if as_json:
        print_json(rows)
    else:
        print_table(COLUMNS, rows)


@app.command("show")
def show_job(ctx: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Show one job: its spec, attempts, history and artifacts."""
    show_details(_details(ctx, job), home=settings_of(ctx).home, as_json=as_json)


@app.command("logs")
def show_logs(ctx: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Print what the newest attempt of a job wrote, if it lies here or where the server runs."""
    from pilothouse.cli.ask import ask, path
    from pilothouse.operations.job_view import kept_log

    kept = kept_log(_details(ctx, job), home=settings_of(ctx).home)
    print_log(kept or ask(ctx, "GET", path("fleet", "jobs", job, "log")).value, as_json=as_json)


def show_details(details: Mapping[str, Any], *, home: Path, as_json: bool) -> None:
    """Print everything that is stored of a job."""
    from pilothouse.operations.job_view import placed

    values = placed(details, home=home)
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        if isinstance(value, list):
            say(f"{name}:")
            for item in value:
                say(f"    {_told(item)}")
        else:
            say(f"{name:<12} {_told(value)}")


def print_log(end: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the end of an attempt's log; control characters are shown, not obeyed."""
    if as_json:
        print_json(dict(end))
    else:
        say(str(end["text"]).removesuffix("\n"))


def _told(value: Any) -> str:
    """Return a value as a person reads it: of an object what it has, without what is empty."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_told(each)}" for name, each in value.items() if each not in (None, "", [], {}))
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value)


def _details(ctx: typer.Context, job: str) -> dict[str, Any]:
    from pilothouse.cli.ask import ask, path

    value: dict[str, Any] = ask(ctx, "GET", path("fleet", "jobs", job, "details")).value
    return value


def _row(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return a listed job as one flat row, under the names that `job show` has."""
    rest = {name: value for name, value in job.items() if name not in {"id", "summary"}}
    return {"job": job["id"], **job["summary"], **rest}
