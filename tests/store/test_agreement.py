"""A model of jobs that fits on a page, and SQLite, driven together: after every step they agree in everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pilothouse.errors import KeyReused
from pilothouse.fleet.job import Outcome, Priority, Progress
from pilothouse.fleet.stages import ENDS, LEASED, Stage
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.ports.store import Transaction
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN

JOBS = st.integers(0, 4).map(lambda number: JobId(f"job-demo-{number}"))
LAGS = st.sampled_from([0, 0, 0, 0, 1, 2, -1])
"""How far the epoch that a client names lies behind the true one; mostly it is right."""
COUNTED = {Outcome.CRASHED: "failures", Outcome.PREEMPTED: "preemptions", Outcome.LOST: "losses"}


@dataclass
class Model:
    """One job as the rules of the fleet have it."""

    stage: Stage
    epoch: int = 0
    boot: str | None = None
    lease: datetime | None = None
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED.values(), 0))
    events: list[tuple[Stage, int]] = field(default_factory=list)
    outcomes: dict[int, Outcome | None] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)

    def move(self, stage: Stage, *, fence: bool) -> None:
        """Go to another stage and write the history."""
        self.stage = stage
        self.epoch += fence
        if stage not in LEASED:
            self.boot = self.lease = None
        self.events.append((stage, self.epoch))


class Agreement(RuleBasedStateMachine):
    """Clients submit, claim, start, renew, report, cancel and are late, in any order."""

    @initialize()
    def open(self) -> None:
        """Begin with an empty store."""
        self.store = SqliteStore(":memory:")
        self.jobs: dict[JobId, Model] = {}
        self.keys: dict[str, JobId] = {}
        self.seconds = 0

    def teardown(self) -> None:
        """Close what was opened."""
        if hasattr(self, "store"):
            self.store.close()

    def now(self) -> datetime:
        """Return a time that never repeats."""
        self.seconds += 1
        return BEGIN + timedelta(seconds=self.seconds)

    def named(self, job: JobId, lag: int) -> tuple[Model, Epoch, bool]:
        """Return the job, the epoch that a client names and whether it is the true one."""
        model = self.jobs.get(job) or Model(stage=Stage.CANCELLED, epoch=-99)
        return model, Epoch(model.epoch - lag), lag == 0 and job in self.jobs

    @rule(number=st.integers(0, 4), key=st.integers(0, 5), blocked=st.booleans(), priority=st.sampled_from(Priority))
    def insert(self, number: int, key: int, priority: Priority, *, blocked: bool) -> None:
        """Submit a job; a key or an id that is taken changes nothing."""
        new = values.make_new_job(number, key=f"k{key}", priority=priority)
        stage = Stage.BLOCKED if blocked else Stage.QUEUED
        try:
            with self.store.write() as tx:
                if tx.jobs.by_id(new.id) is not None:
                    assert new.id in self.jobs
                    return
                tx.jobs.insert(new, stage=stage, now=self.now())
        except KeyReused:
            assert new.key in self.keys
            return
        assert new.key not in self.keys
        self.keys[new.key] = new.id
        self.jobs[new.id] = Model(stage=stage, events=[(stage, 0)])

    @rule(job=JOBS, lag=LAGS, boot=st.sampled_from(["b1", "b2"]))
    def assign(self, job: JobId, lag: int, boot: str) -> None:
        """Claim."""
        model, epoch, current = self.named(job, lag)
        now = self.now()
        with self.store.write() as tx:
            moved = tx.jobs.assign(
                job, epoch=epoch, factory=FactoryName("f"), boot=BootId(boot), expires=now, folder="x", now=now
            )
        assert (moved is not None) == (current and model.stage is Stage.QUEUED)
        if moved is not None:
            model.move(Stage.ASSIGNED, fence=True)
            model.boot, model.lease = boot, now
            model.outcomes[model.epoch] = None

    @rule(job=JOBS, lag=LAGS)
    def start(self, job: JobId, lag: int) -> None:
        """Tell that the process runs."""
        model, epoch, current = self.named(job, lag)
        with self.store.write() as tx:
            moved = tx.jobs.start(job, epoch=epoch, pid=7, pid_started=1.5, now=self.now())
        assert (moved is not None) == (current and model.stage is Stage.ASSIGNED)
        if moved is not None:
            model.move(Stage.BUILDING, fence=False)

    @rule(job=JOBS, lag=LAGS, step=st.integers(0, 9))
    def renew(self, job: JobId, lag: int, step: int) -> None:
        """Keep the lease, with a sign of life."""
        model, epoch, current = self.named(job, lag)
        expires = self.now()
        with self.store.write() as tx:
            moved = tx.jobs.renew(job, epoch=epoch, expires=expires)
            seen = tx.jobs.observe(job, epoch=epoch, progress=Progress(step=step, total=9, values={}), now=self.now())
        assert (moved is not None) == seen == (current and model.stage in LEASED)
        if moved is not None:
            model.lease, model.steps[model.epoch] = expires, step

    @rule(job=JOBS, lag=LAGS, outcome=st.sampled_from([*COUNTED, Outcome.SUCCEEDED]), again=st.booleans())
    def finish(self, job: JobId, lag: int, outcome: Outcome, *, again: bool) -> None:
        """Report the end of the attempt; a success ships only from building."""
        model, epoch, current = self.named(job, lag)
        stage = Stage.QUEUED if again else Stage.FAILED
        if outcome is Outcome.SUCCEEDED:
            if model.stage is Stage.ASSIGNED:
                return
            stage = Stage.SHIPPED
        with self.store.write() as tx:
            moved = tx.jobs.finish(job, epoch=epoch, stage=stage, report=values.make_report(outcome), now=self.now())
        assert (moved is not None) == (current and model.stage in LEASED)
        if moved is not None:
            model.outcomes[model.epoch] = outcome
            if outcome in COUNTED:
                model.counts[COUNTED[outcome]] += 1
            model.move(stage, fence=again and outcome is not Outcome.SUCCEEDED)

    @rule(job=JOBS, lag=LAGS)
    def cancel(self, job: JobId, lag: int) -> None:
        """End a job that has not ended."""
        model, epoch, current = self.named(job, lag)
        with self.store.write() as tx:
            moved = tx.jobs.cancel(job, epoch=epoch, now=self.now())
        assert (moved is not None) == (current and model.stage not in ENDS)
        if moved is not None:
            if model.outcomes.get(model.epoch, Outcome.LOST) is None:
                model.outcomes[model.epoch] = Outcome.CANCELLED
            model.move(Stage.CANCELLED, fence=True)

    @precondition(lambda self: bool(self.jobs))
    @rule(job=JOBS)
    def undo(self, job: JobId) -> None:
        """Do something inside a transaction that is then taken back."""
        try:
            with self.store.write() as tx:
                found = tx.jobs.by_id(job)
                if found is not None:
                    tx.jobs.cancel(job, epoch=found.epoch, now=self.now())
                raise ZeroDivisionError  # noqa: TRY301  the block must be left by an exception
        except ZeroDivisionError:
            pass

    @invariant()
    def agree(self) -> None:
        """Compare everything that can be read."""
        if not hasattr(self, "store"):
            return
        with self.store.read() as tx:
            for job, model in self.jobs.items():
                self.compare(tx, job, model)
            queued = {job.id for job in tx.jobs.queued()}
            leased = {job.id for job in tx.jobs.leased()}
        assert queued == {job for job, model in self.jobs.items() if model.stage is Stage.QUEUED}
        assert leased == {job for job, model in self.jobs.items() if model.stage in LEASED}

    @staticmethod
    def compare(tx: Transaction, job: JobId, model: Model) -> None:
        """Compare one job with its model."""
        stored = tx.jobs.by_id(job)
        assert stored is not None
        assert (stored.stage, stored.epoch, stored.boot) == (model.stage, model.epoch, model.boot)
        assert stored.lease_expires_at == model.lease
        assert {name: getattr(stored, name) for name in model.counts} == model.counts
        events = tx.jobs.events(job)
        assert [(event.stage, event.epoch) for event in events] == model.events
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert [event.previous for event in events] == [None, *(event.stage for event in events[:-1])]
        attempts = tx.jobs.attempts(job)
        assert {attempt.epoch: attempt.outcome for attempt in attempts} == model.outcomes
        steps = {attempt.epoch: attempt.progress.step for attempt in attempts if attempt.progress is not None}
        assert steps == model.steps


Agreement.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAgreement = Agreement.TestCase
