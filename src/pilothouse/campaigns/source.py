"""A campaign file's text, read into its definition; every refusal names the line and the nearest known key."""

from __future__ import annotations

import re
import tomllib

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.kinds import definition_of, schema_of
from pilothouse.errors import BadCampaignFile
from pilothouse.knobs.config import nearest
from pilothouse.scripts.campaign_text import FILL_IN

_TABLE = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"'-]+)\s*=")
_TOML_LINE = re.compile(r"at line (\d+)")

KeyPath = tuple[str, ...]


def read_definition(text: str, *, name: str) -> Definition:
    """Return the definition that the text of file `name` holds, or raise `BadCampaignFile`."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_LINE.search(str(error))
        line = int(found[1]) if found else None
        where = f"{name}, line {line}" if line is not None else name
        reason = str(error).partition(" (at ")[0]
        quoted = f": {text.splitlines()[line - 1].strip()}" if line is not None and line <= text.count("\n") + 1 else ""
        twice = "; a key or table may stand once only" if "overwrite" in reason or "twice" in reason else ""
        raise BadCampaignFile(f"{where}: {reason}{quoted}", fix=f"write the line as TOML{twice}", line=line) from error
    _check_filled_in(values, text=text, name=name)
    try:
        return definition_of(values)
    except ValidationError as error:
        raise _refusal(error.errors()[0], text=text, name=name, schema=schema_of(values)) from error


def _check_filled_in(values: object, *, text: str, name: str) -> None:
    """Refuse a file in which something still waits for a person's word."""
    found = _unfilled(values)
    if found is None:
        return
    line = _line_of(found, key_lines(text))
    where = f"{name}, line {line}" if line is not None else name
    raise BadCampaignFile(
        f"{where}: {'.'.join(found)} still holds {FILL_IN}",
        fix="write there what the comment beside it asks for",
        line=line,
    )


def _unfilled(values: object) -> KeyPath | None:
    """Return the path of the first key or value that still waits to be filled in."""
    match values:
        case dict():
            for key, value in values.items():
                inner = () if key == FILL_IN else _unfilled(value)
                if inner is not None:
                    return (str(key), *inner)
        case list() if any(_unfilled(item) is not None for item in values):
            return ()
        case str() if FILL_IN in values:
            return ()
    return None


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, of each table and key of a TOML text; the keys inside inline tables have none."""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), start=1):
        header = _TABLE.fullmatch(line)
        if header is not None:
            table = _parts(header[1])
            lines.setdefault(table, number)
            continue
        key = _KEY.match(line)
        if key is not None:
            lines.setdefault((*table, *_parts(key[1])), number)
    return lines


def _parts(dotted: str) -> KeyPath:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _refusal(error: ErrorDetails, *, text: str, name: str, schema: type[Definition]) -> BadCampaignFile:
    """Say one validation error in the file's own terms."""
    path = tuple(str(part) for part in error["loc"])
    line = _line_of(path, key_lines(text))
    where = f"{name}, line {line}" if line is not None else name
    dotted = ".".join(path) or "the file"
    if error["type"] == "extra_forbidden":
        known = _known_keys(schema, path[:-1])
        close = nearest(path[-1], known)
        fix = f"did you mean {close!r}?" if close else f"known here are: {', '.join(sorted(known))}"
        return BadCampaignFile(f"{where}: unknown key {dotted!r}", fix=fix, line=line)
    if error["type"] == "missing":
        fix = f"add {path[-1]!r}" + (f" to [{'.'.join(path[:-1])}]" if len(path) > 1 else " to the file")
        return BadCampaignFile(f"{where}: {dotted!r} is missing", fix=fix, line=line)
    reason = error["msg"].removeprefix("Value error, ")
    value = error["input"]
    shown = "" if isinstance(value, dict) else f" (found {value!r})"
    return BadCampaignFile(
        f"{where}: {dotted}: {reason}{shown}",
        fix="mend the value; `pilothouse campaign schema` tells the form",
        line=line,
    )


def _line_of(path: KeyPath, lines: dict[KeyPath, int]) -> int | None:
    """Return the line of the path, or of the nearest part around it that has one."""
    for length in range(len(path), 0, -1):
        found = lines.get(path[:length])
        if found is not None:
            return found
    return None


def _known_keys(definition: type[Definition], path: KeyPath) -> list[str]:
    """Return the keys that the schema knows in the table at `path`."""
    schema = definition.model_json_schema()
    node = schema
    for part in path:
        inner = node.get("properties", {}).get(part, node.get("additionalProperties", {}))
        # A table that may be left out is one of several forms.
        inner = next((each for each in inner.get("anyOf", ()) if "$ref" in each), inner)
        node = schema["$defs"][inner["$ref"].rsplit("/", 1)[-1]] if "$ref" in inner else inner
    return list(node.get("properties", {}))
