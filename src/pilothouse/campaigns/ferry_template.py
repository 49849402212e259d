"""The files of the repository that a ferry changes: the template's defaults, and the recipe's block of baseline values.

Only the values move. Comments, order and everything that is not a knob's default stay as their authors wrote them.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping

from pilothouse.canonical import Json
from pilothouse.errors import BadValue

BEGIN, END = "<!-- ferry baseline: {name} -->", "<!-- end of ferry baseline -->"
_TABLE = re.compile(r"^\s*\[+\s*(?P<name>[^\[\]]+?)\s*\]+\s*(#.*)?$")
_DEFAULT = re.compile(r"^(?P<head>\s*default\s*=\s*)(?P<value>[^#\n]*?)(?P<tail>\s*(#.*)?)$")


def with_defaults(text: str, config: Mapping[str, Json]) -> str:
    """Return the template with the knobs' defaults set to the config's values; a knob that it lacks is left out.

    Raises `BadValue` where the edit would change anything else, so that a template is never broken by one.
    """
    table, lines = "", []
    for line in text.splitlines(keepends=True):
        found = _TABLE.match(line.rstrip("\r\n"))
        table = found["name"] if found else table
        knob = table.removeprefix("knobs.").strip("\"'") if table.startswith("knobs.") else None
        lines.append(_edited(line, config[knob]) if knob is not None and knob in config else line)
    edited = "".join(lines)
    _require_only_defaults(text, edited, config)
    return edited


def with_baseline(text: str, *, name: str, block: str) -> str:
    """Return the recipe with the marked block of a campaign replaced, unchanged where it has none."""
    begin = BEGIN.format(name=name)
    head, marked, rest = text.partition(begin)
    if not marked or END not in rest:
        return text
    return f"{head}{begin}\n\n{block.strip()}\n\n{END}{rest.partition(END)[2]}"


def baseline_block(*, run: str, config: Mapping[str, Json], metrics: Mapping[str, float]) -> str:
    """Return the block: which run the baseline came from, its config, its metrics."""
    lines = [f"Baseline: run `{run}`.", "", "| knob | value |", "| --- | --- |"]
    lines += [f"| `{name}` | {value} |" for name, value in sorted(config.items())]
    lines += ["", "| metric | value |", "| --- | --- |"]
    lines += [f"| `{name}` | {value:.6g} |" for name, value in sorted(metrics.items())]
    return "\n".join(lines)


def moved_words(before: Mapping[str, Json], after: Mapping[str, Json]) -> tuple[str, ...]:
    """Return each value that a promotion moves, whichever ferry since the baseline has moved it."""
    return tuple(
        f"{name}: {before.get(name, 'unset')} → {value}"
        for name, value in after.items()
        if name not in before or before[name] != value
    )


def _edited(line: str, value: Json) -> str:
    ending = line[len(line.rstrip("\r\n")) :]
    found = _DEFAULT.match(line.rstrip("\r\n"))
    return line if found is None else f"{found['head']}{_toml(value)}{found['tail']}{ending}"


def _toml(value: Json) -> str:
    """Return a knob's value as TOML writes it."""
    return json.dumps(value) if isinstance(value, str | bool | int) else repr(value)


def _require_only_defaults(before: str, after: str, config: Mapping[str, Json]) -> None:
    try:
        old, new = tomllib.loads(before), tomllib.loads(after)
    except tomllib.TOMLDecodeError as error:
        raise BadValue(
            f"the template cannot be read: {error}", fix="mend the file that [ferry] template names"
        ) from error
    for name, table in old.get("knobs", {}).items():
        if name in config and isinstance(table, dict):
            table["default"] = config[name]
    if old != new:
        raise BadValue(
            "the template's defaults cannot be set without changing more",
            fix="write each knob as a table [knobs.NAME] with a line `default = VALUE`",
        )
