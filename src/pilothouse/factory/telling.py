"""Telling the engine of an attempt's start and end, again and again until it knows."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pilothouse.errors import LeaseLost, OperationFailed, PilothouseError, StillPending, StorageFailed, Unreachable
from pilothouse.factory.channel import EngineGone
from pilothouse.factory.heart import Hold
from pilothouse.factory.transfer import Transfer
from pilothouse.fleet.job import Artifact, Outcome, Report
from pilothouse.ids import ArtifactDigest
from pilothouse.ports.dispatch import Dispatch, Offer
from pilothouse.ports.launcher import Handle

TELL_AGAIN_SECONDS = 0.5
_AWAY = (EngineGone, Unreachable, StillPending)
PASSING = (*_AWAY, StorageFailed)
"""What asking again may mend; any other refusal would come again."""

log = logging.getLogger(__name__)


class Interrupted(OperationFailed):
    """The attempt was over before what it needed had come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What came of telling: it arrived, or it was refused, or neither, and nobody is to be told any more."""

    arrived: bool = False
    refused: PilothouseError | None = None


class Telling:
    """Says how one attempt began and ended.

    It goes on asking for as long as anybody may still want to know: while the attempt is not lost and the engine is
    not gone; a factory that is leaving waits for it only while its lease lasts. That a lease has expired is no reason
    to be silent: the epoch fences, and work that was done is not lost because the engine was away.
    """

    def __init__(
        self, offer: Offer, dispatch: Dispatch, *, hold: Hold, stop: threading.Event, gone: threading.Event
    ) -> None:
        self._offer = offer
        self._dispatch = dispatch
        self._hold = hold
        self._stop = stop
        self._gone = gone

    def start(self, handle: Handle, *, resume_step: int | None, insist: bool) -> Told:
        """Tell that the attempt runs, as which process and from which step on: once, or until it has arrived."""
        return self._say(
            lambda: self._dispatch.start(
                self._offer.job,
                epoch=self._offer.epoch,
                pid=handle.pid,
                pid_started=handle.pid_started,
                resume_step=resume_step,
            ),
            insist=insist,
        )

    def send(self, transfer: Transfer, artifact: Artifact, *, touch: Callable[[], None]) -> Told:
        """Give the engine's own blobs what the attempt has made."""
        job, epoch = self._offer.job, self._offer.epoch
        return self._say(
            lambda: transfer.send(job, epoch=epoch, name=artifact.name, digest=artifact.digest, touch=touch),
            insist=True,
        )

    def fetch(self, transfer: Transfer, digest: ArtifactDigest, *, touch: Callable[[], None]) -> None:
        """Bring an input here; raises what is refused, and Interrupted if the attempt is over before it came."""
        told = self._say(lambda: transfer.fetch(digest, touch=touch), insist=True, passing=_AWAY)
        if told.refused is not None:
            raise told.refused
        if not told.arrived:
            raise Interrupted("The attempt was over before its inputs had come.", fix="nothing; it is claimed again.")

    def end(self, report: Report) -> Told:
        """Complete the attempt; a report that the engine refuses is replaced, once, by one that says so."""
        told = self._say(lambda: self._complete(report), insist=True)
        if told.refused is None:
            return told
        instead = dataclasses.replace(
            report,
            outcome=Outcome.PROMISE_BROKEN,
            detail=f"the report ({report.outcome.value}) was refused: {told.refused.message}",
            metrics={},
            artifacts=(),
        )
        return self._say(lambda: self._complete(instead), insist=True)

    def _complete(self, report: Report) -> None:
        self._dispatch.complete(self._offer.job, epoch=self._offer.epoch, report=report)

    @property
    def _wanted(self) -> bool:
        if self._hold.lost or self._gone.is_set():
            return False
        return not (self._stop.is_set() and self._hold.expired)

    def _say(
        self, tell: Callable[[], None], *, insist: bool, passing: tuple[type[PilothouseError], ...] = PASSING
    ) -> Told:
        again = threading.Event()
        named = {"job": self._offer.job, "epoch": self._offer.epoch}
        while not self._hold.lost:
            try:
                tell()
            except LeaseLost as error:
                log.warning("%s", error.message, extra={"action": "lease_lost", **named})
                self._hold.lose()
            except passing as error:
                log.warning("Telling the engine failed: %s", error.message, extra={"action": "tell_failed", **named})
                if insist and self._wanted:
                    again.wait(TELL_AGAIN_SECONDS)
                    continue
            except PilothouseError as error:
                log.warning("The engine refuses it: %s", error.message, extra={"action": "tell_refused", **named})
                return Told(refused=error)
            else:
                return Told(arrived=True)
            return Told()
        return Told()
