"""Between factories and the server: requests that are lost, answered in vain, sent twice, or late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pilothouse.engine.commands import Asked
from pilothouse.testing.simulation.server import Server

LOST, UNHEARD, TWICE, LATE = 0.04, 0.06, 0.06, 0.06
"""Shares of requests that never arrive, whose answer is lost, that arrive twice, and that arrive much later."""
ARRIVES_NOW = 0.2
"""How likely something that is late arrives together with the next requests."""


class Hear(Protocol):
    """What is done with an answer: `heard` tells whether its asker still waits, or only whoever watches sees it."""

    def __call__(self, *, heard: bool) -> None:
        """Take in the answer that the command has."""
        ...


Request = Callable[[], tuple[Asked, Hear]]
"""Makes the command of a request, anew for each time that it arrives, and what hears its answer."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that reaches the server; nobody waits for the answer of one that was late."""

    request: Request
    heard: bool


@dataclass(slots=True)
class Network:
    """Delivers requests in batches, as the writer's thread takes them."""

    server: Server
    rng: np.random.Generator
    faulty: bool = True
    counts: Counter[str] = field(default_factory=Counter)
    _late: list[Arrival] = field(default_factory=list)
    _open: dict[int, tuple[Asked, Hear, bool]] = field(default_factory=dict)

    def send(self, requests: Sequence[Request]) -> None:
        """Deliver what arrives now, together with what was late, in one batch."""
        arrived = [arrival for request in requests for arrival in self._through(request)]
        if self._late and self.rng.random() < ARRIVES_NOW:
            arrived.append(self._late.pop(int(self.rng.integers(len(self._late)))))
        if not arrived or not self.server.up:
            return
        crashes = self.server.crashes
        batch = []
        for arrival in arrived:
            command, hear = arrival.request()
            self._open[id(command)] = (command, hear, arrival.heard)
            batch.append(command)
        self.bring(self.server.run(batch))
        if self.server.crashes != crashes:
            self.drop()

    def bring(self, answered: Sequence[Asked]) -> None:
        """Bring answers to whoever asked."""
        for command in answered:
            if id(command) in self._open:
                _, hear, heard = self._open.pop(id(command))
                hear(heard=heard)

    def drop(self) -> None:
        """Forget who waits for an answer: the server has crashed."""
        self._open.clear()

    def calm(self) -> None:
        """Let nothing be lost from now on, and forget what is still late."""
        self.faulty = False
        self._late.clear()

    def _through(self, request: Request) -> list[Arrival]:
        """Return how often a request arrives now; one that is late comes with some other."""
        if not self.faulty:
            return [Arrival(request, heard=True)]
        drawn = float(self.rng.random())
        for share, name in ((LOST, "lost"), (UNHEARD, "unheard"), (TWICE, "twice"), (LATE, "late")):
            drawn -= share
            if drawn < 0:
                self.counts[name] += 1
                return self._misdeliver(request, name)
        return [Arrival(request, heard=True)]

    def _misdeliver(self, request: Request, how: str) -> list[Arrival]:
        unheard = Arrival(request, heard=False)
        match how:
            case "unheard":
                return [unheard]
            case "twice":
                return [Arrival(request, heard=True), unheard]
            case "late":
                self._late.append(unheard)
        return []
