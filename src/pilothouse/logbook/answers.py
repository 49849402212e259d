"""What a far side's answer means for a letter, in one table for each far side; no status is left to chance.

Nothing is lost by a doubt: only what says that this very letter will never be taken drops it, and only what says that
the way itself is gone for good closes the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Treatment(StrEnum):
    """What is done with a letter after an answer, or with its whole channel."""

    TAKEN = "taken"
    """It stands there."""
    RETRY = "retry"
    """It is tried again, and the others go on."""
    WAIT = "wait"
    """The whole channel waits, and goes on by itself."""
    REFUSE = "refuse"
    """It is dropped with the reason, and can be tried again by hand."""
    DISABLE = "disable"
    """The channel is closed until it is set anew; its letters wait, and `doctor` and the outbox tell why."""


_GITHUB: Mapping[int, Treatment] = {
    400: Treatment.REFUSE,
    403: Treatment.RETRY,
    404: Treatment.REFUSE,
    408: Treatment.RETRY,
    409: Treatment.RETRY,
    410: Treatment.REFUSE,
    413: Treatment.REFUSE,
    414: Treatment.REFUSE,
    415: Treatment.REFUSE,
    422: Treatment.REFUSE,
    425: Treatment.RETRY,
    431: Treatment.REFUSE,
    503: Treatment.WAIT,
}
"""A 404 or 410 is only of the letter once the repository itself was seen. Of all others, 5xx are tried again, and the
rest waits: a token that is refused, a repository that has moved, a proxy that answers instead."""
_OF_THE_REPOSITORY = ("archived", "is disabled", "are disabled", "has been disabled")
"""GitHub's words about a repository that takes nothing now, which its owner can change."""
_OF_THE_TALK = ("is locked",)
"""Its words about an issue that will take nothing."""

_DISCORD: Mapping[int, Treatment] = {
    400: Treatment.REFUSE,
    401: Treatment.DISABLE,
    403: Treatment.DISABLE,
    404: Treatment.DISABLE,
    408: Treatment.RETRY,
    409: Treatment.RETRY,
    413: Treatment.REFUSE,
    414: Treatment.REFUSE,
    415: Treatment.REFUSE,
    422: Treatment.REFUSE,
    425: Treatment.RETRY,
    431: Treatment.REFUSE,
}
UNKNOWN_CHANNEL, UNKNOWN_MESSAGE = 10003, 10008
"""Discord's codes of a thread or a message that is gone; with any other a 404 says that the webhook itself is."""


def of_github(status: int, said: str = "", *, limited: bool = False) -> Treatment:
    """Return what an answer of GitHub means; `said` are its words, `limited` whether it has the signs of a limit."""
    if 200 <= status <= 299:
        return Treatment.TAKEN
    if limited or status == 429:
        return Treatment.WAIT
    words = said.lower()
    if status == 403 and any(each in words for each in _OF_THE_TALK):
        return Treatment.REFUSE
    if status in {403, 410} and any(each in words for each in _OF_THE_REPOSITORY):
        return Treatment.RETRY
    return _GITHUB.get(status, Treatment.RETRY if 500 <= status <= 599 else Treatment.WAIT)


def of_discord(status: int, code: int = 0, *, theirs: bool = True) -> Treatment:
    """Return what an answer to a webhook means; `theirs` says whether its body is Discord's, and no proxy's page."""
    if 200 <= status <= 299:
        return Treatment.TAKEN
    if status == 404 and code in {UNKNOWN_CHANNEL, UNKNOWN_MESSAGE}:
        return Treatment.REFUSE
    found = _DISCORD.get(status, Treatment.RETRY if 500 <= status <= 599 else Treatment.WAIT)
    return Treatment.WAIT if found is Treatment.DISABLE and not theirs else found


def of_apprise(*, taken: bool | None) -> Treatment:
    """Return what Apprise means, which knows no more than whether every service has taken a notification."""
    return Treatment.TAKEN if taken else Treatment.RETRY
