"""Keeping the lease of one attempt, in a thread of its own.

The lease is counted on this process's monotonic clock, from before the request that granted it, so no difference of two
wall clocks can lengthen it. The thread renews for a main loop that shows itself (`touch`); it never renews for one that
hangs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Self

from pilothouse.errors import LeaseLost, PilothouseError
from pilothouse.fleet.job import Progress
from pilothouse.ids import Epoch, JobId
from pilothouse.ports.dispatch import Dispatch

PROGRESS_EVERY_SECONDS = 1.0
RETRY_SECONDS = 1.0
HUNG_AFTER_SECONDS = 900.0
"""How long the main loop may be busy with one thing, such as checking one large input, before renewing ends."""
_JOIN_SECONDS = 60.0

log = logging.getLogger(__name__)


class Renewal:
    """Renews one attempt's lease until it is closed, lost, or run out. Use it as a context manager.

    `asked_at` is the monotonic time just before the claim was asked for.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        *,
        job: JobId,
        epoch: Epoch,
        lease_seconds: float,
        asked_at: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._dispatch = dispatch
        self._job = job
        self._epoch = epoch
        self._lease_seconds = lease_seconds
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._granted_at = asked_at
        self._sent_at = asked_at
        self._touched_at = monotonic()
        self._progress: Progress | None = None
        self._at_once = False
        self._closed = False
        self._lost = False
        self._thread = threading.Thread(target=self._run, name=f"renew-{job}-{epoch}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def lost(self) -> bool:
        """Whether the engine said that a later epoch exists."""
        with self._changed:
            return self._lost

    @property
    def left_seconds(self) -> float:
        """How long this factory may still act for the job; a sixth of the lease is kept as the margin for ending it."""
        with self._changed:
            return self._granted_at + self._lease_seconds * 5 / 6 - self._monotonic()

    @property
    def held(self) -> bool:
        """Whether the attempt may go on."""
        return not self.lost and self.left_seconds > 0

    def touch(self) -> None:
        """Show that the main loop is alive."""
        with self._changed:
            self._touched_at = self._monotonic()

    def tell(self, progress: Progress, *, at_once: bool = False) -> None:
        """Send this sign of life with the next renewal, at most about once a second, or at once."""
        with self._changed:
            self._touched_at = self._monotonic()
            self._progress = progress
            self._at_once = at_once
            self._changed.notify()

    def close(self) -> None:
        """End the renewing, so that what follows is the last word of this attempt; send progress not yet told."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(_JOIN_SECONDS)
        if self._progress is not None and self.held:
            self._renew(self._progress)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (wait := self._due_in()) > 0:
                    self._changed.wait(wait)
                if self._closed:
                    return
                if self._monotonic() - self._touched_at > HUNG_AFTER_SECONDS:
                    log.error("The main loop hangs; its lease is left to run out.", extra={"action": "renewal_ended"})
                    return
                progress, self._progress, self._at_once = self._progress, None, False
            self._renew(progress)
            if self.lost:
                return

    def _due_in(self) -> float:
        """Return the seconds until the next renewal is due."""
        if self._at_once:
            return 0.0
        every = self._lease_seconds / 3
        if self._progress is not None:
            every = min(every, PROGRESS_EVERY_SECONDS)
        return self._sent_at + every - self._monotonic()

    def _renew(self, progress: Progress | None) -> None:
        asked_at = self._monotonic()
        try:
            self._dispatch.renew(self._job, epoch=self._epoch, progress=progress)
        except LeaseLost as error:
            log.warning("%s", error.message, extra={"action": "lease_lost", "job": self._job, "epoch": self._epoch})
            with self._changed:
                self._lost = True
        except PilothouseError as error:
            log.warning("Renewing failed: %s", error.message, extra={"action": "renewal_failed", "job": self._job})
            with self._changed:
                # Ask again soon: one blip must not cost a live job.
                self._sent_at = asked_at - self._lease_seconds / 3 + min(RETRY_SECONDS, self._lease_seconds / 10)
        else:
            with self._changed:
                self._granted_at = self._sent_at = asked_at
