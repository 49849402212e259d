"""Letters to a chat: one thread for each issue, nobody named, and limits heeded before they strike."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.publish.conftest import Desk

from pilothouse.canonical import Json
from pilothouse.engine.postman import Postman
from pilothouse.errors import BadValue
from pilothouse.logbook.letter import DISCORD, Kind, LetterState
from pilothouse.ports.outbox import Hold
from pilothouse.publish.discord import DiscordChannel
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.forge.discord import FakeDiscord
from pilothouse.testing.forge.http import Answered
from pilothouse.testing.outbox_conformance import make_issue, make_letter
from pilothouse.testing.values import PRODUCT

ISSUE = make_issue(channel=DISCORD)


@pytest.fixture(name="chat")
def _chat(clock: FrozenClock) -> FakeDiscord:
    return FakeDiscord(clock=clock)


@pytest.fixture(name="channel")
def _channel(chat: FakeDiscord, clock: FrozenClock) -> Iterator[DiscordChannel]:
    with chat.serving() as webhook:
        channel = DiscordChannel(webhook, clock)
        yield channel
        channel.close()


def said(number: int) -> list[str]:
    """Return the texts of so many messages."""
    return [f"message {index}" for index in range(number)]


def post_all(desk: Desk, number: int) -> None:
    """Post an issue and so many comments on it."""
    comments = [
        replace(make_letter(f"c{index}", body={"text": text}), channel=DISCORD)
        for index, text in enumerate(said(number))
    ]
    desk.post(ISSUE, *comments)


def test_an_issue_is_a_thread_and_comments_stand_in_it(chat: FakeDiscord, channel: DiscordChannel, desk: Desk) -> None:
    """In their order, with nobody named, whatever they say."""
    post_all(desk, 3)

    desk.deliver(channel)

    [(thread, name)] = chat.threads.items()
    assert name == "Ferry run-1/issue"
    assert [message.content for message in chat.messages] == ["It sails — ⛴", *said(3)]
    assert {message.thread for message in chat.messages} == {thread}
    assert chat.mentions == [{"parse": []}] * 4
    assert desk.letter(PRODUCT, DISCORD, "c0").remote == chat.messages[1].id


def test_a_channel_without_threads_gets_plain_messages(chat: FakeDiscord, channel: DiscordChannel, desk: Desk) -> None:
    """The title stands in the message then."""
    chat.is_forum = False
    post_all(desk, 1)

    desk.deliver(channel)

    assert [message.content for message in chat.messages] == ["**Ferry run-1/issue**\nIt sails — ⛴", "message 0"]


def test_thirty_messages_at_once_break_no_limit(chat: FakeDiscord, channel: DiscordChannel, desk: Desk) -> None:
    """The bucket's own words are heeded, so that none is ever refused."""
    post_all(desk, 30)

    desk.deliver(channel)

    assert [message.content for message in chat.messages[1:]] == said(30)
    assert chat.invalid == 0


@pytest.mark.parametrize("scope", ["global", "shared", "user"])
def test_a_limit_is_waited_for(chat: FakeDiscord, channel: DiscordChannel, desk: Desk, scope: str) -> None:
    """As long as it says, and then everything goes out."""
    chat.limits = [scope, scope]
    post_all(desk, 2)

    desk.deliver(channel)

    assert len(chat.messages) == 3
    assert chat.statuses.count(429) == 2


@pytest.mark.parametrize("seconds", [math.inf, math.nan, 1e300, -5.0, True, 10**400])
def test_a_wait_that_cannot_be_ends_no_postman(
    chat: FakeDiscord, channel: DiscordChannel, desk: Desk, seconds: Json
) -> None:
    """A number that no time can be made of is no number; the header tells it then."""
    chat.limits, chat.strange_wait = ["user"], seconds
    post_all(desk, 1)

    desk.deliver(channel)

    assert len(chat.messages) == 2
    assert chat.statuses.count(429) == 1


def test_a_failing_chat_is_tried_again(chat: FakeDiscord, channel: DiscordChannel, desk: Desk) -> None:
    """Its answer need not even be JSON."""
    chat.failing = 2
    post_all(desk, 1)

    desk.deliver(channel)

    assert len(chat.messages) == 2


