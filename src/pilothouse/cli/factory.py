"""`pilothouse factory`: machines that enrol, claim and run jobs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import AsJson, note, print_json, say, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pilothouse.factory.discover import Facts
    from pilothouse.ids import FactoryName
    from pilothouse.settings import Settings

app = typer.Typer(help="Machines that enrol, claim and run jobs.", no_args_is_help=True)

FOLDER = "factories"
"""Where the home keeps what each factory of this machine has: its key, its runs, its blobs."""
TOKEN_BYTES_MAX = 4096

ServerOption = Annotated[str | None, typer.Option("--server", metavar="URL", help="The server to work for.")]
NameOption = Annotated[str | None, typer.Option("--name", help="The factory's name; this machine's own by default.")]
SeatsOption = Annotated[int, typer.Option("--seats", min=1, max=10_000, help="How many jobs run side by side.")]
PoolOption = Annotated[list[str] | None, typer.Option("--pool", help="A pool to serve; any by default. Repeatable.")]
EngineOption = Annotated[
    list[str] | None,
    typer.Option("--engine", metavar="NAME=COMMAND", help="A command; {task} is the task's file. Repeatable."),
]
CapabilityOption = Annotated[
    list[str] | None, typer.Option("--capability", metavar="TEXT", help="What else this machine has. Repeatable.")
]
PriceOption = Annotated[
    float | None, typer.Option("--usd-per-hour", min=0, help="What an hour of one seat costs; unknown by default.")
]


@app.command("run")
def run_factory(
    ctx: typer.Context,
    server: ServerOption = None,
    name: NameOption = None,
    seats: SeatsOption = 1,
    pool: PoolOption = None,
    engine: EngineOption = None,
    capability: CapabilityOption = None,
    usd_per_hour: PriceOption = None,
    work_folder: Annotated[
        Path | None, typer.Option("--work-folder", help="Where commands start; this folder by default.")
    ] = None,
    variable: Annotated[
        list[str] | None, typer.Option("--variable", help="One more variable that jobs may see. Repeatable.")
    ] = None,
    leave_when_drained: Annotated[
        bool, typer.Option("--leave-when-drained", help="End once the server drains this factory and it is empty.")
    ] = False,
) -> None:
    """Work for a server until Ctrl-C or SIGTERM; a second one gives jobs five seconds."""
    import logging

    from pilothouse.cli.exits import SIGNAL_BASE
    from pilothouse.factory.loop import FactorySettings
    from pilothouse.factory.remote import CLAIM_WAIT_SECONDS, RemoteFactory, run_remote
    from pilothouse.wiring.stopping import heard
    from pilothouse.wiring.workspace import SystemClock

    settings = settings_of(ctx)
    engines = engines_of(settings, engine or [])
    facts = facts_of(settings, engines, seats=seats, pools=pool, capabilities=capability, usd_per_hour=usd_per_hour)
    chosen = name_of(name)
    given = RemoteFactory(
        server=server_of(ctx, settings, server),
        name=chosen,
        home=settings.home / FOLDER / chosen,
        work_folder=(work_folder or Path.cwd()).absolute(),
        facts=facts,
        settings=FactorySettings(
            seats=seats,
            pools=facts.pools,
            claim_wait_seconds=CLAIM_WAIT_SECONDS,
            leave_when_drained=leave_when_drained,
        ),
        engines=engines,
        variables=_variables(),
        extra_variables=variable or [],
        enrolment_token=settings.enrolment_token,
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    signals = _Signals()
    with heard(signals.heard):
        note(f"factory {chosen} works for {given.server} on {seats} seats; Ctrl-C ends it")
        leaving = run_remote(given, clock=SystemClock(), stop=signals.stop, gone=signals.gone)
    note(f"factory {chosen} has left: {leaving.value}")
    raise typer.Exit(SIGNAL_BASE + signals.caught if signals.caught else 0)


@app.command("enroll")
def enrol_factory(
    ctx: typer.Context,
    server: ServerOption = None,
    name: NameOption = None,
    seats: SeatsOption = 1,
    pool: PoolOption = None,
    engine: EngineOption = None,
    capability: CapabilityOption = None,
    usd_per_hour: PriceOption = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="The one-time token; standard input by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a one-time token into this factory's key, kept in a file that only you can read.

    The token comes from PILOTHOUSE_ENROLMENT_TOKEN, --token-file or standard input, never from the command line.
    """
    from pilothouse.factory.remote import enrol_once
    from pilothouse.wiring.workspace import SystemClock

    settings = settings_of(ctx)
    engines = engines_of(settings, engine or [])
    facts = facts_of(settings, engines, seats=seats, pools=pool, capabilities=capability, usd_per_hour=usd_per_hour)
    chosen = name_of(name)
    home = settings.home / FOLDER / chosen
    url = server_of(ctx, settings, server)
    token = settings.enrolment_token or read_token(token_file)
    key = enrol_once(server=url, name=chosen, home=home, facts=facts, token=token, clock=SystemClock())
    expires_at = None if key.expires_at is None else key.expires_at.isoformat()
    if as_json:
        print_json(
            {"factory": key.factory, "server": url, "expires_at": expires_at, "capabilities": facts.capabilities}
        )
        return
    say(f"factory {key.factory} is enrolled at {url}" + (f" until {expires_at}" if expires_at else ""))
    note(f"start it with: pilothouse factory run --server {url} --name {key.factory}")


