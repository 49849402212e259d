"""The heart of a factory: one thread that beats for all its attempts.

The lease of every attempt is the factory's session, which each beat renews. It is counted on this process's monotonic
clock, from before the beat that renewed it was asked for, so no difference of two wall clocks can lengthen it. A sixth
of it is kept as the margin in which everything is ended.

A beat names what the factory holds, and since one beat renews the session of all, nothing that goes wrong with one
attempt may keep the others' heart from beating. So an attempt whose own thread hangs, on a disk that does not answer
for instance, is neither left out of the beats in silence (what was assigned and is not held is offered again, and the
thread may wake up beside its own successor) nor kept in them for ever (nobody else could run the job). It is buried:
its processes are ended and it is reported as lost from another thread, and the thread that wakes up later finds that
its attempt is over.

`expired` and `lost` are two things. A lease that has expired on this clock ends whatever runs, but the attempt may
still be told: the epoch fences, and an engine that was only away for a while takes the word. What is lost belongs to a
later epoch, and nothing is said of it any more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from pilothouse.errors import LeaseLost, NotAuthenticated, NotFound, PilothouseError, Refused
from pilothouse.fleet.job import Progress
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.ports.dispatch import Beat, Command, Dispatch, Held, Word

BEATS_PER_LEASE = 3
PROGRESS_EVERY_SECONDS = 1.0
RETRY_SECONDS = 1.0
"""How long after a beat that failed the next one comes, or sooner where the lease is short."""
HUNG_AFTER_SECONDS = 900.0
"""How long an attempt's thread may be busy with one thing, such as checking one large input, before it is buried."""
FINAL = (LeaseLost, NotAuthenticated, NotFound, Refused)
"""Refusals of a beat or a claim that end the session; after any other failure the next one may succeed."""
_JOIN_SECONDS = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOrder:
    """An attempt's order to save itself and end by a monotonic time."""

    until: float
    why: str


class Hold:
    """The factory's hold on one attempt, from its offer until the engine has acknowledged its end.

    It is made by `Heart.hold`; what it says may be asked from any thread.
    """

    def __init__(self, heart: Heart, job: JobId, epoch: Epoch, *, bury: Callable[[Hold], None]) -> None:
        self.job = job
        self.epoch = epoch
        self._bury = bury
        self._buried = False
        self._heart = heart
        self._changed = heart.changed
        self._touched_at = heart.monotonic()
        self._progress: Progress | None = None
        self._at_once = False
        self._lost = False
        self._stop_order: StopOrder | None = None

    @property
    def lost(self) -> bool:
        """Whether the attempt belongs to a later epoch, or to nobody: nothing may be said of it any more."""
        with self._changed:
            return self._lost

    @property
    def buried(self) -> bool:
        """Whether another thread speaks for the attempt, since its own did not show itself for too long."""
        with self._changed:
            return self._buried

    @property
    def expired(self) -> bool:
        """Whether the lease has run out, its margin apart."""
        return self._heart.left_seconds <= 0

    @property
    def good(self) -> bool:
        """Whether the attempt may go on."""
        with self._changed:
            return not (self._lost or self._buried or self.expired)

    @property
    def stop_order(self) -> StopOrder | None:
        """The engine's order to end this attempt, if there is one."""
        with self._changed:
            return self._stop_order

    def touch(self) -> None:
        """Show that the attempt's thread is alive."""
        with self._changed:
            self._touched_at = self._heart.monotonic()

    def tell(self, progress: Progress) -> None:
        """Send this sign of life with the next beat, which comes within about a second."""
        with self._changed:
            self._touched_at = self._heart.monotonic()
            self._progress = progress
            self._changed.notify_all()

    def hasten(self) -> None:
        """Let what was told and has not arrived go out at once: the end that follows it waits for it."""
        with self._changed:
            self._at_once = self._progress is not None
            self._changed.notify_all()

    def settle(self, timeout_seconds: float) -> None:
        """Wait until the progress that was told has arrived, so that it does not come after the end it belongs to."""
        with self._changed:
            self._changed.wait_for(lambda: self._progress is None or self._lost, timeout_seconds)

    def lose(self) -> None:
        """Give the attempt up: it belongs to somebody else."""
        with self._changed:
            self._lost = True
            self._changed.notify_all()

    def release(self) -> None:
        """Hold it no longer: the engine knows its end."""
        self._heart.release(self)

    # The heart calls the rest with its lock held.

    def hangs(self, now: float) -> bool:
        """Whether the attempt's thread has not shown itself for too long."""
        return not self._buried and now - self._touched_at > HUNG_AFTER_SECONDS

    def give_to_grave(self) -> None:
        """Let another thread end the attempt and speak for it."""
        self._buried = True
        threading.Thread(target=self._bury, args=(self,), name=f"bury-{self.job}", daemon=True).start()

    def said(self) -> Held:
        """Return what the next beat says of it."""
        self._at_once = False
        return Held(job=self.job, epoch=self.epoch, progress=self._progress)

    def heard(self, progress: Progress | None) -> None:
        """Take in that a beat with this progress was answered."""
        if self._progress is progress:
            self._progress = None

    def obey(self, command: Command, *, asked_at: float) -> None:
        """Take in an order; seconds count from before the beat was asked for, and a second order may only be sooner."""
        if command.word is Word.LOST:
            self._lost = True
            return
        until = asked_at + command.seconds
        if self._stop_order is None or until < self._stop_order.until:
            self._stop_order = StopOrder(until=until, why=command.why)

    @property
    def urgent(self) -> bool:
        """Whether there is progress that should not wait."""
        return self._at_once

    @property
    def has_news(self) -> bool:
        """Whether there is progress that no beat has carried there yet."""
        return self._progress is not None


