"""Where a small bug is, read from the end of a log."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PLACE = re.compile(r'^\s*File "([^"\n]+)", line (\d{1,9})\b', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A line of a file."""

    file: str
    line: int


def last_place(log: str) -> Place | None:
    """Return where the last Python trace of a log ends, None where there is none."""
    places = [Place(file=found[1], line=int(found[2])) for found in _PLACE.finditer(log)]
    return places[-1] if places else None
