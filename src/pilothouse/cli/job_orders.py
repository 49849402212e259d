"""`pilothouse job`, the fleet's part: submit jobs, ask why they wait, and act on them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pilothouse.cli.context import AsJson, note, own_command, print_json, say, settings_of
from pilothouse.cli.job import JobArgument

if TYPE_CHECKING:
    from pilothouse.canonical import Json

app = typer.Typer()
Reason = Annotated[str, typer.Option("--reason", help="Why; the job's history keeps it.")]
EpochOption = Annotated[
    int | None, typer.Option("--epoch", min=0, help="Act only if the job is still at this epoch; now's by default.")
]
Reviewer = Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who decides, where no token tells it.")]
ManifestFile = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="A manifest in TOML or JSON; - reads JSON from standard input."),
]
STDIN = Path("-")


@app.command("submit")
def submit_job(
    ctx: typer.Context,
    command: Annotated[list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="What to run.")] = None,
    file: ManifestFile = None,
    key: Annotated[str | None, typer.Option("--key", help="The same key and body is the same job.")] = None,
    priority: Annotated[str | None, typer.Option("--priority", help="critical, high, medium or low.")] = None,
    pool: Annotated[str | None, typer.Option("--pool", help="The pool whose factories run it.")] = None,
    seats: Annotated[int | None, typer.Option("--seats", help="How many seats it takes.")] = None,
    timeout: Annotated[str | None, typer.Option("--timeout", help="How long it may run, such as 45m.")] = None,
    need: Annotated[
        list[str] | None, typer.Option("--need", metavar="CAPABILITY", help="What its factory must have. Repeatable.")
    ] = None,
    dep: Annotated[
        list[str] | None, typer.Option("--dep", metavar="JOB", help="A job that must ship first. Repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job: a command, or the manifest in a file; options count over the file."""
    from pilothouse.cli.ask import ask

    given: dict[str, Any] = {
        "command": command or None,
        "priority": priority,
        "pool": pool,
        "seats": seats,
        "timeout": timeout,
        "capabilities": need or None,
        "deps": dep or None,
        "idempotency_key": key,
    }
    body = _manifest(file) | {name: value for name, value in given.items() if value is not None}
    reply = ask(ctx, "POST", "/fleet/jobs", body=body)
    if as_json:
        print_json(reply.value)
        return
    say(reply.value["id"])
    was = "submitted" if reply.status == 201 else "there already"
    note(f"{was}: {reply.value['stage']}; why: {own_command(settings_of(ctx))} job explain {reply.value['id']}")


@app.command("children")
def children(ctx: typer.Context, job: JobArgument, file: ManifestFile = None, as_json: AsJson = False) -> None:
    """List a job's children; with --file, give it the children that the file's table `children` holds."""
    from pilothouse.cli.ask import ask, path
    from pilothouse.cli.table import print_table

    if file is not None:
        rows = ask(ctx, "POST", path("fleet", "jobs", job, "children"), body=_manifest(file)).value["jobs"]
    else:
        nodes = ask(ctx, "GET", path("fleet", "jobs", job, "dag")).value["nodes"]
        rows = [node for node in nodes if node["parent"] == job]
    if as_json:
        print_json(rows)
    else:
        print_table(("id", "key", "stage"), rows)