def name_of(name: str | None) -> FactoryName:
    """Return the factory's name, made from this machine's own if none is given."""
    import re
    import socket

    from pilothouse.errors import BadValue
    from pilothouse.ids import FactoryName

    chosen = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).strip("-._") or "factory" if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", chosen):
        raise BadValue(f"{chosen!r} is no name for a factory", fix="use up to 64 letters, digits, dots and dashes")
    return FactoryName(chosen[:64])


def engines_of(settings: Settings, given: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return the engines of the settings and of the command line, which counts first."""
    from pilothouse.errors import BadValue

    engines: dict[str, Sequence[str]] = dict(settings.factory.engines)
    for text in given:
        name, _, command = text.partition("=")
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise BadValue(f"--engine {text!r} cannot be read: {error}", fix="mend its quotes") from error
        if not name or not words:
            raise BadValue(
                f"--engine {text!r} is no engine", fix="write it as NAME=COMMAND, such as claude='claude -p'"
            )
        engines[name] = words
    return engines


def facts_of(
    settings: Settings,
    engines: Mapping[str, Sequence[str]],
    *,
    seats: int,
    pools: Sequence[str] | None,
    capabilities: Sequence[str] | None,
    usd_per_hour: float | None,
) -> Facts:
    """Return what this machine has, with what the settings and the command line add."""
    import dataclasses

    from pilothouse.factory.discover import discover
    from pilothouse.factory.gpus import VISIBLE

    extra = [*settings.factory.capabilities, *(capabilities or ())]
    own = _variables()
    facts = discover(
        seats=seats, engines=engines, path=own.get("PATH"), pools=pools or None, extra=extra, visible=own.get(VISIBLE)
    )
    return dataclasses.replace(facts, usd_per_hour=usd_per_hour)


def server_of(ctx: typer.Context, settings: Settings, given: str | None) -> str:
    """Return the server that is named, or the one that lives in this home."""
    from pilothouse.errors import UsageError
    from pilothouse.wiring.server import living_server

    named = given or ctx.find_root().params.get("server_url") or settings.server
    if named is not None:
        return str(named).rstrip("/")
    own = living_server(settings.home)
    if own is None:
        raise UsageError("no server is named, and none runs in this home", fix="name it with --server URL")
    return own.url.rstrip("/")


def read_token(path: Path | None) -> str | None:
    """Return the token in the file or on standard input; None where a terminal would have to be asked."""
    from pilothouse.errors import UsageError

    if path is None and sys.stdin.isatty():
        return None
    try:
        data = sys.stdin.buffer.read(TOKEN_BYTES_MAX) if path is None else path.read_bytes()[:TOKEN_BYTES_MAX]
        text = data.decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token cannot be read: {error}", fix="give the token as it was printed") from error
    if text and not text.isprintable():
        raise UsageError("the token has more than one line", fix="give the token alone, as it was printed")
    return text or None


def _variables() -> Mapping[str, str]:
    import os

    return dict(os.environ)  # noqa: TID251  what a job may see is filtered from this process's own environment


class _Signals:
    """The first SIGINT or SIGTERM asks jobs to save themselves in their own graces, the second in a short one."""

    def __init__(self) -> None:
        import threading

        self.stop = threading.Event()
        self.gone = threading.Event()
        self.caught = 0

    def heard(self, number: int) -> None:
        """Take one of them in."""
        if self.stop.is_set():
            self.gone.set()
        self.caught = number
        self.stop.set()
