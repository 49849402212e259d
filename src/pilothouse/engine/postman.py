"""The postman: brings the letters of one channel out, one after the other, on a thread of its own.

    due letter ─► count the try (commit) ─► deliver ─► keep the outcome (commit)
                                              └─ before each write: wait for the pace, note the write (commit)

Killed anywhere, it goes on where it was: a try without an outcome may have arrived, so that the channel looks for the
letter's mark on the far side before it writes again. Writes and holds are on record, so that no restart writes faster
than a far side allows. Within a process they hold by the clock that never goes back: when the one on the wall is set,
what is on record is set with it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Protocol, TypeVar, assert_never

from pilothouse.errors import PilothouseError, StorageFailed
from pilothouse.logbook.letter import Posted
from pilothouse.logbook.pace import earliest, taken_over
from pilothouse.ports.channel import Channel, Delivered, Gate, Later, NotNow, Outcome, Refused
from pilothouse.ports.clock import Clock
from pilothouse.ports.outbox import HOLD_MAX, PUT_OFF_MAX, Hold
from pilothouse.ports.store import Transaction

LOOK_SECONDS = 1.0
"""How often an idle postman looks for a letter."""
PATIENCE_SECONDS = 5.0
"""How long a delivery waits for its next write, before it is put off."""
DOUBT_SECONDS = 60.0
"""When a delivery that failed in a way nobody foresaw is tried again."""
WAIT_SECONDS_MAX = PUT_OFF_MAX.total_seconds()
LIMIT_SECONDS_LEAST = 60.0
"""The least wait after a limit that does not say for how long it holds."""
LEAVE_SECONDS = 10.0
"""How long a process that ends waits for what is still due; the rest leaves with the next one."""
STOP_SECONDS = 2.0
"""How long a delivery may still take then; one that is left behind ends as if it were killed, which is harmless."""
AGAIN_SECONDS = 1.0
"""How soon a postman that failed in a way nobody foresaw begins anew."""
STOPS_MAX = 6
"""So often a letter may stop its channel before it has to stand behind the others."""
BEHIND_SECONDS = 30.0
SET_SECONDS = 1.0
"""By how much the wall clock may part from the other one before it counts as set."""
_DOUBLINGS_MAX = 12

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Books(Protocol):
    """What a postman needs of the engine."""

    def apply(self, act: Callable[[Transaction], T]) -> T:
        """Return what the act returned, once it is committed."""
        ...

    def read(self) -> AbstractContextManager[Transaction]:
        """Begin a reading transaction."""
        ...

    @property
    def clock(self) -> Clock:
        """The clock of record."""
        ...


class Postman(Gate):
    """Delivers for one channel. `wait` waits so many seconds, and says whether it is time to stop."""

    def __init__(self, books: Books, channel: Channel, *, wait: Callable[[float], bool]) -> None:
        self._books = books
        self._channel = channel
        self._wait = wait
        self._begun: deque[float] = deque()
        self._ended: float | None = None
        self._wall_ahead: float | None = None
        self._passed = 0

    def open(self) -> None:
        """Begin anew: a channel that was closed may be set otherwise now, and a write may have ended just before."""
        self._now()
        self._ended = self._books.clock.monotonic()
        with self._books.read() as tx:
            hold = tx.outbox.hold(self._channel.name)
        if hold is not None and hold.closed:
            self._books.apply(lambda tx: tx.outbox.release(self._channel.name))

    def run(self, stop: threading.Event, leaving: threading.Event) -> None:
        """Deliver until stopped, or until nothing is due once it is leaving; a database that fails is asked again."""
        while not stop.is_set():
            try:
                pause = self.turn()
            except StorageFailed as error:
                if stop.is_set():
                    return
                _log.warning("the outbox cannot be read: %s", error, extra={"action": "outbox_unread"})
                pause = LOOK_SECONDS
            if leaving.is_set() and pause >= LOOK_SECONDS:
                return
            if pause > 0 and self._wait(min(pause, LOOK_SECONDS)):
                return

    def turn(self) -> float:
        """Deliver one letter that is due; return after how many seconds there may be more to do, 0 for at once."""
        name, now = self._channel.name, self._now()
        with self._books.read() as tx:
            hold = tx.outbox.hold(name)
            posted = tx.outbox.due(name, now=now)
            about = _about(tx, posted)
        if hold is not None and (hold.closed or hold.until > now):
            return LOOK_SECONDS if hold.closed else (hold.until - now).total_seconds()
        if posted is None:
            return LOOK_SECONDS
        ahead = self._seconds_to_wait()
        if ahead > PATIENCE_SECONDS:
            return ahead
        begun = self._books.apply(lambda tx: tx.outbox.begin(posted))
        return 0.0 if begun is None else self._deliver(begun, about, hold)

    # --- the gate that a delivery asks before each write

    def pass_one(self) -> None:
        """Return when one write may begin, which is then on record; raise `NotNow` when that is too far away."""
        while (ahead := self._seconds_to_wait()) > 0:
            if ahead > PATIENCE_SECONDS or self._wait(ahead):
                raise NotNow(max(ahead, LOOK_SECONDS))
        pace, name, now = self._channel.pace, self._channel.name, self._now()
        self._passed += 1
        if pace.limits or pace.apart_seconds:
            self._begun.append(self._books.clock.monotonic())
            forget = now - timedelta(seconds=pace.memory_seconds)
            self._books.apply(lambda tx: tx.outbox.note_write(name, at=now, forget_before=forget))

    def passed(self) -> None:
        """Note that the write has had its answer, or never will."""
        self._ended = self._books.clock.monotonic()

    def _now(self) -> datetime:
        """Return the present; what is on record is set with a clock on the wall that was set since the last look."""
        now, name = self._books.clock.now(), self._channel.name
        ahead = now.timestamp() - self._books.clock.monotonic()
        if self._wall_ahead is None:
            self._take_over(now)
        elif abs(ahead - self._wall_ahead) > SET_SECONDS:
            by = timedelta(seconds=ahead - self._wall_ahead)
            self._books.apply(lambda tx: tx.outbox.set_by(name, by, now=now))
            _log.warning("the clock was moved by %.0f s", by.total_seconds(), extra={"action": "clock_moved"})
        else:
            return now
        self._wall_ahead = ahead
        return now

    def _take_over(self, now: datetime) -> None:
        """Read when earlier processes have written; no time of theirs that is still to come is waited for."""
        name = self._channel.name
        self._books.apply(lambda tx: tx.outbox.set_back(name, now=now))
        with self._books.read() as tx:
            recorded = tx.outbox.writes(name)
        self._begun = deque(taken_over(recorded, now=self._books.clock.monotonic()))

    def _seconds_to_wait(self) -> float:
        pace = self._channel.pace
        if not pace.limits and not pace.apart_seconds:
            return 0.0
        self._now()
        now = self._books.clock.monotonic()
        while self._begun and self._begun[0] < now - pace.memory_seconds:
            self._begun.popleft()
        return earliest(pace, self._begun, ended=self._ended, now=now) - now

    # --- one delivery

    def _deliver(self, begun: Posted, about: Posted | None, hold: Hold | None) -> float:
        self._passed = 0
        try:
            outcome: Outcome = self._channel.deliver(begun, about=about, gate=self)
        except NotNow as put_off:
            self._put_off(begun, seconds=0, why=str(put_off), unmade=self._passed == 0)
            return put_off.seconds
        except Exception as error:  # noqa: BLE001  whatever one letter does, the others go on
            _log.exception("letter %s could not be delivered", begun.letter.key, extra={"action": "letter_failed"})
            outcome = Later(seconds=DOUBT_SECONDS, why=_told(error), alone=True)
        return self._keep(begun, outcome, hold)

    def _keep(self, begun: Posted, outcome: Outcome, hold: Hold | None) -> float:
        """Keep what came of it, and return how long to wait."""
        match outcome:
            case Delivered():
                self._arrived(begun, outcome, hold)
                return 0.0
            case Refused(channel=True):
                return self._close(begun, outcome)
            case Refused():
                self._drop(begun, outcome)
                return 0.0
            case Later(alone=True):
                doublings = min(begun.tries - 1, _DOUBLINGS_MAX)
                seconds = min(outcome.seconds * 2**doublings, WAIT_SECONDS_MAX)
                self._put_off(begun, seconds=seconds, why=outcome.why, unmade=False)
                return 0.0
            case Later():
                return self._hold(begun, outcome, hold)
        assert_never(outcome)

    def _arrived(self, begun: Posted, outcome: Delivered, hold: Hold | None) -> None:
        now = self._now()

        def act(tx: Transaction) -> None:
            tx.outbox.sent(begun, remote=outcome.remote, answer=outcome.answer, now=now)
            if hold is not None:
                tx.outbox.release(self._channel.name)

        self._books.apply(act)

    def _drop(self, begun: Posted, outcome: Refused) -> None:
        now = self._now()
        self._books.apply(lambda tx: tx.outbox.drop(begun, why=outcome.why, now=now))
        _log.warning(
            "letter %s was refused by %s: %s",
            begun.letter.key,
            self._channel.name,
            outcome.why,
            extra={"action": "letter_dropped"},
        )

    def _put_off(self, begun: Posted, *, seconds: float, why: str, unmade: bool) -> None:
        until = self._now() + timedelta(seconds=seconds)
        self._books.apply(lambda tx: tx.outbox.put_off(begun, until=until, why=why, unmade=unmade))

    def _hold(self, begun: Posted, outcome: Later, hold: Hold | None) -> float:
        """Let the whole channel wait; a limit without a time doubles the wait each time in a row."""
        strikes, seconds = 0, outcome.seconds
        if outcome.limited:
            strikes = (hold.strikes if hold is not None else 0) + 1
            doublings = min(strikes - 1, _DOUBLINGS_MAX)
            seconds = min(max(seconds, LIMIT_SECONDS_LEAST) * 2**doublings, WAIT_SECONDS_MAX)
        seconds = min(seconds, HOLD_MAX.total_seconds())
        now = self._now()
        self._keep_hold(
            begun,
            Hold(channel=self._channel.name, until=now + timedelta(seconds=seconds), why=outcome.why, strikes=strikes),
        )
        if hold is None or hold.why != outcome.why:
            _log.warning("%s waits: %s", self._channel.name, outcome.why, extra={"action": "channel_waits"})
        return seconds

    def _close(self, begun: Posted, outcome: Refused) -> float:
        self._keep_hold(begun, Hold(channel=self._channel.name, until=self._now(), why=outcome.why, closed=True))
        _log.error("%s is closed: %s", self._channel.name, outcome.why, extra={"action": "channel_closed"})
        return LOOK_SECONDS

    def _keep_hold(self, begun: Posted, hold: Hold) -> None:
        """Keep a hold; a letter that has stopped the channel again and again lets the others go first after it."""
        behind = max(0, begun.tries - STOPS_MAX) * BEHIND_SECONDS
        until = hold.until + timedelta(seconds=min(behind, WAIT_SECONDS_MAX)) if behind else self._now()

        def act(tx: Transaction) -> None:
            tx.outbox.put_hold(hold)
            tx.outbox.put_off(begun, until=until, why=hold.why)

        self._books.apply(act)


@contextmanager
def delivering(books: Books, channels: Sequence[Channel], *, leave_seconds: float = LEAVE_SECONDS) -> Iterator[None]:
    """Deliver the letters of these channels for the block, each on a thread of its own, and then what is still due."""
    stop, leaving = threading.Event(), threading.Event()
    threads = [
        threading.Thread(
            target=_deliver_all, args=(books, channel, stop, leaving), name=f"postman-{channel.name}", daemon=True
        )
        for channel in channels
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        leaving.set()
        _join(threads, seconds=leave_seconds)
        stop.set()
        _join(threads, seconds=STOP_SECONDS)


def _join(threads: Sequence[threading.Thread], *, seconds: float) -> None:
    ends = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))


def _deliver_all(books: Books, channel: Channel, stop: threading.Event, leaving: threading.Event) -> None:
    def wait(seconds: float) -> bool:
        """Wait, but no longer idle once it is time to leave."""
        (stop if leaving.is_set() else leaving).wait(seconds)
        return stop.is_set()

    try:
        while not _ran(Postman(books, channel, wait=wait), channel.name, stop, leaving):
            wait(AGAIN_SECONDS)
    finally:
        channel.close()


def _ran(postman: Postman, name: str, stop: threading.Event, leaving: threading.Event) -> bool:
    """Deliver until it is time to leave, and say whether it is; False for what nobody foresaw, which is told."""
    try:
        postman.open()
        postman.run(stop, leaving)
    except Exception as error:  # noqa: BLE001  a channel that nobody serves any more would be noticed by nobody
        if not leaving.is_set():
            _log.exception("no letters leave by %s for now: %s", name, error, extra={"action": "postman_ended"})
            return False
    return True


def _about(tx: Transaction, posted: Posted | None) -> Posted | None:
    if posted is None or not posted.letter.about:
        return None
    return tx.outbox.by_key(posted.letter.product, posted.letter.channel, posted.letter.about)


def _told(error: Exception) -> str:
    return error.message if isinstance(error, PilothouseError) else f"{type(error).__name__}: {error}"
