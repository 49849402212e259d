"""What every command starts from: the settings, and the workspace opened on demand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.monitoring.quoted import plain

if TYPE_CHECKING:
    from pilothouse.canonical import Json
    from pilothouse.settings import Settings
    from pilothouse.wiring.workspace import Workspace

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def settings_of(ctx: typer.Context) -> Settings:
    """Return the settings, with `--home` if it was given."""
    from pilothouse.settings import load_settings

    home = ctx.find_root().params.get("home")
    return load_settings(folder=Path.cwd(), home=home)


def own_command(settings: Settings) -> str:
    """Return how a person calls the product for this home from the working folder: hints must work as they stand."""
    from pilothouse.settings import DEFAULT_HOME

    if settings.home == Path.cwd() / DEFAULT_HOME:
        return "pilothouse"
    home = settings.home
    shown = home.relative_to(Path.cwd()) if home.is_relative_to(Path.cwd()) else home
    return f"pilothouse --home {shown}"


def open_existing(ctx: typer.Context) -> Workspace:
    """Return the workspace for reading; one that is not there is an error that says how to begin."""
    from pilothouse.wiring.workspace import open_workspace

    return open_workspace(settings_of(ctx), create=False)


def print_json(value: Json) -> None:
    """Print one JSON document on standard output.

    A number that JSON does not know comes as its text, and what could steer a terminal as JSON's own escape.
    """
    from pilothouse.fleet.wire import finite

    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("".join(map(_escaped, text)) + "\n")


def say(text: str) -> None:
    """Print a line of a result on standard output; what a program has put there is shown, not obeyed."""
    sys.stdout.write(plain(text) + "\n")


def note(text: str) -> None:
    """Print a line about what happens, on standard error."""
    sys.stderr.write(plain(text) + "\n")


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1]
