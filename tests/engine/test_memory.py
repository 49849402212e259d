"""Whatever happens, the scheduler knows what a scheduler knows that has just read the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.engine.world import LEASE_SECONDS, ONE, TWO, Fleet, make_factory, make_spec, memory

from pilothouse.engine.commands import Act, Claim, Command, Complete, Heartbeat, Look
from pilothouse.errors import PilothouseError, StorageFailed
from pilothouse.fleet.budget import Budget, Pause
from pilothouse.fleet.factory import FactoryState
from pilothouse.fleet.job import Cost, DepsMode, Job, JobSpec, NewJob, Outcome, Priority, Progress, Report, Ship
from pilothouse.fleet.place import EVERY_PRODUCT
from pilothouse.fleet.stages import ENDS, LEASED, Stage
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.operations import operate
from pilothouse.operations.cancel import cancel
from pilothouse.operations.start import start
from pilothouse.operations.submit import submit
from pilothouse.ports.dispatch import Held
from pilothouse.ports.store import Transaction
from pilothouse.testing import values
from pilothouse.testing.values import PRODUCT

FACTORIES = {ONE: make_factory(ONE, seats=3, engines=("codex",)), TWO: make_factory(TWO, seats=2, usd_per_hour=2.0)}
OUTCOMES = (
    *(Outcome.SUCCEEDED,) * 4,
    Outcome.CRASHED,
    Outcome.PREEMPTED,
    Outcome.CANCELLED,
    Outcome.NO_ENGINE,
    Outcome.OUT_OF_MEMORY,
)
SPECS = st.builds(
    make_spec,
    seats=st.sampled_from((1, 1, 1, 2, 3)),
    restarts=st.integers(0, 2),
    engine=st.sampled_from(("", "", "codex")),
    lock=st.sampled_from(("", "", "one")),
    deps_mode=st.sampled_from(DepsMode),
    approvals=st.sampled_from((0, 0, 1)),
    ship=st.sampled_from((Ship.AUTO, Ship.AUTO, Ship.MANUAL)),
    cost=st.sampled_from((Cost(), Cost(tokens=30.0))),
    timeout_seconds=st.sampled_from((600.0, 20_000.0)),
)
Move = Callable[[Transaction, Job], Job]


class MemoryMachine(RuleBasedStateMachine):
    """Commands, alone or in batches, beside failing commits, restarts and the passing of time."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(*FACTORIES.values())
        self.batch: list[Command[Any]] = []
        self.jobs: list[JobId] = []
        self.boots = dict.fromkeys(FACTORIES, 0)
        self.attempts: list[tuple[JobId, Epoch, FactoryName]] = []
        self.claims: list[tuple[Claim, FactoryName]] = []
        self.number = 0
        self.gathering = False

    @initialize(preemption=st.sampled_from((True, True, False)), ceiling=st.sampled_from((None, 100.0)))
    def set_up(self, preemption: bool, ceiling: float | None) -> None:
        """Let the product have preemption and a budget, or not."""
        self.fleet.configure(preemption=preemption, min_running_seconds=0.0, stop_grace_seconds=40.0)
        if ceiling is not None:
            self.fleet.budget(Budget(product=PRODUCT, ceiling=Cost(tokens=ceiling), enforced=True))

        for seats in (1, 1, 2, 3, 1):
            new = self._new(make_spec(seats=seats, restarts=5), priority=Priority.LOW)
            self._put(Act(partial(submit, new=new, now=self.fleet.clock.now())))
        for factory in FACTORIES:
            self._put(self._claim(factory, seats=2, jobs=2))

    # --- what goes into a batch

    def _put(self, command: Command[Any]) -> None:
        self.batch.append(command)
        if not self.gathering:
            self._commit()

    def _new(self, spec: JobSpec, *, priority: Priority = Priority.MEDIUM, deps: Sequence[JobId] = ()) -> NewJob:
        self.number += 1
        new = values.make_new_job(self.number, priority=priority, spec=replace(spec, deps=tuple(deps)))
        self.jobs.append(new.id)
        return replace(new, deps=tuple(deps))

    def _claim(self, factory: FactoryName, **wants: Any) -> Claim:
        claim = self.fleet.claim_of(factory, boot=self._boot(factory), **wants)
        self.claims.append((claim, factory))
        return claim

    @rule()
    def gather(self) -> None:
        """Let the next commands wait, so that they share a transaction."""
        self.gathering = True

    @rule(spec=SPECS, priority=st.sampled_from(Priority), waits=st.integers(0, 2), data=st.data())
    def submit(self, spec: JobSpec, priority: Priority, waits: int, data: st.DataObject) -> None:
        """Submit a job that may wait for others."""
        deps = data.draw(st.lists(st.sampled_from(self.jobs), max_size=waits, unique=True)) if self.jobs else []
        new = self._new(spec, priority=priority, deps=deps)
        self._put(Act(partial(submit, new=new, now=self.fleet.clock.now())))

    @rule(
        factory=st.sampled_from(sorted(FACTORIES)),
        seats=st.sampled_from((3, 3, 1, 0)),
        jobs=st.sampled_from((3, 2, 1)),
        waits=st.booleans(),
        knows=st.sampled_from((True, True, False)),
    )
    def claim(self, factory: FactoryName, seats: int, jobs: int, waits: bool, knows: bool) -> None:
        """Ask for work, with or without telling what is held."""
        held = [(job, epoch) for job, epoch, holder in self.attempts if holder == factory] if knows else []
        self._put(self._claim(factory, seats=seats, jobs=jobs, held=held, wait_seconds=90.0 if waits else 0.0))

    def _boot(self, factory: FactoryName) -> str:
        return f"boot-{self.boots[factory]}"

    def _attempt(self, data: st.DataObject) -> tuple[JobId, Epoch]:
        """Draw an attempt, most often one that is not over."""
        told = [(job, epoch) for job, epoch, _ in self.attempts[-8:]]
        held = {(job.id, job.epoch) for job in self.fleet.scheduler.board.held.values()}
        live = [each for each in told if each in held]
        stale = data.draw(st.sampled_from((False, False, False, True)))
        return data.draw(st.sampled_from(told if stale or not live else live))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=3), named=st.booleans())
    def complete(self, data: st.DataObject, outcomes: list[Outcome], named: bool) -> None:
        """Report the ends of attempts, those that are over included, and some of them twice."""
        ended: list[tuple[JobId, Epoch, Report]] = []
        for outcome in outcomes:
            job, epoch = self._attempt(data)
            ended.append((job, epoch, values.make_report(outcome)))
        self._put(Complete(ended, factory=ONE if named else None))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """Tell that a process runs."""
        job, epoch = self._attempt(data)
        now = self.fleet.clock.now()
        self._put(Act(lambda tx: start(tx, job, epoch=epoch, pid=1, pid_started=1.0, now=now)))

    @rule(factory=st.sampled_from(sorted(FACTORIES)), old=st.booleans(), step=st.none() | st.integers(0, 9))
    def beat(self, factory: FactoryName, old: bool, step: int | None) -> None:
        """Tell that a factory lives, or that a zombie of it does."""
        boot = f"boot-{self.boots[factory] - old}"
        progress = None if step is None else Progress(step=step, total=9, values={}, checkpoint_step=step)
        held = [Held(job=job, epoch=epoch, progress=progress) for job, epoch, _ in self.attempts[-4:]]
        self._put(Heartbeat(factory=factory, boot=BootId(boot), held=held))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), verb=st.sampled_from(("cancel", "requeue", "reject", "ship", "approve", "decline")))
    def operate(self, data: st.DataObject, verb: str) -> None:
        """Let a person do something to a job, which may be refused."""
        job, now = data.draw(st.sampled_from(self.jobs[-8:])), self.fleet.clock.now()
        moves: dict[str, Move] = {
            "cancel": lambda tx, found: cancel(tx, found.id, now=now),
            "requeue": lambda tx, found: operate.requeue(tx, found, by="ada", reason="", now=now),
            "reject": lambda tx, found: operate.reject(tx, found, by="ada", reason="", now=now),
            "ship": lambda tx, found: operate.ship(tx, found, by="ada", now=now),
            "approve": lambda tx, found: operate.decide(tx, found, reviewer="ada", approved=True, reason="", now=now),
            "decline": lambda tx, found: operate.decide(tx, found, reviewer="bob", approved=False, reason="", now=now),
        }
        move = moves[verb]
        self._put(Act(lambda tx: move(tx, operate.seen_job(tx, PRODUCT, job, expected=None))))

    # --- what happens to a batch

    @precondition(lambda self: self.batch)
    @rule(failing=st.booleans())
    def commit(self, failing: bool) -> None:
        """Apply what has gathered in one transaction, or let the disk be full."""
        self._commit(failing=failing)

    def _commit(self, *, failing: bool = False) -> None:
        batch, self.batch, self.gathering = self.batch, [], False
        self.fleet.store.failing = failing
        self._answered(self.fleet.run(*batch), failing=failing)
        self.fleet.store.failing = False
        if failing:
            # After a failed commit the memory is read anew as soon as anybody asks for anything.
            self.fleet.ask(Look(lambda _: None))
        self._answered(self.fleet.retry(), failing=False)

    def _answered(self, answered: Sequence[Any], *, failing: bool) -> None:
        for command in answered:
            if command.refused:
                assert isinstance(command._error, PilothouseError), repr(command._error)
                assert failing or not isinstance(command._error, StorageFailed), repr(command._error)
        told = [(claim, factory) for claim, factory in self.claims if claim in answered]
        self.claims = [each for each in self.claims if each not in told]
        for claim, factory in told:
            if not claim.refused:
                self.attempts += [(each.job, each.epoch, factory) for each in claim.value()]

    @rule(seconds=st.sampled_from((1.0, LEASE_SECONDS / 3, LEASE_SECONDS / 3, LEASE_SECONDS, 90_000.0)))
    def wait(self, seconds: float) -> None:
        """Let time pass, and look after the fleet as the writer does."""
        self._commit()
        self.fleet.clock.advance(seconds)
        self.fleet.sweep()
        self.fleet.ask(Look(lambda _: None))
        self._answered(self.fleet.retry(), failing=False)

    @rule(seats=st.integers(1, 3), restarts=st.booleans())
    def make_room(self, seats: int, restarts: bool) -> None:
        """Let an urgent job come and preempt, and the engine begin anew before the victims have stopped."""
        new = self._new(make_spec(seats=seats), priority=Priority.CRITICAL)
        self.batch.append(Act(partial(submit, new=new, now=self.fleet.clock.now())))
        self._commit()
        self.fleet.preempt()
        if restarts:
            self.restart()
        self._answered(self.fleet.retry(), failing=False)

    @rule(factory=st.sampled_from(sorted(FACTORIES)), zombie=st.booleans())
    def boot(self, factory: FactoryName, zombie: bool) -> None:
        """Let a factory begin anew, and the boot before it say something yet."""
        old = Heartbeat(factory=factory, boot=BootId(self._boot(factory)), held=())
        self.boots[factory] += 1
        self._put(Heartbeat(factory=factory, boot=BootId(self._boot(factory)), held=()))
        if zombie:
            self._put(old)
            if not self.gathering:
                assert self.fleet.scheduler.roster.find(factory, BootId(self._boot(factory))) is not None

    @rule(factory=st.sampled_from(sorted(FACTORIES)), drains=st.booleans())
    def change(self, factory: FactoryName, drains: bool) -> None:
        """Let a factory drain, or resume."""
        changed = replace(FACTORIES[factory], state=FactoryState.DRAINING if drains else FactoryState.ACTIVE)
        self.fleet.ask(Act(lambda tx: tx.factories.put(changed, now=self.fleet.clock.now())))
        self.fleet.ask(Look(lambda scheduler: scheduler.enrol(changed)))

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        """Pause the budget, or resume it."""
        pause = Pause(by="ada", why="a look", at=self.fleet.clock.now())
        with self.fleet.store.read() as tx:
            if tx.budgets.get(PRODUCT, "") is None:
                return
        if paused:
            self.fleet.ask(Act(lambda tx: tx.budgets.pause(PRODUCT, "", pause=pause)))
        else:
            self.fleet.ask(Act(lambda tx: tx.budgets.resume(PRODUCT, "")))
        self.fleet.ask(Look(lambda scheduler: scheduler.refund()))

    @rule()
    def restart(self) -> None:
        """Throw the scheduler away, with whatever waits in it."""
        self.fleet.restart()
        self.claims = []

    # --- what is always true

    @invariant()
    def the_memory_is_what_the_database_is(self) -> None:
        """Bit by bit."""
        known, fresh = memory(self.fleet.scheduler), memory(self.fleet.fresh())
        assert {name: (known[name], fresh[name]) for name in known if known[name] != fresh[name]} == {}

    @invariant()
    def no_factory_is_overfull(self) -> None:
        """Of what was handed over."""
        for place in self.fleet.scheduler.board.places.values():
            running = [job for job in place.held.values() if not job.waits_for]
            assert sum(job.shape.seats for job in running) <= FACTORIES[place.factory].seats
            assert place.product == EVERY_PRODUCT

    @invariant()
    def nothing_waits_for_ever(self) -> None:
        """Whatever is blocked waits for something that may still come, and an open session holds whatever is held."""
        with self.fleet.store.read() as tx:
            found = {job.number: job for job in tx.jobs.listed(PRODUCT, limit=1000)}
            for job in found.values():
                needs = [edge for edge in tx.jobs.edges(job) if edge.job == job.number and not edge.met]
                if job.stage is Stage.BLOCKED:
                    assert job.waiting == len(needs) > 0
                    assert all(found[edge.needs].stage not in ENDS for edge in needs)
                if job.stage in LEASED:
                    assert job.session in self.fleet.scheduler.roster.sessions


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=(HealthCheck.too_slow,),  # a loaded machine is no finding
)
