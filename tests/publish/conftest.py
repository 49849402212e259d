"""A forge on the loopback, and a postman whose time stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from pilothouse.engine.postman import Postman
from pilothouse.ids import ProductId
from pilothouse.logbook.letter import Letter, LetterState, Posted
from pilothouse.ports.channel import Channel
from pilothouse.ports.outbox import LetterQuery
from pilothouse.ports.store import Store
from pilothouse.publish.github.auth import TokenAuth
from pilothouse.publish.github.client import GithubClient
from pilothouse.publish.github.delivery import GithubChannel
from pilothouse.publish.github.repository import Repository
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.forge.books import StoreBooks
from pilothouse.testing.forge.github import FakeGithub

DAYS_MAX = 30


@dataclass(frozen=True, slots=True)
class Desk:
    """An outbox with its postmen."""

    books: StoreBooks

    def post(self, *letters: Letter) -> None:
        """Post letters."""
        with self.books.store.write() as tx:
            for letter in letters:
                tx.outbox.post(letter, now=self.books.now())

    def deliver(self, channel: Channel) -> None:
        """Deliver until nothing waits any more, or a month has passed."""
        postman = Postman(self.books, channel, wait=self.books.wait)
        postman.open()
        ends = self.books.now() + timedelta(days=DAYS_MAX)
        while self.waiting(channel.name) and self.books.now() < ends:
            self.books.wait(postman.turn())

    def turn(self, channel: Channel) -> float:
        """Let a new postman do one turn."""
        postman = Postman(self.books, channel, wait=self.books.wait)
        postman.open()
        return postman.turn()

    def waiting(self, channel: str) -> bool:
        """Whether a letter waits."""
        with self.books.read() as tx:
            return (channel, LetterState.WAITING) in tx.outbox.counts()

    def letters(self) -> list[Posted]:
        """Return all letters, oldest first."""
        with self.books.read() as tx:
            return list(reversed(tx.outbox.listed(LetterQuery(limit=100_000))))

    def letter(self, product: ProductId, channel: str, key: str) -> Posted:
        """Return one letter."""
        with self.books.read() as tx:
            found = tx.outbox.by_key(product, channel, key)
        assert found is not None
        return found


@pytest.fixture(name="clock")
def _clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(name="store")
def _store() -> Iterator[Store]:
    store = SqliteStore(":memory:")
    yield store
    store.close()


@pytest.fixture(name="desk")
def _desk(store: Store, clock: FrozenClock) -> Desk:
    return Desk(StoreBooks(store, clock))


@pytest.fixture(name="forge")
def _forge(clock: FrozenClock) -> Iterator[FakeGithub]:
    forge = FakeGithub(clock=clock)
    with forge.serving():
        yield forge


@pytest.fixture(name="connect")
def _connect(forge: FakeGithub, clock: FrozenClock) -> Iterator[Callable[..., GithubChannel]]:
    """Give a function that makes a channel to the forge, as each new process does."""
    made: list[GithubChannel] = []

    def connect(token: str = "t0k", repository: str = "octo/demo") -> GithubChannel:  # noqa: S107  the fake's
        client = GithubClient(forge.url, TokenAuth(token=token), clock)
        made.append(GithubChannel(Repository(client, repository)))
        return made[-1]

    yield connect
    for each in made:
        each.close()
