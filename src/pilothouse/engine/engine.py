"""The engine: the scheduler on a thread of its own, behind the words that a factory, a campaign and a server use."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from pilothouse.canonical import Json
from pilothouse.engine.changes import Changes
from pilothouse.engine.commands import Act, Claim, Command, Complete, Ended, Heartbeat, Look, Patience
from pilothouse.engine.memory import LEASE_SECONDS
from pilothouse.engine.scheduler import Scheduler
from pilothouse.engine.writer import ANSWER_SECONDS, Writer
from pilothouse.errors import OperationFailed
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.job import Job, NewJob, Report
from pilothouse.fleet.wire import spec_from_json
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.operations.cancel import cancel
from pilothouse.operations.claim import Handover
from pilothouse.operations.rescue import rescue_session
from pilothouse.operations.start import start
from pilothouse.operations.submit import submit
from pilothouse.ports.clock import Clock
from pilothouse.ports.dispatch import Beat, Held, Offer
from pilothouse.ports.store import Store, Transaction

if TYPE_CHECKING:
    from datetime import datetime

CLOSE_SECONDS = 30.0

T = TypeVar("T")
Answer: TypeAlias = Coroutine[Any, Any, T]
"""What is awaited for an answer."""


class Engine:
    """Implements `ports.dispatch.Dispatch` over a store; use it as a context, or call `open` and `close`.

    Whatever goes through `apply` keeps the board up to date by itself, also when the act submits or ends jobs as part
    of something larger. Only one engine may work on a database at a time. Methods whose names end in `_async` are for
    coroutines; all others block their thread.
    """

    def __init__(self, store: Store, clock: Clock, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._store = store
        self._clock = clock
        self._scheduler = Scheduler(store, clock, lease_seconds=lease_seconds)
        self._lease_seconds = lease_seconds
        self._changes = Changes()
        self._writer = Writer(self._scheduler, clock, settled=self._changes.bump)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._patience: Patience | None = None

    # --- life

    def open(self) -> None:
        """Rebuild what is kept in memory by one scan, then start the writer."""
        assert self._thread is None, "the engine is open already"
        self._scheduler.load()
        self._thread = threading.Thread(
            target=self._writer.run, args=(self._stop,), name="pilothouse-writer", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer what was accepted, refuse what comes later, and wait for the thread; closing twice is harmless.

        Whoever waits for a job or for a change is sent home at once.
        """
        self._stop.set()
        self._writer.poke()
        self._changes.bump()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                raise OperationFailed(
                    f"the thread {self._thread.name} did not end within {CLOSE_SECONDS:g} s",
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
        return self._writer.ask(Act(act))

    def apply_async(self, act: Callable[[Transaction], T]) -> Answer[T]:
        """Return what the act returned, once it is committed; raise what it raised, with nothing of it kept."""
        return self._ask(Act(act))

    def look(self, look: Callable[[Scheduler], T]) -> T:
        """Return what is read from the engine's memory; the scheduler must not be kept."""
        return self._writer.ask(Look(look))

    def look_async(self, look: Callable[[Scheduler], T]) -> Answer[T]:
        """Return what is read from the engine's memory; the scheduler must not be kept."""
        return self._ask(Look(look))

    def read(self) -> AbstractContextManager[Transaction]:
        """Begin a reading transaction: one consistent snapshot."""
        return self._store.read()

    def now(self) -> datetime:
        """Return the engine's time, the only time of record."""
        return self._clock.now()

    @property
    def clock(self) -> Clock:
        """The engine's clock."""
        return self._clock

    @property
    def changes(self) -> int:
        """How often jobs have changed since the engine was made; the number to give to `wait_change`."""
        return self._changes.count

    def wait_change(self, seen: int, *, timeout_seconds: float) -> int:
        """Return the number of changes as soon as it differs from the one seen, or when the time is over."""
        return self._changes.wait(seen, timeout_seconds=timeout_seconds)

    def submit(self, new: NewJob) -> Job:
        """Return the job under this key; `KeyReused` when it has started with another spec."""
        return self.apply(lambda tx: submit(tx, new, now=self._clock.now()))

    def cancel(self, job: JobId) -> Job:
        """Return the job as cancelled; `Conflict` when it has ended otherwise."""
        return self.apply(lambda tx: cancel(tx, job, now=self._clock.now()))

    def enrol(self, factory: Factory) -> None:
        """Keep a factory, or what has changed about it; from now on it may claim."""
        self.apply(lambda tx: tx.factories.put(factory, now=self._clock.now()))

    def rescue_boot(self, factory: FactoryName, boot: BootId) -> Sequence[Job]:
        """Return the jobs taken back from a boot of a factory that is known to be dead; no lease is waited for."""
        place = self.look(lambda scheduler: scheduler.roster.find(factory, boot))
        if place is None:
            return ()
        why = f"boot {boot} of factory {factory} is dead"

        def act(tx: Transaction) -> Sequence[Job]:
            rescued = rescue_session(tx, place.session, why=why, now=self._clock.now(), held=list(place.held))
            # In the same turn: a claim of that boot that still waits would be given what was just taken back from it.
            self._scheduler.roster.close(place.session)
            return rescued

        return self.apply(act)

    # --- for a factory

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
        """Wait for at most `jobs` jobs of these pools that fit together on this many free seats; None is any pool.

        The answer is empty when the time is over first, or when the engine closes.
        """
        command = self._claim(
            factory, boot, wait_seconds=wait_seconds, seats=seats, held=held, pools=pools, jobs=jobs, weights=None
        )
        handovers = self._writer.ask(command, timeout_seconds=wait_seconds + ANSWER_SECONDS)
        return [self.offer(handover) for handover in handovers]

    def claim_async(
        self,
        *,
        factory: FactoryName,
        boot: BootId,
        wait_seconds: float,
        seats: int,
        held: Collection[tuple[JobId, Epoch]] = (),
        pools: Collection[str] | None = None,
        jobs: int = 1,
        weights: Mapping[str, Json] | None = None,
    ) -> Answer[Sequence[Handover]]:
        """Wait for at most `jobs` jobs, as `claim` does; what is handed over keeps its spec as text."""
        command = self._claim(
            factory, boot, wait_seconds=wait_seconds, seats=seats, held=held, pools=pools, jobs=jobs, weights=weights
        )
        return self._ask(command, timeout_seconds=wait_seconds + ANSWER_SECONDS)

    def _claim(
        self,
        factory: FactoryName,
        boot: BootId,
        *,
        wait_seconds: float,
        seats: int,
        held: Collection[tuple[JobId, Epoch]],
        pools: Collection[str] | None,
        jobs: int,
        weights: Mapping[str, Json] | None,
    ) -> Claim:
        return Claim(
            factory=factory,
            boot=boot,
            seats=seats,
            deadline=self._clock.monotonic() + wait_seconds,
            held=held,
            pools=pools,
            jobs=jobs,
            weights=weights,
        )

    def offer(self, handover: Handover) -> Offer:
        """Return an offer with its spec decoded."""
        return Offer(
            job=handover.job,
            epoch=handover.epoch,
            product=handover.product,
            key=handover.key,
            spec=spec_from_json(json.loads(handover.spec)),
            folder=handover.folder,
            lease_seconds=self._lease_seconds,
            earlier_folders=handover.earlier_folders,
            least=handover.least,
        )

    @property
    def lease_seconds(self) -> float:
        """How long a session outlives its last beat."""
        return self._lease_seconds

    def start(self, job: JobId, *, epoch: Epoch, pid: int, pid_started: float, resume_step: int | None = None) -> None:
        """Note that the attempt's process runs, and from which step on."""
        now = self._clock.now()
        self.apply(
            lambda tx: start(tx, job, epoch=epoch, pid=pid, pid_started=pid_started, now=now, resume_step=resume_step)
        )

    def beat(self, *, factory: FactoryName, boot: BootId, held: Sequence[Held]) -> Beat:
        """Renew every lease of the factory and keep the signs of life; return what it has to do."""
        return self._writer.ask(Heartbeat(factory=factory, boot=boot, held=held))

    def beat_async(self, *, factory: FactoryName, boot: BootId, held: Sequence[Held]) -> Answer[Beat]:
        """Renew every lease of the factory and keep the signs of life; return what it has to do."""
        return self._ask(Heartbeat(factory=factory, boot=boot, held=held))

    def complete(self, job: JobId, *, epoch: Epoch, report: Report) -> None:
        """Take in how the attempt ended; the same report may come again."""
        refusal = self._writer.ask(Complete([(job, epoch, report)]))[0]
        if refusal is not None:
            raise refusal

    def complete_async(
        self, ended: Sequence[Ended], *, factory: FactoryName | None = None
    ) -> Answer[Sequence[Exception | None]]:
        """Take in how attempts ended; return None for each that was taken in, and the refusal of each that was not.

        With a factory named, only what that factory holds is taken in.
        """
        return self._ask(Complete(ended, factory=factory))

    # --- inside

    async def _ask(self, command: Command[T], *, timeout_seconds: float = ANSWER_SECONDS) -> T:
        loop = asyncio.get_running_loop()
        patience = self._patience
        if patience is None or patience.loop is not loop:
            patience = self._patience = Patience(loop)
        command.attach(loop)
        self._writer.put(command)
        patience.begin(command, seconds=timeout_seconds)
        try:
            return await command
        finally:
            patience.end(command)
