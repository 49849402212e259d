"""What factories ask of the server: beats, claims, reports and starts, and what the answers do to them."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from pilothouse.engine.commands import Act, Asked, Claim, Command, Complete, Heartbeat
from pilothouse.errors import PilothouseError
from pilothouse.ids import BootId
from pilothouse.operations.start import start
from pilothouse.testing.simulation.factory import SimulatedFactory
from pilothouse.testing.simulation.network import Hear, Request
from pilothouse.testing.simulation.server import Server
from pilothouse.testing.simulation.watch import Watch

T = TypeVar("T")


class Clients:
    """Makes the requests of factories. While `calm`, every attempt that begins will succeed."""

    def __init__(self, server: Server, watch: Watch, rng: np.random.Generator) -> None:
        self.calm = False
        self._server = server
        self._clock = server.clock
        self._watch = watch
        self._rng = rng

    def any_request(self, factory: SimulatedFactory) -> Request | None:
        """Return something that the factory may say now."""
        kinds = (self.beat, self.claim, self.report, self.start)
        return kinds[int(self._rng.choice(len(kinds), p=[0.3, 0.3, 0.2, 0.2]))](factory)

    def beat(self, factory: SimulatedFactory) -> Request:
        """Return a heartbeat."""
        boot, sent_at, held = factory.boot, self._clock.monotonic(), factory.signs()

        def make() -> tuple[Asked, Hear]:
            command = Heartbeat(factory=factory.name, boot=boot, held=held)

            def hear(*, heard: bool) -> None:
                answer = _value(command, factory, boot=boot if heard else None)
                if answer is not None and heard and factory.boot == boot:
                    factory.hear(answer, sent_at=sent_at, now=self._clock.monotonic())

            return command, hear

        return make

    def claim(self, factory: SimulatedFactory) -> Request:
        """Return a claim, which may wait for a while."""
        boot, sent_at, held, seats = factory.boot, self._clock.monotonic(), tuple(factory.holds), factory.free
        jobs, wait = int(self._rng.integers(1, 4)), float(self._rng.choice([0.0, 0.0, 15.0]))

        def make() -> tuple[Asked, Hear]:
            until = self._clock.monotonic() + wait
            command = Claim(factory=factory.name, boot=boot, seats=seats, deadline=until, held=held, jobs=jobs)

            def hear(*, heard: bool) -> None:
                handovers = _value(command, factory, boot=boot if heard else None) or ()
                for handover in handovers:
                    self._watch.handed(handover, factory=factory.name, boot=boot)
                if handovers and heard and factory.boot == boot and factory.up:
                    factory.take(handovers, sent_at=sent_at, now=self._clock.monotonic(), calm=self.calm)

            return command, hear

        return make

    def report(self, factory: SimulatedFactory) -> Request | None:
        """Return what a factory says of everything that has ended on it."""
        ended = [(job, epoch, report) for (job, epoch), report in factory.ended.items()]

        def make() -> tuple[Asked, Hear]:
            command = Complete(ended, factory=factory.name)

            def hear(*, heard: bool) -> None:
                refusals = _value(command, factory, boot=None)
                if refusals is None:
                    return
                for (job, epoch, report), refusal in zip(ended, refusals, strict=True):
                    if refusal is None:
                        with self._server.store.read() as tx:
                            self._watch.completed(job, epoch, report, stored=tx.jobs.attempt(job, epoch=epoch))
                    if heard:
                        factory.settle((job, epoch))

            return command, hear

        return make if ended else None

    def start(self, factory: SimulatedFactory) -> Request | None:
        """Return the word that a process runs."""
        silent = [held for held, task in factory.running.items() if not task.told]
        if not silent:
            return None
        job, epoch = silent[int(self._rng.integers(len(silent)))]

        def make() -> tuple[Asked, Hear]:
            now = self._clock.now()
            command = Act(lambda tx: start(tx, job, epoch=epoch, pid=epoch, pid_started=1.0, now=now))

            def hear(*, heard: bool) -> None:
                left = _value(command, factory, boot=None)
                if left is not None:
                    self._watch.started(left, epoch)
                task = factory.running.get((job, epoch))
                if task is not None and heard:
                    task.told = True

            return command, hear

        return make


def _value(command: Command[T], factory: SimulatedFactory, *, boot: BootId | None) -> T | None:
    """Return the answer, or None if it was a refusal; the boot that hears a refusal acts on it."""
    try:
        return command.value()
    except PilothouseError as error:
        if boot is not None and factory.boot == boot:
            factory.refused(error)
        return None
