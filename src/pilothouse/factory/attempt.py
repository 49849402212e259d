"""One attempt from its offer to its report."""

from __future__ import annotations

import dataclasses
import errno
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from pilothouse.errors import (
    ArtifactDamaged,
    LeaseLost,
    OperationFailed,
    PilothouseError,
    StillPending,
    StorageFailed,
)
from pilothouse.factory.channel import EngineGone
from pilothouse.factory.collect import PromiseBroken, Summary, keep_artifacts, read_summary
from pilothouse.factory.prepare import Prepared, prepare
from pilothouse.factory.renewal import Renewal
from pilothouse.factory.watch import Halt, Watched, tail, watch
from pilothouse.fleet.job import Artifact, Outcome, Report
from pilothouse.ids import ArtifactDigest
from pilothouse.monitoring.diagnosis import Diagnosis, diagnose
from pilothouse.monitoring.observation import FinalWord, Observation, limits_of
from pilothouse.ports.blobs import Blobs
from pilothouse.ports.dispatch import Dispatch, Offer
from pilothouse.ports.launcher import Handle, Launcher, Order

ENGINE_GONE_GRACE_SECONDS = 5.0
"""The grace of a job whose engine is gone: enough for a small checkpoint, short enough for the next start to wait."""
_TELL_AGAIN_SECONDS = 0.5
_PASSING = (EngineGone, StorageFailed, StillPending)
"""What asking again may mend; any other refusal would come again until the lease is over."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every attempt of a factory works with.

    `home` holds the run folders, `work_folder` is where commands start, `gone` tells that the engine is gone, and
    `monotonic` gives the seconds by which leases, silence and timeouts are counted.
    """

    dispatch: Dispatch
    launcher: Launcher
    blobs: Blobs
    home: Path
    work_folder: Path
    gone: threading.Event
    monotonic: Callable[[], float]


def run_attempt(offer: Offer, around: Surroundings, *, asked_at: float, stop: threading.Event) -> None:
    """Run an offered job to its end and report it; `asked_at` is the monotonic time before the claim was asked for.

    Nothing is reported once the lease is lost or has run out: the job is another attempt's then.
    """
    job, epoch = offer.job.id, offer.job.epoch
    renewal = Renewal(
        around.dispatch,
        job=job,
        epoch=epoch,
        lease_seconds=offer.lease_seconds,
        asked_at=asked_at,
        monotonic=around.monotonic,
    )
    with renewal:
        report = _Attempt(offer, around, renewal=renewal, stop=stop).run()
    if report is None:
        log.warning("The attempt is dropped.", extra={"action": "attempt_dropped", "job": job, "epoch": epoch})
        return
    _tell(report, offer, around, renewal=renewal)


def _tell(report: Report, offer: Offer, around: Surroundings, *, renewal: Renewal) -> None:
    """Complete the attempt; a report that the engine refuses is replaced, once, by one that says so."""
    refused = _insist(lambda: _complete(report, offer, around), around, renewal=renewal)
    if refused is not None:
        instead = dataclasses.replace(
            report,
            outcome=Outcome.PROMISE_BROKEN,
            detail=f"the report ({report.outcome.value}) was refused: {refused.message}",
            metrics={},
            artifacts=(),
        )
        _insist(lambda: _complete(instead, offer, around), around, renewal=renewal)


def _complete(report: Report, offer: Offer, around: Surroundings) -> None:
    around.dispatch.complete(offer.job.id, epoch=offer.job.epoch, report=report)


def _insist(tell: Callable[[], None], around: Surroundings, *, renewal: Renewal) -> PilothouseError | None:
    """Tell the engine something that may come twice, again and again while the lease lasts; return what it refuses."""
    again = threading.Event()
    while not renewal.lost:
        try:
            tell()
        except LeaseLost as error:
            log.warning("%s", error.message, extra={"action": "lease_lost"})
        except _PASSING as error:
            log.warning("Telling the engine failed: %s", error.message, extra={"action": "tell_failed"})
            if renewal.left_seconds > 0 and not around.gone.is_set():
                again.wait(_TELL_AGAIN_SECONDS)
                continue
        except PilothouseError as error:
            log.warning("The engine refuses it: %s", error.message, extra={"action": "tell_refused"})
            return error
        return None
    return None