@app.command("dag")
def dag(ctx: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Show a job with everything below it, and what waits for what."""
    from pilothouse.cli.ask import ask, path

    graph = ask(ctx, "GET", path("fleet", "jobs", job, "dag")).value
    if as_json:
        print_json(graph)
        return
    by_id = {node["id"]: node for node in graph["nodes"]}
    waits: dict[str, list[str]] = {}
    for edge in graph["edges"]:
        if not edge["met"]:
            waits.setdefault(edge["job"], []).append(by_id.get(edge["needs"], {"key": edge["needs"]})["key"])
    for depth, node in _levels(graph):
        waiting = ", ".join(waits.get(node["id"], []))
        say(
            f"{'  ' * depth}{node['key']}  {node['stage']}  {node['id']}"
            + (f"  waits for {waiting}" if waiting else "")
        )


@app.command("events")
def events(ctx: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Show every move of a job, oldest first."""
    from pilothouse.cli.ask import ask, path
    from pilothouse.cli.table import print_table

    rows = ask(ctx, "GET", path("fleet", "jobs", job, "events")).value["events"]
    if as_json:
        print_json(rows)
    else:
        print_table(("sequence", "at", "epoch", "previous", "stage", "why"), rows)


@app.command("explain")
def explain(ctx: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Tell why a job runs where it runs, or what keeps it from running."""
    from pilothouse.cli.ask import ask, path

    told = ask(ctx, "GET", path("fleet", "jobs", job, "explain")).value
    if as_json:
        print_json(told)
        return
    say(f"{told['job']} is {told['stage']}")
    for reason in told["reasons"]:
        say(f"  {reason['text']}" + (f"  mend: {reason['fix']}" if reason["fix"] else ""))
    for candidate in told["candidates"]:
        terms = ", ".join(f"{name} {value:.2f}" for name, value in candidate["score"]["terms"].items())
        against = f"  ({candidate['against']})" if candidate["against"] else ""
        say(f"  {candidate['factory']}: {candidate['score']['total']:.2f} = {terms}{against}")


@app.command("preempt")
def preempt(
    ctx: typer.Context,
    job: JobArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell who would make room.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let jobs of lower priority make room for a critical one that waits, or tell which would."""
    from pilothouse.cli.ask import ask

    told = ask(ctx, "POST", "/fleet/preemptions", body={"job": job, "dry_run": dry_run}).value
    if as_json:
        print_json(told)
        return
    say(told["detail"] + ("" if told["enabled"] else " (the product allows no preemption)"))
    for victim in told["victims"]:
        say(f"  {victim['job']}  {victim['priority']}  loses {victim['lost_seconds']:.0f} s of work")


@app.command("ship")
def ship(
    ctx: typer.Context, job: JobArgument, reason: Reason = "", epoch: EpochOption = None, as_json: AsJson = False
) -> None:
    """Ship a job that has succeeded and waits for it."""
    _act(ctx, job, "ship", reason=reason, epoch=epoch, as_json=as_json)


@app.command("requeue")
def requeue(
    ctx: typer.Context, job: JobArgument, reason: Reason = "", epoch: EpochOption = None, as_json: AsJson = False
) -> None:
    """Send a job back to the queue; whoever runs it is fenced, and its checkpoints are kept."""
    _act(ctx, job, "requeue", reason=reason, epoch=epoch, as_json=as_json)


@app.command("reject")
def reject(
    ctx: typer.Context, job: JobArgument, reason: Reason = "", epoch: EpochOption = None, as_json: AsJson = False
) -> None:
    """Give a job up: it goes to the dead letters."""
    _act(ctx, job, "reject", reason=reason, epoch=epoch, as_json=as_json)


@app.command("cancel")
def cancel(
    ctx: typer.Context, job: JobArgument, reason: Reason = "", epoch: EpochOption = None, as_json: AsJson = False
) -> None:
    """Cancel a job that is no longer wanted."""
    _act(ctx, job, "cancel", reason=reason, epoch=epoch, as_json=as_json)


@app.command("approve")
def approve(
    ctx: typer.Context,
    job: JobArgument,
    reason: Reason = "",
    reviewer: Reviewer = None,
    epoch: EpochOption = None,
    as_json: AsJson = False,
) -> None:
    """Approve what a job in review has made."""
    _act(ctx, job, "approve", reason=reason, epoch=epoch, reviewer=reviewer, as_json=as_json)


@app.command("decline")
def decline(
    ctx: typer.Context,
    job: JobArgument,
    reason: Reason = "",
    reviewer: Reviewer = None,
    epoch: EpochOption = None,
    as_json: AsJson = False,
) -> None:
    """Decline what a job in review has made: it runs again."""
    _act(ctx, job, "decline", reason=reason, epoch=epoch, reviewer=reviewer, as_json=as_json)


def _act(
    ctx: typer.Context,
    job: str,
    action: str,
    *,
    reason: str,
    epoch: int | None,
    as_json: bool,
    reviewer: str | None = None,
) -> None:
    """Change a job as it is now, or as it was seen at an epoch."""
    from pilothouse.cli.ask import ask, path

    where = path("fleet", "jobs", job)
    seen = f'"{epoch}"' if epoch is not None else ask(ctx, "GET", where).headers["etag"]
    body = {"action": action, "reason": reason, "reviewer": reviewer}
    changed = ask(ctx, "PATCH", where, body=body, headers={"If-Match": seen}).value
    if as_json:
        print_json(changed)
    else:
        say(f"{changed['id']} is {changed['stage']} at epoch {changed['epoch']}")


def _manifest(file: Path | None) -> dict[str, Any]:
    """Return the table that a manifest's file holds; what is wrong in it the server will tell by its path."""
    import json
    import tomllib

    from pilothouse.errors import BadValue, OperationFailed

    if file is None:
        return {}
    try:
        data = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
        value: Json = tomllib.loads(data.decode()) if file.suffix == ".toml" else json.loads(data)
    except OSError as error:
        raise OperationFailed(f"{file} cannot be read: {error.strerror}", fix="name a file that is there") from error
    except (ValueError, RecursionError) as error:
        raise BadValue(
            f"{file} holds no manifest: {error}", fix="write it as TOML in a file .toml, or as JSON"
        ) from None
    if not isinstance(value, dict):
        raise BadValue(f"{file} holds no table", fix="write the manifest as one table or object")
    return value


def _levels(graph: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Return the jobs inside the graph, each under its parent, with how deep it stands."""
    below: dict[str | None, list[dict[str, Any]]] = {}
    for node in graph["nodes"]:
        if node["inside"]:
            below.setdefault(node["parent"], []).append(node)
    root = next(node for node in graph["nodes"] if node["id"] == graph["root"])
    found: list[tuple[int, dict[str, Any]]] = []
    todo = [(0, root)]
    while todo:
        depth, node = todo.pop()
        found.append((depth, node))
        todo += [(depth + 1, child) for child in reversed(below.get(node["id"], []))]
    return found
