"""The server without thread and sockets: a scheduler that is driven step by step, and thrown away in a crash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from pilothouse.engine.commands import Act, Asked, Look
from pilothouse.engine.preempting import Preemption
from pilothouse.engine.scheduler import Scheduler
from pilothouse.engine.sweeps import Sweep
from pilothouse.ports.store import Transaction
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.simulation.faults import Crash, SimulatedStore

T = TypeVar("T")


class Server:
    """A scheduler over a store that outlives it. What was not answered when it crashed is never answered."""

    def __init__(self, store: SimulatedStore, clock: FrozenClock) -> None:
        self.store = store
        self.clock = clock
        self.crashes = 0
        self._scheduler: Scheduler | None = None
        self._sweep_at = 0.0
        self._steps_left: int | None = None
        self.boot()

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self._scheduler is not None

    @property
    def scheduler(self) -> Scheduler:
        """What is in its memory."""
        assert self._scheduler is not None, "the server is down"
        return self._scheduler

    def boot(self) -> None:
        """Start it: everything it knows is read from the store."""
        self._scheduler = Scheduler(self.store, self.clock)
        self._scheduler.load()
        self._sweep_at = self.clock.monotonic() + self._scheduler.roster.sweep_seconds

    def crash(self) -> None:
        """Lose everything that was in memory."""
        self._scheduler = None
        self._steps_left = None
        self.crashes += 1

    def crash_within(self, steps: int) -> None:
        """Let it crash at a step of one of its next transactions."""
        self._steps_left = steps

    def spare(self) -> None:
        """Let no crash come that was still to come."""
        self._steps_left = None

    def run(self, batch: Sequence[Asked]) -> Sequence[Asked]:
        """Return the commands that have their answers; none if it has crashed meanwhile."""
        if self._scheduler is None:
            return ()
        connection = self.store.connection
        connection.steps_left = self._steps_left
        try:
            answered = self._scheduler.run(batch)
            self._steps_left = connection.steps_left
        except Crash:
            self.crash()
            return ()
        finally:
            connection.steps_left = None
        return answered

    def ask(self, act: Callable[[Transaction], T], *, then: Callable[[Scheduler, T], None] | None = None) -> T | None:
        """Return what an act returned once it was committed, or None if the server is gone; raise what it raised.

        `then` puts into the memory what was stored, as a handler of a request does in a second command.
        """
        command = Act(act)
        if not self.run([command]):
            return None
        result = command.value()
        if then is not None:
            keep = then
            self.run([Look(lambda scheduler: keep(scheduler, result))])
        return result

    def look_after(self) -> Sequence[Asked]:
        """Do what the writer's thread does between batches; return the waiting claims that were answered."""
        if self._scheduler is None:
            return ()
        again = self._scheduler.retry()
        answered = self.run(again) if again else ()
        self._make_room()
        self._sweep()
        return answered

    def _make_room(self) -> None:
        if self._scheduler is not None and self._scheduler.urgent:
            self._scheduler.urgent = False
            self._do(Preemption(self._scheduler, now=self.clock.now()).carry_out)

    def _sweep(self) -> None:
        scheduler = self._scheduler
        if scheduler is None or self.clock.monotonic() < self._sweep_at:
            return
        self._sweep_at = self.clock.monotonic() + scheduler.roster.sweep_seconds
        sweep = Sweep(scheduler, now=self.clock.now())
        if sweep and self._do(sweep.carry_out):
            sweep.done()
        scheduler.urgent = True

    def _do(self, act: Callable[[Transaction], object]) -> bool:
        command: Act[object] = Act(act)
        if not self.run([command]):
            return False
        command.value()
        return True
