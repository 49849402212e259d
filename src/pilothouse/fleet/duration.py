"""Durations as people write them: `90s`, `45m`, `2h`, `1d`."""

from __future__ import annotations

import re

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_FORM = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def parse_duration(text: str) -> float:
    """Return the duration in seconds; raise `ValueError` that names the text and the form."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no duration: write a number and one of s, m, h, d, such as 90s or 2h")
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds <= 0:
        raise ValueError(f"{text!r} is no duration: it must be longer than nothing")
    return seconds
