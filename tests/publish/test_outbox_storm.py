"""No comment twice, none lost, no limit broken, whatever the forge does and whenever the postman is killed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.publish.outbox_storm import storm

from pilothouse.ports.store import Store
from pilothouse.publish.github.delivery import GithubChannel
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.forge.github import FakeGithub

Connect = Callable[..., GithubChannel]


def test_three_hundred_letters_outlive_a_storm(
    store: Store, clock: FrozenClock, forge: FakeGithub, connect: Connect
) -> None:
    """Faults at one request in eight, and a kill at one commit in a hundred."""
    seen = storm(store, clock, forge, connect, letters=300, seed=7)

    assert seen["faults"] > 20
    assert seen["kills"] > 3


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_letters_outlive_a_storm(
    store: Store, clock: FrozenClock, forge: FakeGithub, connect: Connect
) -> None:
    """The same, for as long as it takes to publish a year of ferries."""
    seen = storm(store, clock, forge, connect, letters=10_000, seed=11)

    assert seen["faults"] > 1_000
    assert seen["kills"] > 100
