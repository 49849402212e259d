"""The factory's loop: claim for the free seats, run each attempt in a thread of its own, claim again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from pilothouse.errors import PilothouseError
from pilothouse.factory.attempt import Attempt, Surroundings
from pilothouse.factory.heart import FINAL, Heart, Hold
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.ports.dispatch import Offer

SEATS = 1
"""How many a factory has when nobody says otherwise."""
CLAIM_WAIT_SECONDS = 0.5
"""How long one claim waits for a job, and so how long an idle factory may take to notice that it shall stop."""
CLAIM_AGAIN_SECONDS = 1.0
COMPLAIN_EVERY_SECONDS = 60.0
"""How often the log says that claiming fails, while it does."""
_LOOK_SECONDS = 0.2
"""How often a factory that cannot claim looks whether it shall stop."""

log = logging.getLogger(__name__)


class Leaving(StrEnum):
    """Why a boot of a factory is over."""

    STOPPED = "stopped"
    DRAINED = "drained"
    ENGINE_GONE = "engine_gone"
    SESSION_OVER = "session_over"


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorySettings:
    """How a factory works: its seats, the pools it serves (None: any), how long one claim waits.

    With `leave_when_drained` it ends once it is drained and empty; without, it stays and may be resumed.
    """

    seats: int = SEATS
    pools: Collection[str] | None = None
    claim_wait_seconds: float = CLAIM_WAIT_SECONDS
    leave_when_drained: bool = False


@dataclass(frozen=True, slots=True)
class _Seated:
    """An attempt at work, and the thread that it lives and dies with."""

    thread: threading.Thread
    hold: Hold
    seats: int


class Factory:
    """A named place that runs jobs on its seats, in one of its boots."""

    def __init__(
        self,
        *,
        name: FactoryName,
        boot: BootId,
        around: Surroundings,
        settings: FactorySettings | None = None,
    ) -> None:
        self.name = name
        self.boot = boot
        self.around = around
        self.failure: PilothouseError | None = None
        self._settings = settings or FactorySettings()
        self._seated: dict[tuple[JobId, Epoch], _Seated] = {}
        self._changed = threading.Event()
        self._complained_at = float("-inf")

    def run(self, stop: threading.Event) -> Leaving:
        """Run jobs until `stop` is set, the engine is gone, the session is over, or the factory is drained.

        Returns when no attempt is left. Those that run when `stop` comes are asked to save themselves, have their own
        graces, and are reported; when the session is over they are ended at once, and `failure` says what ended it.
        """
        heart = Heart(
            self.around.dispatch,
            factory=self.name,
            boot=self.boot,
            monotonic=self.around.monotonic,
            on_change=self._changed.set,
        )
        with heart:
            while (leaving := self._why_leave(heart, stop)) is None:
                self._claim_once(heart, stop)
                self._clear_seats()
            self._wait_until_empty()
            self.failure = heart.failure
        return Leaving.SESSION_OVER if self.failure is not None else leaving

    def _why_leave(self, heart: Heart, stop: threading.Event) -> Leaving | None:
        if self.around.gone.is_set():
            return Leaving.ENGINE_GONE
        if heart.failure is not None:
            return Leaving.SESSION_OVER
        if stop.is_set():
            return Leaving.STOPPED
        drained = heart.draining and not self._seated and not heart.holds
        return Leaving.DRAINED if drained and self._settings.leave_when_drained else None

    def _claim_once(self, heart: Heart, stop: threading.Event) -> None:
        """Claim for the free seats, or wait a moment where there are none or nothing may be claimed.

        The first claim waits for the first beat: only then is the lease of this boot known, and whether it drains.
        """
        free = self._settings.seats - sum(seated.seats for seated in self._seated.values())
        if free <= 0 or heart.draining or heart.left_seconds <= 0:
            self._changed.wait(_LOOK_SECONDS)
            self._changed.clear()
            return
        try:
            offers = self.around.dispatch.claim(
                factory=self.name,
                boot=self.boot,
                wait_seconds=self._settings.claim_wait_seconds,
                seats=free,
                held=heart.holds,
                pools=self._settings.pools,
                jobs=free,
            )
        except FINAL as error:
            heart.end(error)
            return
        except PilothouseError as error:
            self._complain(error)
            stop.wait(CLAIM_AGAIN_SECONDS)
            return
        self._complained_at = float("-inf")
        for offer in offers:
            self._seat(offer, heart, stop)

    def _complain(self, error: PilothouseError) -> None:
        """Say that claiming fails, now and then while it goes on."""
        now = self.around.monotonic()
        if now - self._complained_at >= COMPLAIN_EVERY_SECONDS:
            self._complained_at = now
            log.warning("Claiming fails: %s", error.message, extra={"action": "claim_failed"})

    def _seat(self, offer: Offer, heart: Heart, stop: threading.Event) -> None:
        """Start the attempt's thread; an offer of what is held already is the answer to a claim that crossed it."""
        attempt = Attempt(offer, self.around, stop=stop)
        hold = heart.hold(offer.job, offer.epoch, bury=attempt.bury)
        if hold is None:
            log.info("%s is held already.", offer.job, extra={"action": "offer_known", "epoch": offer.epoch})
            return
        thread = threading.Thread(target=self._work, args=(attempt, hold), name=f"attempt-{offer.job}", daemon=True)
        self._seated[offer.job, offer.epoch] = _Seated(thread, hold, offer.spec.seats)
        thread.start()

    def _work(self, attempt: Attempt, hold: Hold) -> None:
        try:
            attempt.run(hold)
        finally:
            self._changed.set()

    def _clear_seats(self) -> None:
        """Free the seats of the attempts whose threads have ended; one that hangs keeps its seat."""
        self._seated = {name: seated for name, seated in self._seated.items() if seated.thread.is_alive()}

    def _wait_until_empty(self) -> None:
        """Wait for the attempts that end; the thread of one that was buried may never do so."""
        while any(seated.thread.is_alive() and not seated.hold.buried for seated in self._seated.values()):
            self._changed.wait(_LOOK_SECONDS)
            self._changed.clear()
