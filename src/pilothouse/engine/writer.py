"""The one writer: a thread that applies up to `BATCH_MAX` waiting commands in one transaction and answers after it.

    askers ──► pending ──► take all that wait ──► scheduler.run(batch) ──► answer each
                             (no timer: an idle writer takes one command at once)

One flush to the disk then serves many askers; the coroutines of an event loop are woken together, once per batch.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from pilothouse.engine.commands import Act, Asked, Command, Loops, wake
from pilothouse.engine.preempting import Preemption
from pilothouse.engine.scheduler import Scheduler
from pilothouse.engine.sweeps import Sweep
from pilothouse.errors import StorageFailed
from pilothouse.ports.clock import Clock

BATCH_MAX = 256
ANSWER_SECONDS = 60.0
"""How long a caller waits for its commit."""
IDLE_SECONDS = 1.0
"""How long an idle writer sleeps at most."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Writer:
    """Drives a scheduler on the thread that calls `run`. `settled` is called after each batch, before any answer."""

    def __init__(self, scheduler: Scheduler, clock: Clock, *, settled: Callable[[], None]) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._settled = settled
        self._wake = threading.Condition()
        self._idle = False
        self._pending: deque[Asked] = deque()
        self._closed = False
        self._thread: int | None = None
        self._sweep_at = clock.monotonic() + scheduler.roster.sweep_seconds

    def put(self, command: Asked) -> None:
        """Let a command be applied; `StorageFailed` when the writer has stopped.

        Nothing is locked while the writer is busy: it looks at what waits before it sleeps, and after it has said that
        it is about to.
        """
        self._pending.append(command)
        if self._closed:
            try:
                self._pending.remove(command)
            except ValueError:
                return  # it came just in time to be answered, or refused, with what was left
            raise stopped()
        if self._idle:
            with self._wake:
                self._idle = False
                self._wake.notify()

    def ask(self, command: Command[T], *, timeout_seconds: float = ANSWER_SECONDS) -> T:
        """Return the answer of a command once it is committed; raise what it raised, with nothing of it kept."""
        assert threading.get_ident() != self._thread, "a command must not ask the writer that is running it"
        command.hold()
        self.put(command)
        return command.wait(timeout_seconds=timeout_seconds)

    def run(self, stop: threading.Event) -> None:
        """Apply commands until stopped; those that were accepted by then are still applied and answered."""
        self._thread = threading.get_ident()
        try:
            while (batch := self._take(stop)) is not None:
                if batch:
                    self._apply(batch)
                self._look_after(stop)
        finally:
            self._close()

    def poke(self) -> None:
        """Make an idle writer look at its stop event now."""
        with self._wake:
            self._wake.notify_all()

    def _take(self, stop: threading.Event) -> Sequence[Asked] | None:
        """Return what waits, at most one batch; nothing when it is time to look after things, None to end."""
        pending = self._pending
        if not pending and not stop.is_set():
            with self._wake:
                self._idle = True
                if not pending and not stop.is_set():
                    self._wake.wait(self._idle_seconds())
                self._idle = False
        if stop.is_set():
            self._closed = True
            if not pending:
                return None
        return [pending.popleft() for _ in range(min(BATCH_MAX, len(pending)))]

    def _idle_seconds(self) -> float:
        due = self._scheduler.due_at
        until = self._sweep_at if due is None else min(due, self._sweep_at)
        return max(0.0, min(until - self._clock.monotonic(), IDLE_SECONDS))

    def _apply(self, batch: Sequence[Asked]) -> None:
        answered = batch
        try:
            answered = self._scheduler.run(batch)
            self._settled()
        except BaseException as error:
            for command in batch:
                command.refuse(error)
            answered = batch
            raise
        finally:
            _tell(answered)

    def _look_after(self, stop: threading.Event) -> None:
        """Try parked claims again, make room for what is urgent, and sweep when it is time."""
        again = self._scheduler.retry()
        if again:
            self._apply(again)
        if stop.is_set():
            return
        if self._scheduler.urgent:
            self._scheduler.urgent = False
            self._do(Preemption(self._scheduler, now=self._clock.now()).carry_out)
        if self._clock.monotonic() >= self._sweep_at:
            self._sweep_at = self._clock.monotonic() + self._scheduler.roster.sweep_seconds
            self._sweep()

    def _sweep(self) -> None:
        now = self._clock.now()
        sweep = Sweep(self._scheduler, now=now)
        if sweep and self._do(sweep.carry_out):
            sweep.done()
        self._scheduler.urgent = True

    def _do(self, act: Callable[..., object]) -> bool:
        """Carry out something of the engine's own; a failing database is told, and tried again at the next sweep."""
        command: Act[object] = Act(act)
        self._scheduler.run([command])
        self._settled()
        try:
            command.value()
        except Exception as error:  # noqa: BLE001  nobody asked, so nobody else hears of it
            _log.warning("looking after the fleet failed: %s", error, extra={"action": "sweep_failed"})
            return False
        return True

    def _close(self) -> None:
        """Send the waiting claims home, and refuse what is left behind and everything from now on."""
        self._closed = True
        abandoned = [self._pending.popleft() for _ in range(len(self._pending))]
        for command in abandoned:
            command.refuse(stopped())
        _tell([*self._scheduler.release_parked(), *abandoned])


def _tell(commands: Iterable[Asked]) -> None:
    loops: Loops = {}
    for command in commands:
        command.tell(loops)
    wake(loops)


def stopped() -> StorageFailed:
    """Return the refusal of a writer that has stopped."""
    return StorageFailed("the writer has stopped", fix="start the engine again; what was answered is kept")
