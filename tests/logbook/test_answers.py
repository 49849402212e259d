"""Every status that an answer may have is treated as the table says, and none by accident."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from pilothouse.logbook.answers import (
    UNKNOWN_CHANNEL,
    UNKNOWN_MESSAGE,
    Treatment,
    of_apprise,
    of_discord,
    of_github,
)

STATUSES = range(100, 600)
UNKNOWN_WEBHOOK = 10015


def told(*parts: int | range) -> set[int]:
    """Return the statuses that these parts are."""
    return {status for part in parts for status in ([part] if isinstance(part, int) else part)}


def treated(each: Mapping[int, Treatment], treatment: Treatment) -> set[int]:
    """Return the statuses that are treated so."""
    return {status for status, found in each.items() if found is treatment}


def test_every_status_of_github_is_treated() -> None:
    """Only what speaks of the letter itself drops it; nothing closes the channel for good."""
    each = {status: of_github(status) for status in STATUSES}

    refused = told(400, 404, 410, 413, 414, 415, 422, 431)
    again = told(403, 408, 409, 425, range(500, 503), range(504, 600))
    taken = told(range(200, 300))
    assert treated(each, Treatment.TAKEN) == taken
    assert treated(each, Treatment.REFUSE) == refused
    assert treated(each, Treatment.RETRY) == again
    assert treated(each, Treatment.WAIT) == set(STATUSES) - taken - refused - again
    assert {301, 302, 304, 307, 308, 401, 407, 429, 451, 503} <= treated(each, Treatment.WAIT)


def test_every_status_of_a_webhook_is_treated() -> None:
    """A redirect or a time-out keeps the letter; a webhook that is gone is not asked again."""
    each = {status: of_discord(status) for status in STATUSES}

    refused = told(400, 413, 414, 415, 422, 431)
    again = told(408, 409, 425, range(500, 600))
    gone = told(401, 403, 404)
    taken = told(range(200, 300))
    assert treated(each, Treatment.TAKEN) == taken
    assert treated(each, Treatment.REFUSE) == refused
    assert treated(each, Treatment.RETRY) == again
    assert treated(each, Treatment.DISABLE) == gone
    assert treated(each, Treatment.WAIT) == set(STATUSES) - taken - refused - again - gone
    assert {301, 302, 307, 308, 405, 407, 429} <= treated(each, Treatment.WAIT)


@pytest.mark.parametrize("status", [0, 99, 600, 999])
def test_what_is_no_status_drops_and_closes_nothing(status: int) -> None:
    """A far side that answers nonsense may be well tomorrow."""
    assert of_github(status) is of_discord(status) is Treatment.WAIT


@pytest.mark.parametrize(
    ("status", "said", "treatment"),
    [
        (403, "Unable to create comment because issue is locked.", Treatment.REFUSE),
        (403, "Repository was archived so is read-only.", Treatment.RETRY),
        (403, "Resource not accessible by personal access token", Treatment.RETRY),
        (410, "Issues are disabled for this repo", Treatment.RETRY),
        (410, "Issues has been disabled in this repository.", Treatment.RETRY),
        (410, "This issue was deleted", Treatment.REFUSE),
    ],
)
def test_what_github_says_tells_the_letter_from_the_repository(status: int, said: str, treatment: Treatment) -> None:
    """A setting that its owner can change loses nothing."""
    assert of_github(status, said) is treatment


@pytest.mark.parametrize("status", [403, 422, 429, 503])
def test_a_limit_of_github_is_waited_for(status: int) -> None:
    """Whatever the status that it comes with."""
    assert of_github(status, limited=True) is Treatment.WAIT


def test_a_thread_that_is_gone_closes_no_webhook() -> None:
    """It is told from the webhook by its code."""
    codes: Iterable[int] = (UNKNOWN_CHANNEL, UNKNOWN_MESSAGE, UNKNOWN_WEBHOOK)

    found = [of_discord(404, code) for code in codes]

    assert found == [Treatment.REFUSE, Treatment.REFUSE, Treatment.DISABLE]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_page_of_somebody_in_between_closes_no_webhook(status: int) -> None:
    """A proxy or a wall answers in its own words, and not for long."""
    assert of_discord(status, theirs=False) is Treatment.WAIT


def test_apprise_tells_no_more_than_yes_and_no() -> None:
    """And nothing at all where it has no service."""
    assert [of_apprise(taken=each) for each in (True, False, None)] == [
        Treatment.TAKEN,
        Treatment.RETRY,
        Treatment.RETRY,
    ]