class Heart:
    """Beats for a boot of a factory until it is closed or the session is over. Use it as a context manager.

    It beats also while nothing is held: that is how the engine knows a factory that is idle from one that is gone.
    `on_change` is called, from the heart's thread, after every beat and when the session is over.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        *,
        factory: FactoryName,
        boot: BootId,
        monotonic: Callable[[], float],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.changed = threading.Condition()
        self.monotonic = monotonic
        self._dispatch = dispatch
        self._factory = factory
        self._boot = boot
        self._on_change = on_change
        self._holds: dict[tuple[JobId, Epoch], Hold] = {}
        self._lease_seconds = 0.0
        self._granted_at: float | None = None
        self._due_at = monotonic()
        self._sent_at = float("-inf")
        self._closed = False
        self._draining = False
        self._failure: PilothouseError | None = None
        self._thread = threading.Thread(target=self._run, name=f"heart-{factory}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def left_seconds(self) -> float:
        """How long this factory may still act; nothing before the first beat was answered."""
        with self.changed:
            if self._granted_at is None:
                return 0.0
            return self._granted_at + self._lease_seconds * 5 / 6 - self.monotonic()

    @property
    def failure(self) -> PilothouseError | None:
        """What ended the session, if it is over."""
        with self.changed:
            return self._failure

    @property
    def draining(self) -> bool:
        """Whether the engine wants this factory to take no more."""
        with self.changed:
            return self._draining

    @property
    def holds(self) -> list[tuple[JobId, Epoch]]:
        """The attempts that are held."""
        with self.changed:
            return list(self._holds)

    def hold(self, job: JobId, epoch: Epoch, *, bury: Callable[[Hold], None]) -> Hold | None:
        """Hold an attempt from now on; None if it is held already, since an offer may come twice.

        `bury` is called, from a thread of its own, when the attempt's thread has not shown itself for too long.
        """
        with self.changed:
            if (job, epoch) in self._holds:
                return None
            hold = self._holds[job, epoch] = Hold(self, job, epoch, bury=bury)
            if self._failure is not None:
                hold.lose()
            return hold

    def release(self, hold: Hold) -> None:
        """Hold the attempt no longer."""
        with self.changed:
            self._holds.pop((hold.job, hold.epoch), None)
            self.changed.notify_all()
        self._on_change()

    def end(self, error: PilothouseError) -> None:
        """Take in that the session is over: every attempt is lost."""
        with self.changed:
            if self._failure is None:
                log.error("The session is over: %s", error.message, extra={"action": "session_over"})
                self._failure = error
            for hold in self._holds.values():
                hold.lose()
            self.changed.notify_all()
        self._on_change()

    def beat(self) -> None:
        """Beat once, and take in the answer."""
        with self.changed:
            said = [hold.said() for hold in self._holds.values()]
        asked_at = self.monotonic()
        try:
            beat = self._dispatch.beat(factory=self._factory, boot=self._boot, held=said)
        except FINAL as error:
            self.end(error)
        except PilothouseError as error:
            log.warning("A beat failed: %s", error.message, extra={"action": "beat_failed"})
            with self.changed:
                soon = min(RETRY_SECONDS, self._lease_seconds / 10 or RETRY_SECONDS)
                self._due_at = self.monotonic() + soon
                # Progress waits for the next try as well, so that an engine in trouble is not asked without pause.
                self._sent_at = self._due_at
        else:
            self._take(beat, said, asked_at=asked_at)

    def close(self) -> None:
        """Beat no more."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        while True:
            with self.changed:
                while not self._over and (wait := self._due_in()) > 0:
                    self.changed.wait(wait)
                if self._over:
                    return
                self._bury_the_hung()
            self.beat()
            self._on_change()

    @property
    def _over(self) -> bool:
        return self._closed or self._failure is not None

    def _due_in(self) -> float:
        """Return the seconds until the next beat is due."""
        due_at = self._due_at
        if any(hold.urgent for hold in self._holds.values()):
            return 0.0
        if any(hold.has_news for hold in self._holds.values()):
            due_at = min(due_at, self._sent_at + PROGRESS_EVERY_SECONDS)
        return due_at - self.monotonic()

    def _bury_the_hung(self) -> None:
        now = self.monotonic()
        for hold in self._holds.values():
            if hold.hangs(now):
                named = {"action": "attempt_buried", "job": hold.job, "epoch": hold.epoch}
                log.error("The thread of %s hangs; its attempt is ended as lost.", hold.job, extra=named)
                hold.give_to_grave()

    def _take(self, beat: Beat, said: list[Held], *, asked_at: float) -> None:
        with self.changed:
            self._granted_at = self._sent_at = asked_at
            self._lease_seconds = beat.lease_seconds
            self._due_at = asked_at + beat.lease_seconds / BEATS_PER_LEASE
            self._draining = beat.draining
            for told in said:
                if (hold := self._holds.get((told.job, told.epoch))) is not None:
                    hold.heard(told.progress)
            for command in beat.commands:
                if (hold := self._holds.get((command.job, command.epoch))) is not None:
                    hold.obey(command, asked_at=asked_at)
            self.changed.notify_all()
