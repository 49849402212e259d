"""`pilothouse server`: the fleet's engine with its HTTP API, in the foreground."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import note, settings_of

if TYPE_CHECKING:
    from pilothouse.settings import Settings

LOOPBACK = "127.0.0.1"


class Store(StrEnum):
    """Where jobs are kept."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


def server(
    ctx: typer.Context,
    host: Annotated[
        str, typer.Option("--host", help="The address to bind; any but a loopback asks for tokens.")
    ] = LOOPBACK,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes one that is free.")] = 8750,
    authenticate: Annotated[
        bool | None, typer.Option("--auth/--no-auth", help="Ask for tokens; on unless bound to a loopback.")
    ] = None,
    store: Annotated[
        Store | None, typer.Option("--store", help="Where jobs are kept; postgres is the one of PILOTHOUSE_DATABASE.")
    ] = None,
    factory: Annotated[
        int, typer.Option("--factory", min=0, max=10_000, help="Seats of a factory of this machine beside it.")
    ] = 0,
) -> None:
    """Serve the fleet over HTTP until Ctrl-C or SIGTERM."""
    from pilothouse.cli.exits import SIGNAL_BASE
    from pilothouse.wiring.listening import Address
    from pilothouse.wiring.server import ServerOrder, serve

    order = ServerOrder(address=Address(host=host, port=port, authenticate=authenticate), local_seats=factory)
    caught = serve(
        _stored(settings_of(ctx), store),
        order,
        ready=lambda url: note(f"serving {url}; Ctrl-C ends it"),
        waiting=lambda name: note(f"standing by: {name} leads this database"),
    )
    raise typer.Exit(SIGNAL_BASE + caught if caught is not None else 0)


def _stored(settings: Settings, store: Store | None) -> Settings:
    """Return the settings for the store that was chosen; a password has no place on a command line."""
    from pilothouse.errors import UsageError

    if store is Store.POSTGRES and settings.database is None:
        raise UsageError("no PostgreSQL is named", fix="put its URL in PILOTHOUSE_DATABASE")
    return replace(settings, database=None) if store is Store.SQLITE else settings
