"""`pilothouse server`: the fleet's engine with its HTTP API, in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from pilothouse.cli.context import note, settings_of

LOOPBACK = "127.0.0.1"


def server(
    ctx: typer.Context,
    host: Annotated[
        str, typer.Option("--host", help="The address to bind; any but a loopback asks for tokens.")
    ] = LOOPBACK,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes one that is free.")] = 8750,
    authenticate: Annotated[
        bool | None, typer.Option("--auth/--no-auth", help="Ask for tokens; on unless bound to a loopback.")
    ] = None,
) -> None:
    """Serve the fleet over HTTP until Ctrl-C or SIGTERM."""
    from pilothouse.cli.exits import SIGNAL_BASE
    from pilothouse.wiring.server import ServerOrder, serve

    order = ServerOrder(host=host, port=port, authenticate=authenticate)
    caught = serve(
        settings_of(ctx),
        order,
        ready=lambda url: note(f"serving {url}; Ctrl-C ends it"),
        waiting=lambda name: note(f"standing by: {name} leads this database"),
    )
    raise typer.Exit(SIGNAL_BASE + caught if caught is not None else 0)
