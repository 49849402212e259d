"""A forge, and a proposal that stands there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.engine.watched_forge import Watched

from pilothouse.engine.engine import Engine
from pilothouse.publish.github.auth import TokenAuth
from pilothouse.publish.github.client import GithubClient
from pilothouse.publish.github.repository import Repository
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.forge.github import FakeGithub


@pytest.fixture(name="watched")
def _watched() -> Iterator[Watched]:
    clock = FrozenClock()
    forge = FakeGithub(clock=clock)
    store = SqliteStore(":memory:")
    with forge.serving() as url, Engine(store, clock) as engine:
        client = GithubClient(url, TokenAuth(token="t0k"), clock)  # noqa: S106  the fake's
        watched = Watched(engine, forge, Repository(client, "octo/demo"), clock)
        watched.publish()
        yield watched
        client.close()
    store.close()
