"""One attempt from its offer to its report."""

from __future__ import annotations

import dataclasses
import errno
import functools
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from pilothouse.campaigns.record import RUN_KINDS
from pilothouse.errors import ArtifactDamaged, CheckpointMissing, OperationFailed, PilothouseError, StorageFailed
from pilothouse.factory.collect import PromiseBroken, Summary, keep_artifacts, read_summary, with_curve
from pilothouse.factory.command import CapabilityMissing, Engines, NoEngine, check_requirements, order_of
from pilothouse.factory.gpus import GpuPool
from pilothouse.factory.heart import Hold
from pilothouse.factory.prepare import Prepared, prepare
from pilothouse.factory.telling import Interrupted, Telling
from pilothouse.factory.transfer import Transfer
from pilothouse.factory.watch import Halt, Watched, last_lines, tail, watch
from pilothouse.fleet import capability
from pilothouse.fleet.job import Artifact, Cost, JobSpec, Outcome, Report
from pilothouse.ids import ArtifactDigest
from pilothouse.monitoring.diagnosis import Diagnosis, diagnose
from pilothouse.monitoring.observation import FinalWord, Observation, limits_of
from pilothouse.ports.blobs import Blobs
from pilothouse.ports.dispatch import Dispatch, Offer
from pilothouse.ports.launcher import Handle, Launcher, Order
from pilothouse.trainer.folder import LOG_FILE

