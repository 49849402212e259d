"""Keep one factory process at work: when it dies, what it held is taken back and another one starts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from pilothouse.errors import OperationFailed, PilothouseError
from pilothouse.ids import BootId

DEATHS_MAX = 5
"""So many factories in a row that die young are no accident: the loop ends and says so."""
YOUNG_SECONDS = 10.0
_LOOK_SECONDS = 0.1
"""How long closing may wait for the keeper's thread to notice it."""
_JOIN_SECONDS = 90.0

log = logging.getLogger(__name__)


class Child(Protocol):
    """A started factory."""

    ended: threading.Event

    def stop(self, *, grace_seconds: float) -> int | None:
        """End it and whatever it left behind."""
        ...


class FactoryKeeper:
    """Owns the factory of a running engine.

    `start` makes a factory under a new boot, `rescue` takes back what a dead boot held, `monotonic` gives seconds.
    When factories keep dying, or keeping them fails, `given_up` is called and `failure` says why. Only the keeper's
    thread ends and starts factories until it has ended; then `close` ends the last one.
    """

    def __init__(
        self,
        start: Callable[[BootId], Child],
        *,
        rescue: Callable[[BootId], object],
        new_boot: Callable[[], BootId],
        monotonic: Callable[[], float],
        given_up: Callable[[], None],
    ) -> None:
        self._start, self._rescue, self._new_boot = start, rescue, new_boot
        self._monotonic, self._given_up = monotonic, given_up
        self.closing = threading.Event()
        self._child: Child | None = None
        self.failure: PilothouseError | None = None
        self._thread = threading.Thread(target=self._keep, name="factory-keeper", daemon=True)

    def open(self) -> None:
        """Start the first factory, and watch over it from now on."""
        boot = self._new_boot()
        self._child = self._start(boot)
        self._boot, self._born = boot, self._monotonic()
        self._thread.start()

    def close(self, *, grace_seconds: float) -> None:
        """Let the thread end, then end the factory with this grace; no other is started."""
        self.closing.set()
        self._thread.join(_JOIN_SECONDS)
        child = self._child
        if child is not None:
            child.stop(grace_seconds=grace_seconds)

    def _keep(self) -> None:
        deaths = 0
        while not self.closing.is_set():
            child = self._child
            assert child is not None, "the keeper was opened"
            if not child.ended.wait(_LOOK_SECONDS) or self.closing.is_set():
                continue
            deaths = deaths + 1 if self._monotonic() - self._born < YOUNG_SECONDS else 1
            try:
                self._replace(child, deaths)
            except PilothouseError as error:
                self._give_up(error)
                return
            except Exception as error:  # the thread's edge: whatever it is, the loop must not wait for ever
                log.exception("Keeping the factory failed.", extra={"action": "keeper_failed"})
                self._give_up(
                    OperationFailed(f"keeping the factory failed: {error!r}", fix="look at the log, and start again")
                )
                return

    def _give_up(self, error: PilothouseError) -> None:
        self.failure = error
        self._given_up()

    def _replace(self, dead: Child, deaths: int) -> None:
        """Bury the dead factory, take its jobs back, and start the next."""
        log.warning("The factory of boot %s died.", self._boot, extra={"action": "factory_died"})
        dead.stop(grace_seconds=0.0)
        self._rescue(self._boot)
        if deaths >= DEATHS_MAX:
            raise OperationFailed(
                f"{deaths} factories in a row died within {YOUNG_SECONDS:g} s of their start",
                fix="read the end of factory.log in the home; look for what kills processes on this machine",
            )
        if self.closing.is_set():
            return
        self._boot, self._born = self._new_boot(), self._monotonic()
        self._child = self._start(self._boot)
