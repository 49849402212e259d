"""Letters to any other chat: over the real Apprise, to a service on the loopback."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec

import pytest
from tests.publish.conftest import Desk

from pilothouse.errors import BadValue, UsageError
from pilothouse.logbook.letter import APPRISE, Kind, LetterState
from pilothouse.publish.apprise import TEXT_MAX, AppriseChannel
from pilothouse.testing.forge.http import Answered, Asked, serving
from pilothouse.testing.outbox_conformance import make_issue, make_letter
from pilothouse.testing.values import PRODUCT

SECRET = "s3cret"  # noqa: S105  the service's, which no log may hold
HERE = find_spec("apprise") is not None
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
needs_apprise = pytest.mark.skipif(not HERE, reason="apprise is an extra; install it to try the real one")
ISSUE = replace(make_issue(channel=APPRISE), body={"title": "Ferry 1", "text": "It sails, @octo"})
COMMENT = replace(make_letter("run-1/said", body={"text": "x" * 9000}), channel=APPRISE)


@dataclass
class Service:
    """Takes notifications; the next `failing` are answered by 500."""

    failing: int = 0
    taken: list[Mapping[str, str]] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answered:
        """Answer one request."""
        if asked.path != f"/{SECRET}":
            return Answered(status=404)
        if self.failing:
            self.failing -= 1
            return Answered(status=500)
        self.taken.append(json.loads(asked.body))
        return Answered(status=200)

    @contextmanager
    def channel(self) -> Iterator[AppriseChannel]:
        """Give a channel to it."""
        with serving(self.answer) as url:
            yield AppriseChannel([f"{url.replace('http', 'json', 1)}/{SECRET}"])


@pytest.mark.skipif(HERE, reason="apprise is installed")
def test_without_apprise_the_extra_is_named() -> None:
    """Where a file names services and nothing can reach them."""
    with pytest.raises(UsageError, match="not installed"):
        AppriseChannel(["json://localhost"])


@needs_apprise
def test_a_line_that_is_no_service_is_named_by_its_number(caplog: pytest.LogCaptureFixture) -> None:
    """And not shown, in no log either, since it may be a secret with a slip in it."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(BadValue, match="line 2") as refused:
        AppriseChannel(["json://localhost", f"nowhere://{SECRET}"])

    assert SECRET not in str(refused.value)
    assert SECRET not in caplog.text


@needs_apprise
def test_a_letter_is_one_notification(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Under the title of what it is about, cut where it is long; nobody is named, and no log tells the address."""
    caplog.set_level(logging.DEBUG)
    service = Service()
    desk.post(ISSUE, COMMENT)

    with service.channel() as channel:
        desk.deliver(channel)

    opened, said = service.taken
    assert [opened["title"], said["title"]] == ["Ferry 1", "Ferry 1"]
    assert "@octo" not in opened["message"]
    assert opened["message"].replace("\u200b", "") == "It sails, @octo"
    assert TEXT_MAX >= len(said["message"]) > TEXT_MAX // 2
    assert "logbook outbox show" in said["message"]
    assert SECRET not in caplog.text


@needs_apprise
def test_a_service_that_fails_is_tried_again(desk: Desk) -> None:
    """Until it takes the letter."""
    service = Service(failing=2)
    desk.post(ISSUE)

    with service.channel() as channel:
        desk.deliver(channel)

    posted = desk.letter(PRODUCT, APPRISE, ISSUE.key)
    assert (len(service.taken), posted.state, posted.tries) == (1, LetterState.SENT, 3)


@needs_apprise
def test_what_no_notification_is_made_of_is_dropped(desk: Desk) -> None:
    """A tag is none."""
    desk.post(replace(ISSUE, kind=Kind.TAG, body={"tag": "t", "message": "m"}))

    with Service().channel() as channel:
        desk.deliver(channel)

    assert desk.letter(PRODUCT, APPRISE, ISSUE.key).state is LetterState.DROPPED
