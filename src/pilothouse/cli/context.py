"""What every command starts from: the settings, and the workspace opened on demand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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


def open_existing(ctx: typer.Context) -> Workspace:
    """Return the workspace for reading; one that is not there is an error that says how to begin."""
    from pilothouse.wiring.workspace import open_workspace

    return open_workspace(settings_of(ctx), create=False)


def print_json(value: Json) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def say(text: str) -> None:
    """Print a line of a result on standard output."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print a line about what happens, on standard error."""
    sys.stderr.write(text + "\n")
