"""Smoke tests against the services themselves, by the machine's own clock; each says what it lacks and was not run.

- GitHub: name a repository that may be written to in `LIVE_GITHUB_REPOSITORY`, and a token for it in
  `LIVE_GITHUB_TOKEN`. Every run opens, labels, comments and closes one issue there.
- Discord: put the URL of a channel's webhook into `LIVE_DISCORD_WEBHOOK`. Every run opens one thread there, or writes
  two messages where the channel has none.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.publish.test_trackers import Open

from pilothouse.engine.postman import Postman
from pilothouse.logbook import marks
from pilothouse.logbook.letter import DISCORD, Kind, Letter, LetterState, Posted
from pilothouse.ports.channel import Channel, Delivered
from pilothouse.ports.outbox import LetterQuery
from pilothouse.publish import fields
from pilothouse.publish.discord import DiscordChannel
from pilothouse.publish.github.auth import TokenAuth
from pilothouse.publish.github.client import API, GithubClient
from pilothouse.publish.github.delivery import GithubChannel
from pilothouse.publish.github.repository import Repository
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.outbox_conformance import make_issue, make_letter
from pilothouse.wiring.publishing import StoreBooks
from pilothouse.wiring.workspace import SystemClock

PATIENCE_SECONDS = 90.0


def given(*names: str) -> Sequence[str]:
    """Return what these variables hold; without one of them the test is skipped as not run, with the names it lacks."""
    found = {name: os.environ.get(name, "").strip() for name in names}  # noqa: TID251  no settings of the product
    lacking = [name for name, value in found.items() if not value]
    if lacking:
        pytest.skip(f"not run: nothing is given in {' and '.join(lacking)}")
    return list(found.values())


@contextmanager
def outbox() -> Iterator[StoreBooks]:
    """Give an outbox of its own, by the machine's clock."""
    store = SqliteStore(":memory:")
    yield StoreBooks(store, SystemClock())
    store.close()


def deliver(books: StoreBooks, channel: Channel, letters: Sequence[Letter]) -> Mapping[str, Posted]:
    """Post letters, deliver them within the limits, and return them by key as they stand then."""
    clock, pause = books.clock, threading.Event()
    books.apply(lambda tx: [tx.outbox.post(letter, now=clock.now()) for letter in letters])
    postman = Postman(books, channel, wait=pause.wait)
    postman.open()
    ends = clock.monotonic() + PATIENCE_SECONDS
    while True:
        left = postman.turn()
        with books.read() as tx:
            found = {each.letter.key: each for each in tx.outbox.listed(LetterQuery(channel=channel.name))}
        if all(each.state is not LetterState.WAITING for each in found.values()) or clock.monotonic() > ends:
            return found
        pause.wait(min(left, 1.0))


def why_not(found: Mapping[str, Posted]) -> dict[str, str]:
    """Return why letters have not arrived."""
    return {key: each.last_error for key, each in found.items() if each.state is not LetterState.SENT}


def test_a_run_stands_on_github_itself() -> None:
    """Issue, label, comment, status and the end; what has arrived is found again, and the query language answers."""
    name, token = given("LIVE_GITHUB_REPOSITORY", "LIVE_GITHUB_TOKEN")
    with outbox() as books:
        client = GithubClient(API, TokenAuth(token=token), books.clock)
        repository = Repository(client, name)
        channel = GithubChannel(repository)
        issue = f"smoke-{books.clock.now():%Y%m%dT%H%M%S}/issue"
        labels = ["pilothouse smoke/test"]
        letters = [
            make_issue(issue),
            make_letter(f"{issue}/labels", kind=Kind.LABELS, body={"wanted": labels, "among": labels}, about=issue),
            make_letter(f"{issue}/comment", about=issue),
            make_letter(f"{issue}/status", kind=Kind.STATUS, body={"text": "running"}, about=issue),
            make_letter(f"{issue}/close", kind=Kind.CLOSE, body={"reason": "completed"}, about=issue),
        ]

        found = deliver(books, channel, letters)

        assert why_not(found) == {}
        number = fields.number(found[issue].answer, "number")
        stands = repository.issue(number)
        assert (fields.text(stands, "state"), fields.text(stands, "state_reason")) == ("closed", "completed")
        assert f"{marks.STATUS_BEGIN}\nrunning\n{marks.STATUS_END}" in fields.text(stands, "body")
        assert set(labels) <= set(repository.labels_of(number))
        comment = found[f"{issue}/comment"]
        again = channel.deliver(replace(comment, tries=2), about=found[issue], gate=Open())
        assert isinstance(again, Delivered)
        assert again.remote == comment.remote
        told = client.query("query { viewer { login } }", {})
        assert fields.text(told, "data", "viewer", "login") == client.login()
        channel.close()


def test_a_thread_stands_in_discord_itself() -> None:
    """Its first message, one more, and the first one edited."""
    [webhook] = given("LIVE_DISCORD_WEBHOOK")
    with outbox() as books:
        channel = DiscordChannel(webhook, books.clock)
        issue = f"smoke-{books.clock.now():%Y%m%dT%H%M%S}/issue"
        letters = [
            make_issue(issue, channel=DISCORD),
            replace(make_letter(f"{issue}/comment", about=issue), channel=DISCORD),
            replace(
                make_letter(f"{issue}/status", kind=Kind.STATUS, body={"text": "ended"}, about=issue), channel=DISCORD
            ),
        ]

        found = deliver(books, channel, letters)

        channel.close()
        assert why_not(found) == {}
        assert found[f"{issue}/status"].remote == found[issue].remote
