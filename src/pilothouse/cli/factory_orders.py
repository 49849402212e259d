"""`pilothouse factory`, for people: look at factories, drain them, and take their keys away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import AsJson, note, print_json, say

if TYPE_CHECKING:
    from pilothouse.cli.ask import Reply

app = typer.Typer()
Factory = Annotated[str, typer.Argument(metavar="NAME", help="The factory's name.")]
COLUMNS = ("name", "product", "state", "alive", "seats", "held", "gpus", "engines", "heard_at")


@app.command("list")
def list_factories(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the factories, and whether they live."""
    from pilothouse.cli.ask import ask
    from pilothouse.cli.table import print_table

    found = ask(ctx, "GET", "/fleet/factories").value["factories"]
    if as_json:
        print_json(found)
        return
    rows = [
        each | {"held": len(each["held"]), "engines": ", ".join(each["engines"]), "product": each["product"] or "all"}
        for each in found
    ]
    print_table(COLUMNS, rows)


@app.command("show")
def show_factory(ctx: typer.Context, name: Factory, as_json: AsJson = False) -> None:
    """Show what a factory offers, what it holds and when it was last heard."""
    _show(ctx, "GET", name, as_json=as_json)


@app.command("drain")
def drain(ctx: typer.Context, name: Factory, as_json: AsJson = False) -> None:
    """Give a factory no more jobs; it ends what it holds."""
    _show(ctx, "POST", name, "drain", as_json=as_json)


@app.command("resume")
def resume(ctx: typer.Context, name: Factory, as_json: AsJson = False) -> None:
    """Give a draining factory jobs again."""
    _show(ctx, "POST", name, "resume", as_json=as_json)


@app.command("revoke")
def revoke(ctx: typer.Context, name: Factory, as_json: AsJson = False) -> None:
    """Take a factory's keys and leases away, at once; its jobs go back to the queue."""
    _show(ctx, "POST", name, "token", "revoke", as_json=as_json)


@app.command("deregister")
def deregister(
    ctx: typer.Context,
    name: Factory,
    force: Annotated[
        bool, typer.Option("--force", help="Also one that was not drained; its jobs go back to the queue.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Forget a factory that was drained; its keys are worthless, and another machine may take its name."""
    from pilothouse.cli.ask import ask, path

    query = {"force": "true"} if force else None
    value = ask(ctx, "DELETE", path("fleet", "factories", name), query=query).value
    if as_json:
        print_json(value)
    else:
        say(f"factory {value['name']} is forgotten")


@app.command("rotate")
def rotate(ctx: typer.Context, name: Factory, as_json: AsJson = False) -> None:
    """Make a new key for a factory and print it, this once; the old one stays good for five minutes."""
    value = _ask(ctx, "POST", name, "token", "rotate").value
    if as_json:
        print_json(value)
        return
    say(value["token"])
    note(f"good until {value['expires_at']}; this is the only time it is shown")


def _show(ctx: typer.Context, method: str, name: str, *rest: str, as_json: bool) -> None:
    value = _ask(ctx, method, name, *rest).value
    if as_json:
        print_json(value)
        return
    for key, told in value.items():
        say(f"{key:<14} {told}")


def _ask(ctx: typer.Context, method: str, name: str, *rest: str) -> Reply:
    from pilothouse.cli.ask import ask, path

    return ask(ctx, method, path("fleet", "factories", name, *rest), body={} if method == "POST" else None)