class _Attempt:
    """The steps of one attempt; each may end it with a report, or with None where nothing may be said."""

    def __init__(self, offer: Offer, around: Surroundings, *, renewal: Renewal, stop: threading.Event) -> None:
        self._offer = offer
        self._around = around
        self._renewal = renewal
        self._stop = stop
        self._launched_at = self._ended_at = around.monotonic()
        self._worried: Diagnosis | None = None
        self._start_told = False

    def run(self) -> Report | None:
        if self._stop.is_set():
            return self._report(Outcome.PREEMPTED, "the factory was stopped before the job started")
        try:
            prepared = prepare(self._offer, home=self._around.home, blobs=self._around.blobs, touch=self._renewal.touch)
            self._launched_at = self._ended_at = self._around.monotonic()
            handle = self._around.launcher.start(self._order(prepared))
        except ArtifactDamaged as error:
            damaged = ArtifactDigest(error.artifact)
            return dataclasses.replace(self._report(Outcome.INPUT_DAMAGED, error.message), damaged=damaged)
        except OperationFailed as error:
            return self._report(_refusal(error, otherwise=Outcome.LAUNCH_FAILED), f"{error.message} {error.fix}")
        try:
            return self._follow(handle, prepared)
        finally:
            # However the attempt is left, none of its processes stays behind.
            handle.stop(grace_seconds=0)

    def _order(self, prepared: Prepared) -> Order:
        return Order(
            command=self._offer.spec.command,
            cwd=self._around.work_folder,
            folder=prepared.folder,
            cookie=f"{self._offer.job.id}:{self._offer.job.epoch}",
        )

    def _follow(self, handle: Handle, prepared: Prepared) -> Report | None:
        try:
            self._tell_start(handle)
        except LeaseLost:
            return None
        except PilothouseError as error:
            # The program runs; it is told again before its end, since a job that nobody saw start may not succeed.
            log.warning("Telling the start failed: %s", error.message, extra={"action": "start_failed"})
        halt, watched = watch(
            handle,
            prepared.folder,
            worries=lambda seen: self._worry(seen, prepared),
            renewal=self._renewal,
            stop=self._stop,
            gone=self._around.gone,
            monotonic=self._around.monotonic,
        )
        exit_code = handle.stop(grace_seconds=self._grace(halt))
        self._ended_at = self._around.monotonic()
        watched.metrics.read()
        if watched.metrics.lines:
            # The last word on progress goes out while the artifacts are taken in.
            self._renewal.tell(watched.metrics.progress, at_once=True)
        if halt is Halt.ENGINE_GONE or not self._renewal.held:
            return None
        if not self._start_told:
            refused = _insist(lambda: self._tell_start(handle), self._around, renewal=self._renewal)
            if refused is not None:
                detail = f"the start was refused: {refused.message}"
                return self._report(Outcome.PROMISE_BROKEN, detail, exit_code=exit_code)
            if not self._start_told:
                return None
        stopped_for = Outcome.PREEMPTED if halt is Halt.STOPPED else self._worry_outcome
        return self._judge(handle, prepared, watched, exit_code=exit_code, stopped_for=stopped_for)

    def _tell_start(self, handle: Handle) -> None:
        job, epoch = self._offer.job.id, self._offer.job.epoch
        self._around.dispatch.start(job, epoch=epoch, pid=handle.pid, pid_started=handle.pid_started)
        self._start_told = True

    @property
    def _worry_outcome(self) -> Outcome | None:
        return None if self._worried is None else self._worried.outcome

    def _worry(self, watched: Watched, prepared: Prepared) -> bool:
        """Whether the running attempt has to be ended; the diagnosis is kept."""
        limits = limits_of(self._offer.spec)
        silent = watched.silent_seconds >= limits.silent_after_seconds
        seen = self._observe(watched, prepared, log_tail=tail(watched.log) if silent else "")
        self._worried = diagnose(seen, limits)
        return self._worried is not None

    def _observe(self, watched: Watched, prepared: Prepared, *, log_tail: str) -> Observation:
        return Observation(
            elapsed_seconds=watched.elapsed_seconds,
            silent_seconds=watched.silent_seconds,
            not_numbers=watched.metrics.not_numbers,
            resume_step=None if prepared.resume is None else prepared.resume.step,
            first_step=watched.metrics.first_step,
            log_tail=log_tail,
        )

    def _grace(self, halt: Halt) -> float:
        match halt:
            case Halt.EXITED | Halt.LEASE_LOST:
                return 0.0
            case Halt.ENGINE_GONE:
                return min(self._offer.spec.grace_seconds, ENGINE_GONE_GRACE_SECONDS)
            case Halt.STOPPED | Halt.WORRYING:
                return self._offer.spec.grace_seconds
            case _:
                assert_never(halt)

    def _judge(
        self,
        handle: Handle,
        prepared: Prepared,
        watched: Watched,
        *,
        exit_code: int | None,
        stopped_for: Outcome | None,
    ) -> Report:
        """Say how the ended attempt has ended; what it has made is kept only if it may count."""
        artifacts: tuple[Artifact, ...] = ()
        problem = ""
        summary = read_summary(prepared.folder)
        if summary is not None and exit_code == 0 and stopped_for in {None, Outcome.PREEMPTED}:
            try:
                artifacts = keep_artifacts(
                    summary, folder=prepared.folder, blobs=self._around.blobs, touch=self._renewal.touch
                )
            except PromiseBroken as error:
                problem = str(error)
            except StorageFailed as error:
                return self._report(Outcome.DISK_FULL, f"{error.message} {error.fix}", exit_code=exit_code)
        memory_gb = self._offer.spec.memory_gb
        seen = dataclasses.replace(
            self._observe(watched, prepared, log_tail=tail(watched.log)),
            ended=True,
            exit_code=exit_code,
            stopped_for=stopped_for,
            peak_memory_mb=handle.peak_memory_mb(),
            memory_limit_mb=memory_gb * 1024 if memory_gb else None,
            summary=None if summary is None else _final_word(summary, artifacts, problem),
        )
        diagnosis = diagnose(seen, limits_of(self._offer.spec))
        assert diagnosis is not None, f"an ended attempt has no diagnosis: {seen}"
        succeeded = diagnosis.outcome is Outcome.SUCCEEDED
        return self._report(
            diagnosis.outcome,
            diagnosis.detail if self._worried is None else f"{self._worried.detail}; {diagnosis.detail}",
            exit_code=exit_code,
            metrics={} if summary is None else summary.metrics,
            artifacts=artifacts if succeeded else (),
            peak_memory_mb=seen.peak_memory_mb,
            evidence=diagnosis.evidence,
        )

    def _report(
        self,
        outcome: Outcome,
        detail: str,
        *,
        exit_code: int | None = None,
        metrics: Mapping[str, float] | None = None,
        artifacts: tuple[Artifact, ...] = (),
        peak_memory_mb: float | None = None,
        evidence: str = "",
    ) -> Report:
        return Report(
            outcome=outcome,
            detail=detail,
            exit_code=exit_code,
            metrics=metrics or {},
            artifacts=artifacts,
            seconds=self._ended_at - self._launched_at,
            peak_memory_mb=peak_memory_mb,
            evidence=evidence,
        )


def _final_word(summary: Summary, artifacts: tuple[Artifact, ...], problem: str) -> FinalWord:
    return FinalWord(
        metrics=summary.metrics,
        artifacts=frozenset(artifact.name for artifact in artifacts),
        problem=summary.problem or problem,
    )


def _refusal(error: OperationFailed, *, otherwise: Outcome) -> Outcome:
    cause = error.__cause__
    return Outcome.DISK_FULL if isinstance(cause, OSError) and cause.errno in _FULL else otherwise
