"""A scheduler over a real store in memory, driven by one command after the other, and what it keeps in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from pilothouse.engine.commands import Act, Asked, Claim, Command, Complete, Heartbeat, Look
from pilothouse.engine.preempting import Preemption
from pilothouse.engine.scheduler import Scheduler
from pilothouse.engine.sweeps import Sweep
from pilothouse.errors import StorageFailed
from pilothouse.fleet.budget import Budget, amount
from pilothouse.fleet.claim import Ending, Grant
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.job import Job, JobSpec, NewJob, Priority, Progress, Report
from pilothouse.fleet.place import EVERY_PRODUCT
from pilothouse.fleet.settings import FleetSettings
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.operations.claim import Handover
from pilothouse.operations.start import start
from pilothouse.operations.submit import submit
from pilothouse.ports.dispatch import Beat, Held
from pilothouse.ports.store import Flight, Transaction
from pilothouse.store.flights import fly
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.store.transaction import StoredTransaction
from pilothouse.testing import values
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.values import BOOT, PRODUCT

T = TypeVar("T")
ONE, TWO, THREE = FactoryName("one"), FactoryName("two"), FactoryName("three")
LEASE_SECONDS = 90.0


class FailingStore:
    """A store whose commits fail while `failing` is set; what was written is undone, as a full disk would have it."""

    def __init__(self, inner: SqliteStore) -> None:
        self.inner = inner
        self.failing = False

    @contextmanager
    def write(self) -> Iterator[StoredTransaction]:
        """Write as the store does, up to the commit."""
        with self.inner.write() as tx:
            yield tx
            if self.failing:
                raise StorageFailed("the disk is full", fix="free some space")

    def send(self, grants: Sequence[Grant], endings: Sequence[Ending], *, now: datetime) -> Flight:
        """Send as the store does, up to the commit."""
        return fly(self.write(), grants, endings, now=now)

    @contextmanager
    def read(self) -> Iterator[StoredTransaction]:
        """Read as the store does."""
        with self.inner.read() as tx:
            yield tx

    def damage(self) -> Sequence[str]:
        """Check as the store does."""
        return self.inner.damage()

    def close(self) -> None:
        """Close the store."""
        self.inner.close()


def make_factory(name: FactoryName = ONE, *, seats: int = 2, **changes: Any) -> Factory:
    """Return a factory that serves every product."""
    return replace(Factory(product=EVERY_PRODUCT, name=name, seats=seats), **changes)


class Fleet:
    """A scheduler, its store and its clock. Each method is one batch of one command."""

    def __init__(self, *factories: Factory) -> None:
        self.store = FailingStore(SqliteStore(":memory:"))
        self.clock = FrozenClock()
        with self.store.write() as tx:
            for factory in factories or (make_factory(),):
                tx.factories.put(factory, now=self.clock.now())
        self.scheduler = self._scheduler()

    def _scheduler(self) -> Scheduler:
        scheduler = Scheduler(self.store, self.clock, lease_seconds=LEASE_SECONDS)
        scheduler.load()
        return scheduler

    def restart(self) -> None:
        """Throw the scheduler away and build another one."""
        self.scheduler = self._scheduler()

    def fresh(self) -> Scheduler:
        """Return another scheduler that has just read the same database."""
        return self._scheduler()

    def ask(self, command: Command[T]) -> T:
        """Return the answer to a command that is alone in its batch."""
        answered = self.scheduler.run([command])
        assert list(answered) == [command], "the command waits"
        return command.value()

    def run(self, *commands: Asked) -> list[Asked]:
        """Return those commands of one batch that were answered."""
        return list(self.scheduler.run(commands))

    def retry(self) -> list[Claim]:
        """Try the waiting claims again, and return those that were answered."""
        again = self.scheduler.retry()
        answered = self.scheduler.run(again) if again else ()
        return [claim for claim in answered if isinstance(claim, Claim)]

    def submit(
        self,
        number: int,
        *,
        priority: Priority = Priority.MEDIUM,
        deps: Sequence[JobId] = (),
        new: NewJob | None = None,
        **spec: Any,
    ) -> Job:
        """Return a new job whose spec differs from the usual one in this."""
        made = values.make_new_job(number, priority=priority, spec=make_spec(**spec)) if new is None else new
        made = replace(made, deps=tuple(deps))
        return self.ask(Act(lambda tx: submit(tx, made, now=self.clock.now())))

    def claim_of(
        self,
        factory: FactoryName = ONE,
        *,
        boot: str = BOOT,
        seats: int = 2,
        jobs: int = 1,
        held: Collection[tuple[JobId, Epoch]] = (),
        wait_seconds: float = 0.0,
        pools: Collection[str] | None = None,
    ) -> Claim:
        """Return the command of a factory that wants work."""
        return Claim(
            factory=factory,
            boot=BootId(boot),
            seats=seats,
            deadline=self.clock.monotonic() + wait_seconds,
            held=held,
            pools=pools,
            jobs=jobs,
        )

    def claim(
        self,
        factory: FactoryName = ONE,
        *,
        boot: str = BOOT,
        seats: int = 2,
        jobs: int = 1,
        held: Collection[tuple[JobId, Epoch]] = (),
    ) -> Sequence[Handover]:
        """Return what a factory is handed that does not wait."""
        return self.ask(self.claim_of(factory, boot=boot, seats=seats, jobs=jobs, held=held))

    def take(
        self, factory: FactoryName = ONE, *, boot: str = BOOT, held: Collection[tuple[JobId, Epoch]] = ()
    ) -> Handover:
        """Return the one job that a factory is handed; what it holds already is told."""
        place = self.scheduler.roster.find(factory, BootId(boot))
        known = [] if place is None else [(job.id, job.epoch) for job in place.held.values() if job.id is not None]
        (handover,) = self.claim(factory, boot=boot, held=[*held, *known])
        return handover

    def begin(self, handover: Handover) -> Job:
        """Tell that the process of an attempt runs."""
        return self.ask(Act(lambda tx: self._start(tx, handover)))

    def _start(self, tx: Transaction, handover: Handover) -> Job:
        return start(tx, handover.job, epoch=handover.epoch, pid=7, pid_started=1.5, now=self.clock.now())

    def complete(
        self, handover: Handover, report: Report | None = None, *, factory: FactoryName | None = None
    ) -> Exception | None:
        """Return the refusal of a report, None if it was taken in."""
        ended = (handover.job, handover.epoch, values.make_report() if report is None else report)
        (refusal,) = self.ask(Complete([ended], factory=factory))
        return refusal

    def beat(
        self,
        factory: FactoryName = ONE,
        *,
        boot: str = BOOT,
        held: Sequence[Handover] = (),
        progress: Progress | None = None,
    ) -> Beat:
        """Return what a factory is told that holds these."""
        told = [Held(job=each.job, epoch=each.epoch, progress=progress) for each in held]
        return self.ask(Heartbeat(factory=factory, boot=BootId(boot), held=told))

    def sweep(self) -> Sequence[JobId]:
        """Return the jobs that one sweep takes back."""
        sweep = Sweep(self.scheduler, now=self.clock.now())
        if not sweep:
            return []
        taken = self.ask(Act(sweep.carry_out))
        sweep.done()
        return [job.id for job in taken]

    def preempt(self) -> Sequence[JobId]:
        """Return the jobs that are asked to make room now."""
        return [job.id for job in self.ask(Act(Preemption(self.scheduler, now=self.clock.now()).carry_out))]

    def configure(self, **settings: Any) -> None:
        """Change the settings of the product."""
        changed = replace(FleetSettings(), **settings)
        self.ask(Act(lambda tx: tx.fleet_settings.put(PRODUCT, changed, who="ada", now=self.clock.now())))
        self.ask(Look(lambda scheduler: scheduler.configure(PRODUCT, changed)))

    def budget(self, budget: Budget) -> None:
        """Set a budget."""
        self.ask(Act(lambda tx: tx.budgets.put(budget)))
        self.ask(Look(lambda scheduler: scheduler.refund()))

    def job(self, job: JobId) -> Job:
        """Return a job as the database has it."""
        with self.store.read() as tx:
            found = tx.jobs.by_id(job)
        assert found is not None
        return found

    def why(self, job: JobId) -> list[str]:
        """Return the reasons that stand in the history of a job."""
        with self.store.read() as tx:
            return [event.why for event in tx.jobs.events(job) if event.why]


def make_spec(**changes: Any) -> JobSpec:
    """Return the usual spec with these changes."""
    return replace(values.make_spec(), **changes)


def memory(scheduler: Scheduler) -> Mapping[str, object]:
    """Return all that a scheduler knows and that a fresh one must know as well, in a form that compares and prints."""
    board, roster, funds = scheduler.board, scheduler.roster, scheduler.funds
    waiting = [job for shape in board.shapes for job in board.heads(shape, 10**6)]
    return {
        "waiting": {job.number: job for job in waiting},
        "count": (len(board), len(waiting)),
        "held": {
            job.number: (
                (job.epoch, job.session, job.shape_number, job.priority, job.id, job.created_us),
                (job.building, job.marks, job.preemptions, job.stop_us, job.stops_for, set(job.waits_for)),
            )
            for job in board.held.values()
        },
        "locks": dict(board._locks),
        "shapes": dict(board.shapes),
        "places": {
            place.session: (
                (place.factory, place.product, place.seats, place.gpus, place.open),
                (place.seats_taken, place.gpus_taken, place.seats_free, place.gpus_free, place.stopping),
                sorted(place.held),
            )
            for place in board.places.values()
        },
        "sessions": {
            number: (session.factory, session.boot, session.opened_at) for number, session in roster.sessions.items()
        },
        "boots": dict(roster._by_boot),
        "factories": dict(roster.factories),
        "ids": {job: held.number for job, held in scheduler._ids.items()},
        "weights": {product: board.weights(product) for product in scheduler.settings},
        # The ledger counts in millionths.
        "reserved": {
            attempt: (line.product, line.engine, amount(line.cost), line.at)
            for attempt, line in funds._reserved.items()
        },
        "balances": dict(funds._balances),
        "budgets": dict(funds._budgets),
    }
