"""What can be wrong with an answer of GitHub, each with what to do about it.

GithubFault
├── Unauthorised    401: the token is wrong, expired or revoked; `renewed` says that another one can be had
├── Forbidden       403: the token may not do this
├── Missing         404: it is not there, or the token may not see it
├── Gone            410: it was there
├── Unacceptable    409, 422: GitHub refuses what was sent
├── Moved           3xx: the repository is elsewhere now
├── Limited         with the signs of a limit; `seconds` is None when it does not say for how long
├── Ailing          408, 5xx: whether a write took effect is not known
├── Silent          no answer: whether a write took effect is not known
└── Strange         an answer that is none of GitHub's

What each means for a letter stands in `logbook/answers.py`; `status` is 0 where there was no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from pilothouse.canonical import Json
from pilothouse.errors import OperationFailed
from pilothouse.publish import fields

RETRY_SECONDS_MAX = 86_400.0
_TOLD_MAX = 300
_MOVED = frozenset({301, 302, 303, 307, 308})


class GithubFault(OperationFailed):
    """GitHub did not do what it was asked; `status` is that of its answer."""

    def __init__(self, message: str, *, fix: str, status: int = 0) -> None:
        super().__init__(message, fix=fix)
        self.status = status


class Unauthorised(GithubFault):
    """The token is wrong, expired or revoked; `renewed` says that the next request has another one."""

    renewed = False


class Forbidden(GithubFault):
    """The token may not do this."""


class Missing(GithubFault):
    """It is not there, or the token may not see it."""


class Gone(GithubFault):
    """It was there, and is no more."""


class Unacceptable(GithubFault):
    """GitHub refuses what was sent."""


class Moved(GithubFault):
    """The repository is elsewhere now."""


class Limited(GithubFault):
    """A limit is reached, for so many seconds if it says so."""

    def __init__(self, message: str, *, fix: str, status: int, seconds: float | None) -> None:
        super().__init__(message, fix=fix, status=status)
        self.seconds = seconds


class Ailing(GithubFault):
    """GitHub failed; a write may have taken effect."""


class Silent(GithubFault):
    """No answer came; a write may have taken effect."""


class Strange(GithubFault):
    """The answer is none of GitHub's."""


_KINDS: Mapping[int, tuple[type[GithubFault], str]] = {
    401: (Unauthorised, "set another token in PILOTHOUSE_GITHUB_TOKEN or its file, and start again"),
    403: (Forbidden, "give the token the permission that is named, for this repository"),
    404: (Missing, "look whether it exists, and whether the token may see the repository"),
    408: (Ailing, "wait; it is tried again by itself"),
    409: (Unacceptable, "look at what stands there now"),
    410: (Gone, "look who has deleted it"),
    422: (Unacceptable, "look at the letter: `pilothouse logbook outbox show NUMBER`"),
}


def fault(status: int, headers: Mapping[str, str], body: Json, *, what: str, now: datetime) -> GithubFault:
    """Return what an answer that is no success means; header names are in lower case."""
    said = _said(body)
    message = f"GitHub answered {status} to {what}" + (f": {said}" if said else "")
    if _is_limit(status, headers, said):
        seconds = _limit_seconds(headers, now=now)
        return Limited(message, fix="wait; what is left is sent by itself", status=status, seconds=seconds)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Ailing(message, fix="wait; it is tried again by itself", status=status)
    if status in _MOVED:
        message += ", which has another name or another place now"
        return Moved(message, fix="set the repository's new name in github_repository", status=status)
    kind, fix = _KINDS.get(status, (Strange, "check the address and the repository in the settings"))
    if kind is Forbidden and (wanted := headers.get("x-accepted-github-permissions")):
        message += f" (it asks for {wanted[:_TOLD_MAX]})"
    return kind(message, fix=fix, status=status)


def _said(body: Json) -> str:
    """Return GitHub's own words, with the fields that it refuses."""
    parts = [fields.text(body, "message")]
    for each in fields.rows(fields.table(body).get("errors")):
        words = [fields.text(each, name) for name in ("resource", "field", "code", "message")]
        parts.append(" ".join(word for word in words if word))
    parts += fields.texts(fields.table(body).get("errors"))
    return "; ".join(part for part in parts if part)[:_TOLD_MAX]


def _is_limit(status: int, headers: Mapping[str, str], said: str) -> bool:
    """Whether a limit stands behind an answer: GitHub tells one by 403, 429, and for what comes in haste by 422."""
    words = said.lower()
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return "submitted too quickly" in words
    if status not in {HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        return False
    if status == HTTPStatus.TOO_MANY_REQUESTS or "retry-after" in headers:
        return True
    return headers.get("x-ratelimit-remaining") == "0" or "rate limit" in words or "abuse detection" in words


def _limit_seconds(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return for how long a limit holds: `retry-after` first, then the reset of an exhausted one."""
    after = headers.get("retry-after", "")
    if after.isascii() and after.isdigit():
        return min(float(after), RETRY_SECONDS_MAX)
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdigit():
        seconds = float(reset) - _their_time(headers, now=now).timestamp()
        return min(max(seconds, 1.0), RETRY_SECONDS_MAX)
    return None


def _their_time(headers: Mapping[str, str], *, now: datetime) -> datetime:
    """Return the time on GitHub's clock, as the answer tells it; ours where it does not."""
    try:
        told = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return now
    return told if told.tzinfo is not None else now