ENGINE_GONE_GRACE_SECONDS = 5.0
"""The grace of a job whose engine is gone: enough for a small checkpoint, short enough for the next start to wait."""
START_AGAIN_SECONDS = 5.0
"""How long after a start that could not be told it is told again."""
_SETTLE_SECONDS = 2.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every attempt of a factory works with.

    `home` holds the run folders, `work_folder` is where commands start, `gone` tells that the engine is gone, and
    `monotonic` gives the seconds by which leases, silence and timeouts are counted. `engines` are command words by
    name. `abilities` tells what the machine has; without it nothing is checked here. A factory whose blobs are not the
    engine's own has a `transfer` between the two. `gpus` hands out the machine's GPUs.
    """

    dispatch: Dispatch
    launcher: Launcher
    blobs: Blobs
    home: Path
    work_folder: Path
    gone: threading.Event
    monotonic: Callable[[], float]
    engines: Engines = field(default_factory=dict)
    abilities: Callable[[], capability.Offer] | None = None
    transfer: Transfer | None = None
    gpus: GpuPool | None = None


class Attempt:
    """The steps of one attempt; each may end it with a report, or with None where nothing may be said.

    `run` belongs to the thread that starts the program and watches it, `bury` to the one that ends what hangs.
    """

    def __init__(self, offer: Offer, around: Surroundings, *, stop: threading.Event) -> None:
        self.offer = offer
        self._around = around
        self._stop = stop
        self._handle: Handle | None = None
        self._launched_at = self._ended_at = around.monotonic()
        self._worried: Diagnosis | None = None
        self._start_told = False
        self._start_told_at = 0.0

    def run(self, hold: Hold) -> None:
        """Run the job to its end and report it, and hold it no more once that has arrived.

        Nothing is reported of an attempt that is lost, nor of one that another thread has buried.
        """
        self._hold = hold
        self._telling = self._telling_of(hold)
        try:
            report = self._report_of_any_end()
        except OperationFailed as error:
            # A process does not end: the attempt may not be given to anybody else yet, so it stays held.
            log.exception("%s", error.message, extra={"action": "attempt_stuck", "job": hold.job})
            return
        if hold.buried:
            return
        if report is not None:
            hold.settle(_SETTLE_SECONDS)
        if report is None or not self._telling.end(report).arrived:
            named = {"action": "attempt_dropped", "job": hold.job, "epoch": hold.epoch}
            log.warning("The attempt is dropped.", extra=named)
        hold.release()

    def bury(self, hold: Hold) -> None:
        """End the processes of an attempt whose own thread hangs, and report it as lost to the infrastructure."""
        try:
            if self._handle is not None:
                self._handle.stop(grace_seconds=0)
        except OperationFailed as error:
            log.exception("%s", error.message, extra={"action": "attempt_stuck", "job": hold.job})
            return
        detail = "the factory's thread for it hung, on a disk or a network that did not answer"
        self._telling_of(hold).end(self._report(Outcome.LOST, detail))
        hold.lose()
        hold.release()

    def _telling_of(self, hold: Hold) -> Telling:
        return Telling(self.offer, self._around.dispatch, hold=hold, stop=self._stop, gone=self._around.gone)

    def _report_of_any_end(self) -> Report | None:
        try:
            return self._run()
        except OperationFailed:
            raise
        except Exception as error:  # the thread's edge: whatever it is, the engine must hear of the attempt's end
            log.exception("The attempt met a fault of the factory.", extra={"action": "attempt_failed"})
            return self._report(Outcome.LOST, f"a fault of the factory: {error!r}")

    def _run(self) -> Report | None:
        """Run the job with the GPUs that it asked for, which are free again once no process of it is left."""
        gpus = self._around.gpus or GpuPool(tuple)
        try:
            with gpus.taken(self.offer.spec.gpus) as variables:
                return self._run_with(variables)
        except CapabilityMissing as error:
            return self._report(Outcome.CAPABILITY_MISMATCH, f"{error.message} {error.fix}")

    def _run_with(self, variables: Mapping[str, str]) -> Report | None:
        ended = self._over_before_launch()
        if ended is not None:
            return ended
        try:
            if self._around.abilities is not None and self.offer.spec.requires:
                check_requirements(self.offer.spec, self._around.abilities())
            prepared, order = self._prepare()
            ended = self._over_before_launch()
            if ended is not None or self._hold.lost:
                return ended
            self._launched_at = self._ended_at = self._around.monotonic()
            order = dataclasses.replace(order, variables=variables)
            handle = self._handle = self._launch(order)
        except ArtifactDamaged as error:
            damaged = ArtifactDigest(error.artifact)
            return dataclasses.replace(self._report(Outcome.INPUT_DAMAGED, error.message), damaged=damaged)
        except CapabilityMissing:
            raise
        except PilothouseError as error:
            return self._report(self._refusal(error), f"{error.message} {error.fix}")
        try:
            return self._follow(handle, prepared, order)
        finally:
            # However the attempt is left, none of its processes stays behind.
            handle.stop(grace_seconds=0)

    def _prepare(self) -> tuple[Prepared, Order]:
        around = self._around
        fetch = None if around.transfer is None else functools.partial(self._fetch, around.transfer)
        prepared = prepare(self.offer, home=around.home, blobs=around.blobs, touch=self._hold.touch, fetch=fetch)
        order = order_of(self.offer, prepared.folder, work_folder=around.work_folder, engines=around.engines)
        return prepared, order

    def _fetch(self, transfer: Transfer, digest: ArtifactDigest) -> None:
        self._telling.fetch(transfer, digest, touch=self._hold.touch)

    def _launch(self, order: Order) -> Handle:
        try:
            return self._around.launcher.start(order)
        except StorageFailed:
            raise
        except OperationFailed as error:
            if self.offer.spec.command:
                raise
            raise NoEngine(error.message, fix=error.fix) from error.__cause__

    def _over_before_launch(self) -> Report | None:
        """Return the end of an attempt that need not be started any more."""
        order = self._hold.stop_order
        if order is not None or self._stop.is_set():
            why = f": {order.why}" if order is not None and order.why else ""
            return self._report(Outcome.PREEMPTED, f"asked to stop before the job started{why}")
        if self._hold.expired:
            return self._report(Outcome.LOST, "the lease ran out before the job started")
        return None

    def _refusal(self, error: PilothouseError) -> Outcome:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return Outcome.DISK_FULL
        if isinstance(error, Interrupted):
            return Outcome.LOST
        if isinstance(error, NoEngine):
            return Outcome.NO_ENGINE
        if isinstance(error, CheckpointMissing):
            return Outcome.CHECKPOINT_MISSING
        return Outcome.LAUNCH_FAILED

    def _follow(self, handle: Handle, prepared: Prepared, order: Order) -> Report | None:
        self._tell_start(handle, prepared, insist=False)
        halt, watched = self._watch(handle, prepared, worries=lambda seen: self._worry(handle, seen, prepared))
        exit_code = handle.stop(grace_seconds=self._grace(halt))
        self._ended_at = self._around.monotonic()
        if watched.read_last() and watched.progress is not None:
            self._hold.tell(watched.progress)
        # The last word on progress goes out while the artifacts are taken in, whoever has read it.
        self._hold.hasten()
        if halt in {Halt.ENGINE_GONE, Halt.LEASE_OVER} or self._hold.lost:
            return self._interrupted(halt, "while the program ran: no beat was answered", exit_code=exit_code)
        refused = self._tell_start(handle, prepared, insist=True)
        if refused is not None:
            detail = f"the start was refused: {refused.message}"
            return self._report(Outcome.PROMISE_BROKEN, detail, exit_code=exit_code)
        if not self._start_told:
            return None
        stopped_for = Outcome.PREEMPTED if halt is Halt.STOPPED else self._worry_outcome
        report = self._judge(handle, prepared, watched, exit_code=exit_code, stopped_for=stopped_for)
        if report is not None and report.outcome is Outcome.SUCCEEDED and self.offer.spec.verify:
            return self._verify(report, prepared, order)
        return report

    def _watch(self, handle: Handle, prepared: Prepared, *, worries: Callable[[Watched], bool]) -> tuple[Halt, Watched]:
        return watch(
            handle,
            prepared.folder,
            resume_step=prepared.resume_step,
            worries=worries,
            hold=self._hold,
            stop=self._stop,
            gone=self._around.gone,
            monotonic=self._around.monotonic,
        )

    def _tell_start(self, handle: Handle, prepared: Prepared, *, insist: bool) -> PilothouseError | None:
        """Tell the start unless it is known; a job that nobody saw start may not succeed. Return what is refused."""
        if self._start_told:
            return None
        told = self._telling.start(handle, resume_step=prepared.resume_step, insist=insist)
        self._start_told, self._start_told_at = told.arrived, self._around.monotonic()
        return told.refused

    @property
    def _worry_outcome(self) -> Outcome | None:
        return None if self._worried is None else self._worried.outcome

    def _worry(self, handle: Handle, watched: Watched, prepared: Prepared) -> bool:
        """Whether the running attempt has to be ended; the diagnosis is kept."""
        if watched.now - self._start_told_at >= START_AGAIN_SECONDS:
            self._tell_start(handle, prepared, insist=False)
        limits = limits_of(self.offer.spec)
        silent = watched.silent_seconds >= limits.silent_after_seconds
        seen = self._observe(watched, prepared, log_tail=tail(watched.log) if silent else "")
        self._worried = diagnose(seen, limits)
        return self._worried is not None

    def _observe(self, watched: Watched, prepared: Prepared, *, log_tail: str) -> Observation:
        return Observation(
            elapsed_seconds=watched.elapsed_seconds,
            silent_seconds=watched.silent_seconds,
            not_numbers=watched.metrics.not_numbers,
            ran_away=watched.metrics.ran_away,
            spans=watched.metrics.spans,
            resume_step=prepared.resume_step,
            first_step=watched.metrics.first_step,
            log_tail=log_tail,
        )

    def _grace(self, halt: Halt) -> float:
        grace = self.offer.spec.grace_seconds
        match halt:
            case Halt.EXITED | Halt.LEASE_OVER:
                return 0.0
            case Halt.ENGINE_GONE:
                return min(grace, ENGINE_GONE_GRACE_SECONDS)
            case Halt.WORRYING:
                return grace
            case Halt.STOPPED:
                order = self._hold.stop_order
                left = grace if order is None else order.until - self._around.monotonic()
                return max(0.0, min(grace, left))
            case _:
                assert_never(halt)

    def _verify(self, report: Report, prepared: Prepared, order: Order) -> Report | None:
        """Run the job's own check of its work, in the time that is left; its failure is the attempt's."""
        left = self.offer.spec.timeout_seconds - (self._around.monotonic() - self._launched_at)
        check = dataclasses.replace(order, command=self.offer.spec.verify, stdin=None)
        try:
            handle = self._handle = self._around.launcher.start(check)
        except OperationFailed as error:
            return self._unverified(report, f"{error.message} {error.fix}", prepared)
        try:
            halt, _ = self._watch(handle, prepared, worries=lambda seen: seen.elapsed_seconds >= left)
            code = handle.stop(grace_seconds=self._grace(halt))
        finally:
            handle.stop(grace_seconds=0)
        self._ended_at = self._around.monotonic()
        if halt is Halt.WORRYING:
            return self._unverified(report, f"the verification ran out of the {left:.0f} s that were left", prepared)
        if halt is Halt.EXITED and code != 0:
            return self._unverified(report, f"the verification ended with exit code {code}", prepared)
        if halt is not Halt.EXITED:
            return self._interrupted(halt, "during the verification", exit_code=code)
        return dataclasses.replace(report, seconds=self._seconds)

    def _interrupted(self, halt: Halt, when: str, *, exit_code: int | None) -> Report | None:
        """Say that the attempt was ended from outside, if anything may be said of it."""
        if halt is Halt.ENGINE_GONE or self._hold.lost:
            return None
        if halt is Halt.LEASE_OVER:
            return self._report(Outcome.LOST, f"the lease ran out {when}", exit_code=exit_code)
        return self._report(Outcome.PREEMPTED, f"preempted {when}", exit_code=exit_code)

    def _unverified(self, report: Report, detail: str, prepared: Prepared) -> Report:
        return dataclasses.replace(
            report,
            outcome=Outcome.VERIFY_FAILED,
            detail=detail,
            artifacts=(),
            seconds=self._seconds,
            evidence=last_lines(tail(prepared.folder / LOG_FILE)),
        )

    def _judge(
        self,
        handle: Handle,
        prepared: Prepared,
        watched: Watched,
        *,
        exit_code: int | None,
        stopped_for: Outcome | None,
    ) -> Report | None:
        """Say how the ended attempt has ended; what it has made is kept only if it may count."""
        artifacts: tuple[Artifact, ...] = ()
        problem = ""
        summary = read_summary(prepared.folder)
        if summary is None and stopped_for is None and not summary_needed(self.offer.spec):
            summary = Summary()
        if summary is not None and exit_code == 0 and stopped_for in {None, Outcome.PREEMPTED}:
            if self.offer.spec.kind in RUN_KINDS:
                summary = with_curve(summary, prepared.folder)
            try:
                artifacts = self._keep(summary, prepared)
            except Interrupted:
                return None
            except PromiseBroken as error:
                problem = str(error)
            except StorageFailed as error:
                return self._report(Outcome.DISK_FULL, f"{error.message} {error.fix}", exit_code=exit_code)
        memory_gb = self.offer.spec.memory_gb
        seen = dataclasses.replace(
            self._observe(watched, prepared, log_tail=tail(watched.log)),
            ended=True,
            exit_code=exit_code,
            stopped_for=stopped_for,
            peak_memory_mb=handle.peak_memory_mb(),
            memory_limit_mb=memory_gb * 1024 if memory_gb else None,
            summary=None if summary is None else _final_word(summary, artifacts, problem),
        )
        diagnosis = diagnose(seen, limits_of(self.offer.spec))
        assert diagnosis is not None, f"an ended attempt has no diagnosis: {seen}"
        return dataclasses.replace(
            self._report(diagnosis.outcome, self._detail(diagnosis), exit_code=exit_code),
            metrics={} if summary is None else summary.metrics,
            artifacts=artifacts if diagnosis.outcome is Outcome.SUCCEEDED else (),
            peak_memory_mb=seen.peak_memory_mb,
            evidence=diagnosis.evidence,
            cost=Cost() if summary is None else summary.cost,
        )

    def _keep(self, summary: Summary, prepared: Prepared) -> tuple[Artifact, ...]:
        """Take the artifacts in, and give them to the engine's own blobs where those are elsewhere.

        Raises PromiseBroken for one that cannot be taken, Interrupted if nobody wants them any more.
        """
        artifacts = keep_artifacts(summary, folder=prepared.folder, blobs=self._around.blobs, touch=self._hold.touch)
        transfer = self._around.transfer
        if transfer is None:
            return artifacts
        for artifact in artifacts:
            told = self._telling.send(transfer, artifact, touch=self._hold.touch)
            if told.refused is not None:
                raise PromiseBroken(f"artifact {artifact.name!r}: {told.refused.message}")
            if not told.arrived:
                raise Interrupted(f"The attempt of {self.offer.job} is over.", fix="nothing; it is claimed again.")
        return artifacts

    def _detail(self, diagnosis: Diagnosis) -> str:
        if self._worried is not None:
            return f"{self._worried.detail}; {diagnosis.detail}"
        order = self._hold.stop_order
        if diagnosis.outcome is Outcome.PREEMPTED and order is not None and order.why:
            return f"{diagnosis.detail}; {order.why}"
        return diagnosis.detail

    @property
    def _seconds(self) -> float:
        return self._ended_at - self._launched_at

    def _report(self, outcome: Outcome, detail: str, *, exit_code: int | None = None) -> Report:
        return Report(
            outcome=outcome, detail=detail, exit_code=exit_code, metrics={}, artifacts=(), seconds=self._seconds
        )


def summary_needed(spec: JobSpec) -> bool:
    """Whether a job that exits 0 has to leave a summary: it promised something, or is a campaign's own program.

    A plain command and an engine's task know nothing of run folders; for them the exit code is the last word.
    """
    return bool(spec.metrics or spec.artifacts or (spec.campaign and spec.command))


def _final_word(summary: Summary, artifacts: tuple[Artifact, ...], problem: str) -> FinalWord:
    return FinalWord(
        metrics=summary.metrics,
        artifacts=frozenset(artifact.name for artifact in artifacts),
        problem=summary.problem or problem,
    )
