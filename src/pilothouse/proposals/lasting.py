"""How long a yes holds: it always ends, within a year."""

from __future__ import annotations

from datetime import timedelta

from pilothouse.errors import BadValue
from pilothouse.fleet.duration import parse_duration

DAYS_MOST = 366


def lasting(text: str, *, what: str) -> timedelta:
    """Return how long `what` holds (a duration such as `12h`); none and more than a year are a `BadValue`."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise BadValue(str(error), fix="write --expires-in 12h, for example") from error
    if not 0 < seconds <= DAYS_MOST * 86400:
        raise BadValue(f"{what} for {text}", fix=f"give it an end within {DAYS_MOST}d")
    return timedelta(seconds=seconds)
