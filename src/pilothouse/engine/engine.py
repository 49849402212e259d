"""The engine: the one writer, the ready heaps and the sweep of lost leases, behind the words a factory uses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self, TypeVar

from pilothouse.engine.changes import Changes
from pilothouse.engine.leases import Leases
from pilothouse.engine.ready import Ready, ReadyJob
from pilothouse.engine.writer import Writer
from pilothouse.errors import OperationFailed, StorageFailed
from pilothouse.fleet.claim import Claimant, Declined
from pilothouse.fleet.job import Job, NewJob, Progress, Report
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.operations.cancel import cancel
from pilothouse.operations.claim import claim
from pilothouse.operations.complete import complete
from pilothouse.operations.renew import renew
from pilothouse.operations.rescue import rescue, rescue_boot
from pilothouse.operations.start import start
from pilothouse.operations.submit import submit
from pilothouse.ports.clock import Clock
from pilothouse.ports.dispatch import Offer
from pilothouse.ports.store import Store, Transaction

SWEEPS_PER_LEASE = 3
CLOSE_SECONDS = 30.0

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Engine:
    """Implements `ports.dispatch.Dispatch` over a store; use it as a context, or call `open` and `close`.

    Whatever goes through `apply` keeps the ready heaps and the leases up to date by itself, also when the act submits
    or ends jobs as part of something larger. Only one engine may work on a database at a time.
    """

    def __init__(self, store: Store, clock: Clock, *, lease_seconds: float = 30.0) -> None:
        assert lease_seconds > 0, f"a lease lasts longer than nothing, got {lease_seconds}"
        self._store = store
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._ready = Ready()
        self._leases = Leases()
        self._changes = Changes()
        self._writer = Writer(store, settle=self._settle)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    # --- life

    def open(self) -> None:
        """Rebuild what is kept in memory by one scan, then start the writer and the sweeper."""
        assert not self._threads, "the engine is open already"
        with self._store.read() as tx:
            self._ready.note(tx.jobs.queued())
            self._leases.note(tx.jobs.leased())
        self._threads = [
            threading.Thread(target=self._writer.run, args=(self._stop,), name="pilothouse-writer", daemon=True),
            threading.Thread(target=self.run_sweeps, args=(self._stop,), name="pilothouse-sweeper", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Answer what was accepted, refuse what comes later, and wait for the threads; closing twice is harmless.

        Whoever waits for a job or for a change is sent home at once.
        """
        self._stop.set()
        self._writer.poke()
        self._ready.wake()
        self._changes.bump()
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)
            if thread.is_alive():
                raise OperationFailed(
                    f"the thread {thread.name} did not end within {CLOSE_SECONDS:g} s",
                    fix="look for a disk that hangs; the database is intact whenever the process ends",
                )

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- for whoever drives it

    def apply(self, act: Callable[[Transaction], T]) -> T:
        """Return what the act returned, once it is committed; raise what it raised, with nothing of it kept."""
        return self._writer.apply(act)

    def read(self) -> AbstractContextManager[Transaction]:
        """Begin a reading transaction: one consistent snapshot."""
        return self._store.read()

    @property
    def changes(self) -> int:
        """How often jobs have changed since the engine was made; the number to give to `wait_change`."""
        return self._changes.count

    def wait_change(self, seen: int, *, timeout_seconds: float) -> int:
        """Return the number of changes as soon as it differs from the one seen, or when the time is over."""
        return self._changes.wait(seen, timeout_seconds=timeout_seconds)

    def submit(self, new: NewJob) -> Job:
        """Return the job under this key; `KeyReused` when it has another spec."""
        return self.apply(lambda tx: submit(tx, new, now=self._clock.now()))

    def cancel(self, job: JobId) -> Job:
        """Return the job as cancelled; `Conflict` when it has ended otherwise."""
        return self.apply(lambda tx: cancel(tx, job, now=self._clock.now()))

    def rescue_boot(self, factory: FactoryName, boot: BootId) -> Sequence[Job]:
        """Return the jobs taken back from a boot of a factory that is known to be dead; no lease is waited for."""
        why = f"boot {boot} of factory {factory} is dead"
        return self.apply(lambda tx: rescue_boot(tx, factory=factory, boot=boot, why=why, now=self._clock.now()))

    # --- for a factory

    def claim(
        self,
        *,
        factory: FactoryName,
        boot: BootId,
        wait_seconds: float,
        pools: Collection[str] | None = None,
        seats: int | None = None,
    ) -> Offer | None:
        """Wait for a job of these pools that fits on this many free seats; None stands for any.

        The answer is None when the time is over first, or when the engine closes.
        """
        claimant = Claimant(factory=factory, boot=boot, seats=seats)
        deadline = self._clock.monotonic() + wait_seconds
        while not self._stop.is_set():
            seen = self._ready.arrivals
            while (entry := self._ready.take(pools=pools, seats=seats)) is not None:
                offer = self._try_claim(entry, claimant)
                if offer is not None:
                    return offer
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0 or not self._ready.wait(seen, timeout_seconds=remaining):
                break
        return None

    def start(self, job: JobId, *, epoch: Epoch, pid: int, pid_started: float) -> None:
        """Note that the attempt's process runs."""
        self.apply(lambda tx: start(tx, job, epoch=epoch, pid=pid, pid_started=pid_started, now=self._clock.now()))

    def renew(self, job: JobId, *, epoch: Epoch, progress: Progress | None) -> None:
        """Extend the lease and keep the last sign of life."""
        self.apply(
            lambda tx: renew(
                tx, job, epoch=epoch, progress=progress, lease_seconds=self._lease_seconds, now=self._clock.now()
            )
        )

    def complete(self, job: JobId, *, epoch: Epoch, report: Report) -> None:
        """Take in how the attempt ended; the same report may come again."""
        self.apply(lambda tx: complete(tx, job, epoch=epoch, report=report, now=self._clock.now()))

    # --- the sweep

    def run_sweeps(self, stop: threading.Event) -> None:
        """Sweep a few times per lease until stopped."""
        while not stop.wait(self._lease_seconds / SWEEPS_PER_LEASE):
            try:
                self.sweep()
            except StorageFailed as error:
                if not stop.is_set():
                    _log.warning("a sweep of lost leases failed: %s", error, extra={"action": "sweep_failed"})

    def sweep(self) -> Sequence[Job]:
        """Return the jobs taken back from holders whose leases have run out and who have missed several sweeps."""
        overdue = self._leases.sweep(now=self._clock.now())
        if not overdue:
            return []
        rescued = self.apply(
            lambda tx: [
                rescue(tx, lease.job, epoch=lease.epoch, why="its lease ran out", now=self._clock.now())
                for lease in overdue
            ]
        )
        for job in rescued:
            if job is not None:
                _log.warning("job %s was taken back at epoch %d", job.id, job.epoch, extra={"action": "job_rescued"})
        return [job for job in rescued if job is not None]

    # --- inside

    def _try_claim(self, entry: ReadyJob, claimant: Claimant) -> Offer | None:
        """Return the offer, or None when the entry was out of date; on an error the entry goes back."""
        try:
            answer = self.apply(
                lambda tx: claim(
                    tx, entry.job, claimant=claimant, lease_seconds=self._lease_seconds, now=self._clock.now()
                )
            )
        except BaseException:
            self._ready.put_back(entry)
            raise
        return None if isinstance(answer, Declined) else answer

    def _settle(self, touched: Sequence[Job]) -> None:
        """Take in what a commit has changed; a job may occur more than once, and its last state counts."""
        self._ready.note(touched)
        self._leases.note(touched)
        self._changes.bump()