@pytest.mark.parametrize(
    ("answered", "seconds"),
    [
        (Answered(status=301, headers={"Location": "https://elsewhere.test/"}), 300),
        (Answered(status=302, headers={"Location": "https://elsewhere.test/"}), 300),
        (Answered(status=403, body="<html>Access denied"), 300),
        (Answered(status=404, body="<html>Not found"), 300),
        (Answered(status=407), 300),
        (Answered(status=408), 10),
        (Answered(status=409), 10),
        (Answered(status=429, body="<html>", headers={"Retry-After": "40"}), 40),
        (Answered(status=500), 10),
        (Answered(status=503, headers={"Retry-After": "1"}), 10),
    ],
)
def test_an_answer_that_is_not_about_the_letter_loses_none(
    chat: FakeDiscord, channel: DiscordChannel, desk: Desk, answered: Answered, seconds: float
) -> None:
    """Redirects are not followed, and a page of somebody in between is not Discord's word."""
    chat.answers = [answered]
    post_all(desk, 1)
    begun = desk.books.clock.monotonic()

    desk.deliver(channel)

    assert [message.content for message in chat.messages] == ["It sails — ⛴", "message 0"]
    assert seconds <= desk.books.clock.monotonic() - begun < seconds + 5


def test_a_deleted_webhook_closes_the_channel_once(chat: FakeDiscord, channel: DiscordChannel, desk: Desk) -> None:
    """It is asked one time and no more, its letters wait, and its secret is shown nowhere."""
    chat.is_deleted = True
    post_all(desk, 2)
    desk.turn(channel)
    with desk.books.read() as tx:
        hold = tx.outbox.hold(DISCORD)
    assert isinstance(hold, Hold)
    assert hold.closed
    assert "s3cret" not in hold.why
    postman = Postman(desk.books, channel, wait=desk.books.wait)
    assert [postman.turn() for _ in range(3)] == [1.0] * 3
    assert chat.statuses == [404]
    assert {letter.state for letter in desk.letters()} == {LetterState.WAITING}

    chat.is_deleted = False
    desk.deliver(channel)

    assert len(chat.messages) == 3


def test_the_webhook_stands_in_no_log(channel: DiscordChannel, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Not even in that of the library that asks, which tells every address."""
    caplog.set_level(logging.DEBUG)
    post_all(desk, 1)

    desk.deliver(channel)

    assert "s3cret" not in caplog.text


def test_the_webhook_stands_in_no_log_however_it_was_written(
    chat: FakeDiscord, clock: FrozenClock, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """The library tells the address as it reads it."""
    caplog.set_level(logging.DEBUG)
    post_all(desk, 0)
    with chat.serving() as webhook:
        channel = DiscordChannel(webhook.replace("127.0.0.1", "LOCALHOST"), clock)
        desk.turn(channel)
        channel.close()

    assert len(chat.messages) == 1
    assert "s3cret" not in caplog.text


def test_a_status_edits_the_first_message(chat: FakeDiscord, channel: DiscordChannel, desk: Desk) -> None:
    """The thread's first message tells how things stand."""
    status = replace(make_letter("s", kind=Kind.STATUS, body={"text": "running"}), channel=DISCORD)
    desk.post(ISSUE, status)
    desk.deliver(channel)
    desk.post(replace(status, body={"text": "ended"}))

    desk.deliver(channel)

    assert [message.content for message in chat.messages] == ["It sails — ⛴\n\nended"]


def test_a_long_text_is_cut_with_a_pointer(chat: FakeDiscord, channel: DiscordChannel, desk: Desk) -> None:
    """Two thousand characters and no more, and titles of a hundred."""
    desk.post(replace(ISSUE, body={"title": "t" * 300, "text": "⛴" * 5000}))

    desk.deliver(channel)

    assert len(chat.messages[0].content) <= 2000
    assert "logbook outbox show 1" in chat.messages[0].content
    assert [len(name) for name in chat.threads.values()] == [100]


def test_what_a_chat_knows_nothing_of_is_dropped(channel: DiscordChannel, desk: Desk) -> None:
    """A tag or a commit is nothing to say."""
    desk.post(replace(ISSUE, kind=Kind.TAG, body={"tag": "v1", "message": "m"}))

    desk.deliver(channel)

    assert desk.letters()[0].state is LetterState.DROPPED


def test_a_thread_that_was_deleted_drops_its_letter_only(
    chat: FakeDiscord, channel: DiscordChannel, desk: Desk
) -> None:
    """The webhook itself still lives."""
    post_all(desk, 1)
    desk.turn(channel)
    chat.threads.clear()

    desk.deliver(channel)

    assert [letter.state for letter in desk.letters()] == [LetterState.SENT, LetterState.DROPPED]


@pytest.mark.parametrize("webhook", ["http://discord.test/api/webhooks/1/s3cret", "ftp://x/s3cret", "s3cret", ""])
def test_a_webhook_that_would_be_shown_on_the_way_is_refused(clock: FrozenClock, webhook: str) -> None:
    """And what is refused is not printed."""
    with pytest.raises(BadValue) as caught:
        DiscordChannel(webhook, clock)
    assert "s3cret" not in caught.value.message
