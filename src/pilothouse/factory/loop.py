"""The factory's loop: claim, run, claim again."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from pilothouse.errors import PilothouseError
from pilothouse.factory.attempt import Surroundings, run_attempt
from pilothouse.ids import BootId, FactoryName

CLAIM_WAIT_SECONDS = 0.5
"""How long one claim waits for a job, and so how long an idle factory may take to notice that it shall stop."""
_CLAIM_AGAIN_SECONDS = 1.0
SEATS = 1
"""One job at a time. More seats are more threads over `run_attempt`, each with an offer of its own."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory:
    """A named place that runs jobs, in one of its boots."""

    name: FactoryName
    boot: BootId
    around: Surroundings

    def run(self, stop: threading.Event) -> None:
        """Run jobs one after another until `stop` is set or the engine is gone.

        A job that runs when `stop` comes is asked to save itself, has its own grace, and is reported. Call it from a
        thread that lives as long as the process: jobs are tied to the thread that starts them.
        """
        around = self.around
        while not (stop.is_set() or around.gone.is_set()):
            asked_at = around.monotonic()
            try:
                offer = around.dispatch.claim(
                    factory=self.name, boot=self.boot, wait_seconds=CLAIM_WAIT_SECONDS, seats=SEATS
                )
            except PilothouseError as error:
                log.warning("Claiming failed: %s", error.message, extra={"action": "claim_failed"})
                stop.wait(_CLAIM_AGAIN_SECONDS)
                continue
            if offer is not None:
                run_attempt(offer, around, asked_at=asked_at, stop=stop)
