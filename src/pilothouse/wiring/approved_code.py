"""The engine as the factory of a campaign's own machine sees it: it is handed no ferry whose code nobody approved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from pilothouse.engine.engine import Engine
from pilothouse.errors import LeaseLost, PilothouseError
from pilothouse.fleet.job import Report
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.operations.approved_code import approved_commit, code_changed
from pilothouse.ports.dispatch import Beat, Dispatch, Held, Offer


class ApprovedCode(Dispatch):
    """Asks `present` for the commit of the folder at each claim of a ferry's run, and ends one that has changed.

    The claim is where every attempt begins, however it came to be: by a launch, a restart, or a kill.
    """

    def __init__(self, engine: Engine, present: Callable[[], str]) -> None:
        self._engine = engine
        self._present = present

    def claim(
        self,
        *,
        factory: FactoryName,
        boot: BootId,
        wait_seconds: float,
        seats: int,
        held: Collection[tuple[JobId, Epoch]] = (),
        pools: Collection[str] | None = None,
        jobs: int = 1,
    ) -> Sequence[Offer]:
        """Return what may run; the rest has ended, and the loop that waits for it is told why."""
        offers = self._engine.claim(
            factory=factory, boot=boot, wait_seconds=wait_seconds, seats=seats, held=held, pools=pools, jobs=jobs
        )
        return [offer for offer in offers if self._may_run(offer)]

    def start(self, job: JobId, *, epoch: Epoch, pid: int, pid_started: float, resume_step: int | None = None) -> None:
        """Tell the engine."""
        self._engine.start(job, epoch=epoch, pid=pid, pid_started=pid_started, resume_step=resume_step)

    def beat(self, *, factory: FactoryName, boot: BootId, held: Sequence[Held]) -> Beat:
        """Ask the engine."""
        return self._engine.beat(factory=factory, boot=boot, held=held)

    def complete(self, job: JobId, *, epoch: Epoch, report: Report) -> None:
        """Tell the engine."""
        self._engine.complete(job, epoch=epoch, report=report)

    def _may_run(self, offer: Offer) -> bool:
        with self._engine.read() as tx:
            approved = approved_commit(tx, offer)
        if approved is None:
            return True
        try:
            present = self._present()
        except PilothouseError as error:
            present = f"unknown ({error.message})"
        if present == approved:
            return True
        # Whoever ended it meanwhile was first; a lost lease within a claim would end the factory's whole session.
        with suppress(LeaseLost):
            self._engine.complete(offer.job, epoch=offer.epoch, report=code_changed(approved, present))
        return False
