"""The settings of an installation, and the only reader of the environment.

Each is taken from the first place that has it: the command line, `PILOTHOUSE_<NAME>`, `pilothouse.toml`,
`[tool.pilothouse]` in `pyproject.toml`, its default.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from pilothouse.errors import BadValue

DEFAULT_HOME = ".pilothouse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the state lives, and whose it is; without a product, the workspace's only one is meant."""

    home: Path
    product: str | None


def load_settings(*, folder: Path, home: Path | None = None) -> Settings:
    """Return the settings for a process that works in `folder`."""
    return resolve(os.environ, _file_values(folder), folder=folder, home=home)  # noqa: TID251  the one reader


def resolve(
    environment: Mapping[str, str], file_values: Mapping[str, object], *, folder: Path, home: Path | None
) -> Settings:
    """Return the settings from these places; a relative home is taken from `folder`."""
    known = {field.name for field in fields(Settings)}
    for name, value in file_values.items():
        if name not in known or not isinstance(value, str):
            raise BadValue(
                f"setting {name} = {value!r} is not known",
                fix=f"known settings are texts named {', '.join(sorted(known))}",
            )
    chosen = home or environment.get("PILOTHOUSE_HOME") or str(file_values.get("home", DEFAULT_HOME))
    named = file_values.get("product")
    product = environment.get("PILOTHOUSE_PRODUCT") or (str(named) if named is not None else None)
    return Settings(home=(folder / chosen).absolute(), product=product)


def _file_values(folder: Path) -> Mapping[str, object]:
    """Return the table of the first settings file in the folder, empty if there is none."""
    own, project = folder / "pilothouse.toml", folder / "pyproject.toml"
    if own.is_file():
        return _read(own)
    if project.is_file():
        tools = _read(project).get("tool", {})
        table = tools.get("pilothouse", {}) if isinstance(tools, dict) else {}
        return table if isinstance(table, dict) else {}
    return {}


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadValue(f"{path} could not be read: {error}", fix="mend the file, or take it away") from error
