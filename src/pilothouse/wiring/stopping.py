"""How a person stops what runs in the foreground: SIGINT and SIGTERM, once or again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pilothouse.launch.ears import Ears


@contextmanager
def signals(stop: threading.Event) -> Iterator[list[int]]:
    """Turn SIGINT and SIGTERM into the stop event; the second one of a kind has its usual, harsh effect."""
    caught: list[int] = []

    def on_signal(number: int) -> None:
        caught.append(number)
        stop.set()

    with Ears(on_signal, harsh=True):
        yield caught


@contextmanager
def heard(act: Callable[[int], None]) -> Iterator[None]:
    """Call `act` with each SIGINT and SIGTERM, in a thread."""
    with Ears(act):
        yield
