"""Takes values out of JSON that came over a network, which may be anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pilothouse.canonical import Json

EMPTY: Mapping[str, Json] = {}


def table(value: Json, *path: str) -> Mapping[str, Json]:
    """Return the table at the path, an empty one where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else EMPTY


def text(value: Json, *path: str) -> str:
    """Return the text at the path, "" where there is none."""
    found = table(value, *path[:-1]).get(path[-1])
    return found if isinstance(found, str) else ""


def number(value: Json, *path: str) -> int:
    """Return the whole number at the path, 0 where there is none."""
    found = table(value, *path[:-1]).get(path[-1])
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def truth(value: Json, *path: str) -> bool:
    """Return whether true stands at the path."""
    return table(value, *path[:-1]).get(path[-1]) is True


def rows(value: Json) -> Sequence[Mapping[str, Json]]:
    """Return the tables of a list."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return []
    return [each for each in value if isinstance(each, Mapping)]


def texts(value: Json) -> Sequence[str]:
    """Return the texts of a list."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return []
    return [each for each in value if isinstance(each, str)]


def when(value: Json, *path: str) -> datetime | None:
    """Return the time at the path, aware, or None where there is none."""
    found = text(value, *path)
    try:
        read = datetime.fromisoformat(found) if found else None
    except ValueError:
        return None
    return read if read is not None and read.tzinfo is not None else None
