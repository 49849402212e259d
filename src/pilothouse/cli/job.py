"""`pilothouse job`: what the fleet executes, runs and everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import AsJson, names_server, open_existing, print_json, say
from pilothouse.errors import UsageError

if TYPE_CHECKING:
    from pilothouse.ids import JobId
    from pilothouse.wiring.workspace import Workspace

app = typer.Typer(help="What the fleet executes.", no_args_is_help=True)
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
LIST_MAX = 200
LOG_BYTES_MAX = 1 << 20


@app.command("list")
def list_jobs(
    ctx: typer.Context,
    campaign: Annotated[str | None, typer.Option("--campaign", help="Only this campaign's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the jobs, newest first."""
    from pilothouse.cli.table import print_table
    from pilothouse.operations.job_view import job_row

    if names_server(ctx):
        _list_remote(ctx, campaign, as_json=as_json)
        return
    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        jobs = tx.jobs.listed(workspace.product, campaign=campaign, limit=LIST_MAX)
        rows = [{"job": job.id} | job_row(tx, workspace.product, job.id) for job in jobs]
    if as_json:
        print_json(rows)
    else:
        print_table(("job", "kind", "trial", "stage", "attempts", "progress", "seconds", "outcome"), rows)


@app.command("show")
def show_job(ctx: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Show one job: its spec, attempts, history and artifacts."""
    from pilothouse.ids import JobId

    if names_server(ctx):
        _show_remote(ctx, job, as_json=as_json)
        return
    show_details(open_existing(ctx), JobId(job), as_json=as_json)


@app.command("logs")
def show_logs(ctx: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Print what the newest attempt of a job wrote."""
    from pilothouse.ids import JobId

    if names_server(ctx):
        raise UsageError("logs lie where the job ran, and a server has none", fix="ask on the factory's own machine")
    print_log(open_existing(ctx), JobId(job), as_json=as_json)


def _list_remote(ctx: typer.Context, campaign: str | None, *, as_json: bool) -> None:
    """List the jobs of the server that was named."""
    from pilothouse.cli.ask import ask
    from pilothouse.cli.table import print_table

    query = {"campaign": campaign, "limit": str(LIST_MAX)}
    jobs = ask(ctx, "GET", "/fleet/jobs", query=query).value["jobs"]
    if as_json:
        print_json(jobs)
    else:
        print_table(("id", "key", "stage", "priority", "epoch", "factory", "failures", "waiting"), jobs)


def _show_remote(ctx: typer.Context, job: str, *, as_json: bool) -> None:
    """Show a job of the server that was named, with its attempts."""
    from pilothouse.cli.ask import ask, path

    value = ask(ctx, "GET", path("fleet", "jobs", job)).value
    runs = ask(ctx, "GET", path("fleet", "jobs", job, "runs")).value["runs"]
    if as_json:
        print_json(value | {"runs": runs})
        return
    for name, told in value.items():
        say(f"{name:<12} {told}")
    for run in runs:
        say(f"attempt {run['epoch']} on {run['factory']}: {run['outcome'] or 'running'} {run['detail']}")


def show_details(workspace: Workspace, job: JobId, *, as_json: bool) -> None:
    """Print everything that is stored of a job."""
    from pilothouse.operations.job_view import job_details

    with workspace.store.read() as tx:
        values = job_details(tx, workspace.product, job, home=workspace.home)
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        if isinstance(value, list):
            say(f"{name}:")
            for item in value:
                say(f"    {item}")
        else:
            say(f"{name:<12} {value}")


def print_log(workspace: Workspace, job: JobId, *, as_json: bool) -> None:
    """Print the end of the newest attempt's log, at most a MiB; control characters are shown, not obeyed."""
    from pilothouse.operations.job_view import log_path

    with workspace.store.read() as tx:
        path = log_path(tx, workspace.product, job, home=workspace.home)
    with path.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - LOG_BYTES_MAX))
        text = stream.read().decode("utf-8", errors="replace")
    if as_json:
        print_json({"job": job, "path": str(path), "text": text})
    else:
        say(text.removesuffix("\n"))
