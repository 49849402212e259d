"""A model of jobs that fits on two pages, SQLite and PostgreSQL, driven together: they agree in everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from psycopg.rows import dict_row
from tests.store.conftest import empty

from pilothouse.errors import Conflict, KeyReused, PilothouseError
from pilothouse.fleet.claim import DEPENDED_ON, Ending, Grant
from pilothouse.fleet.job import Edge, EdgeKind, Job, Outcome, Placed, Priority, Progress, Review
from pilothouse.fleet.stages import ENDS, LEASED, Stage, may_move
from pilothouse.ids import BootId, Epoch, FactoryName, JobNumber, SessionNumber
from pilothouse.ports.store import Store, Transaction
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import PRODUCT

JOBS = st.integers(1, 5).map(JobNumber)
LAGS = st.sampled_from([0, 0, 0, 0, 0, 0, 1, -1])
"""How far the epoch that a client names lies behind the true one; mostly it is right."""
COUNTED = {Outcome.CRASHED: "failures", Outcome.PREEMPTED: "preemptions", Outcome.LOST: "losses"}
HELD = st.sampled_from(sorted(LEASED))
SESSIONS = st.sampled_from([SessionNumber(1), SessionNumber(2)])
TABLES = {
    "jobs": "number",
    "job_specs": "number",
    "job_shapes": "number",
    "job_edges": "job, needs",
    "job_attempts": "job, epoch",
    "job_events": "job, sequence",
    "job_artifacts": "job, epoch, name",
    "job_reviews": "job, epoch, reviewer",
    "sessions": "number",
}
Answer = TypeVar("Answer")


@dataclass
class Model:
    """One job as the rules of the fleet have it."""

    stage: Stage
    epoch: int = 0
    session: SessionNumber | None = None
    stop_at: datetime | None = None
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED.values(), 0))
    events: list[tuple[Stage, int, str]] = field(default_factory=list)
    outcomes: dict[int, Outcome | None] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    needs: dict[JobNumber, bool] = field(default_factory=dict)
    depended_on: bool = False

    def move(self, stage: Stage, *, fence: bool, why: str = "") -> None:
        """Go to another stage and write the history."""
        self.stage = stage
        self.epoch += fence
        if stage not in LEASED:
            self.session = self.stop_at = None
        self.events.append((stage, self.epoch, why))


class Agreement(RuleBasedStateMachine):
    """Clients submit, claim, start, report, review, wait, cancel and are late, in any order."""

    def __init__(self, postgres: PostgresStore, cleaner: psycopg.Connection) -> None:
        super().__init__()
        self.postgres = postgres
        self.cleaner = cleaner
        self.sqlite = SqliteStore(":memory:")
        self.jobs: dict[JobNumber, Model] = {}
        self.keys: set[str] = set()
        self.seconds = 0

    @initialize()
    def begin(self) -> None:
        """Begin with two empty stores and two open sessions in each."""
        empty(self.cleaner)
        self.postgres._shapes.clear()
        for boot in ("b1", "b2"):
            self.open(BootId(boot))
        self.insert(keys=[101, 102, 103], blocked=False, priority=Priority.HIGH, seats=1)

    def open(self, boot: BootId) -> None:
        """Open a session on both."""
        self.both(lambda tx: tx.factories.open_session(PRODUCT, FactoryName("f"), boot, now=BEGIN, expires=BEGIN))

    def teardown(self) -> None:
        """Close what was opened here."""
        self.sqlite.close()

    def both(self, act: Callable[[Transaction], Answer]) -> Answer | type[PilothouseError]:
        """Do the same on both, demand the same answer and the same touched jobs, and return the answer or the error."""
        answers: list[tuple[Answer | type[PilothouseError], Sequence[Job]]] = []
        for store in (self.sqlite, self.postgres):
            try:
                with store.write() as tx:
                    answers.append((act(tx), tx.touched))
            except PilothouseError as error:
                answers.append((type(error), ()))
        assert answers[0] == answers[1]
        return answers[0][0]

    def now(self) -> datetime:
        """Return a time that never repeats."""
        self.seconds += 1
        return BEGIN + timedelta(seconds=self.seconds)

    def named(self, number: JobNumber, lag: int) -> tuple[Model, Job, bool]:
        """Return the job, as a client knows it, and whether it knows its true epoch."""
        model = self.jobs.get(number) or Model(stage=Stage.CANCELLED, epoch=-99)
        job = values.make_job(number=number, stage=model.stage)._replace(
            id=values.make_new_job(number).id, epoch=Epoch(model.epoch - lag)
        )
        return model, job, lag == 0 and number in self.jobs

    @rule(
        keys=st.lists(st.integers(0, 20), max_size=3),
        blocked=st.booleans(),
        priority=st.sampled_from(Priority),
        seats=st.integers(1, 2),
    )
    def insert(self, keys: list[int], priority: Priority, seats: int, *, blocked: bool) -> None:
        """Submit a batch of jobs; a key that is taken keeps all of them out."""
        stage = Stage.BLOCKED if blocked else Stage.QUEUED
        first = len(self.jobs) + 1
        placed = [
            Placed(
                new=values.make_new_job(
                    number, key=f"k{key}", priority=priority, spec=values.make_spec(seats=seats, campaign=f"c{key % 2}")
                ),
                stage=stage,
            )
            for number, key in enumerate(keys, start=first)
        ]
        now = self.now()
        answer = self.both(lambda tx: [job.number for job in tx.jobs.insert(placed, now=now)])
        names = [each.new.key for each in placed]
        if self.keys.intersection(names) or len(set(names)) < len(names):
            assert answer is KeyReused
            return
        assert answer == list(range(first, first + len(keys)))
        self.keys.update(names)
        for number in answer:
            self.jobs[number] = Model(stage=stage, events=[(stage, 0, "")])

    @rule(wanted=st.lists(st.tuples(JOBS, LAGS), unique_by=lambda each: each[0], max_size=4), session=SESSIONS)
    def assign(self, wanted: list[tuple[JobNumber, int]], session: SessionNumber) -> None:
        """Claim a batch; those that cannot be had are named."""
        known = [self.named(number, lag) for number, lag in wanted]
        grants = [Grant(job.number, job.epoch, session) for _, job, _ in known]
        now = self.now()
        left = self.both(lambda tx: list(tx.jobs.assign(grants, now=now, why="first")))
        won = [(model, job) for model, job, current in known if current and model.stage is Stage.QUEUED]
        assert left == [job.number for _, job, _ in known if job.number not in {each.number for _, each in won}]
        for model, _ in won:
            model.move(Stage.ASSIGNED, fence=True, why="first")
            model.session = session
            model.outcomes[model.epoch] = None

    @rule(
        ended=st.lists(
            st.tuples(JOBS, LAGS, st.sampled_from(sorted(LEASED))), unique_by=lambda each: each[0], max_size=4
        )
    )
    def ship(self, ended: list[tuple[JobNumber, int, Stage]]) -> None:
        """Report a batch of successes."""
        known = [(*self.named(number, lag), stage) for number, lag, stage in ended]
        report = values.make_report(artifacts=(values.make_artifact(),))
        endings = [Ending(job.number, job.epoch, stage, report) for _, job, _, stage in known]
        now = self.now()
        left = self.both(lambda tx: list(tx.jobs.ship(endings, now=now)))
        won = {job.number: model for model, job, current, stage in known if current and model.stage is stage}
        assert left == [ending.number for ending in endings if ending.number not in won]
        for model in won.values():
            model.outcomes[model.epoch] = Outcome.SUCCEEDED
            model.move(Stage.SHIPPED, fence=False)

    @rule(number=JOBS, lag=LAGS)
    def start(self, number: JobNumber, lag: int) -> None:
        """Tell that the process runs."""
        model, job, current = self.named(number, lag)
        now = self.now()
        moved = self.both(lambda tx: tx.jobs.start(job, epoch=job.epoch, pid=7, pid_started=1.5, now=now))
        assert (moved is not None) == (current and model.stage is Stage.ASSIGNED)
        if moved is not None:
            model.move(Stage.BUILDING, fence=False)

    @rule(number=JOBS, lag=LAGS, step=st.integers(0, 9))
    def observe(self, number: JobNumber, lag: int, step: int) -> None:
        """Give a sign of life."""
        model, job, current = self.named(number, lag)
        progress, now = Progress(step=step, total=9, values={"loss": float("inf")}), self.now()
        seen = self.both(lambda tx: tx.jobs.observe(job.number, epoch=job.epoch, progress=progress, now=now))
        assert seen == (current and model.stage in LEASED)
        if seen is True:
            model.steps[model.epoch] = step

    @rule(number=JOBS, lag=LAGS)
    def ask_to_stop(self, number: JobNumber, lag: int) -> None:
        """Ask a held job to make room, once."""
        model, job, current = self.named(number, lag)
        now = self.now()
        asked = self.both(lambda tx: tx.jobs.ask_to_stop(job, by=now, now=now, why="room"))
        assert (asked is not None) == (current and model.stage in LEASED and model.stop_at is None)
        if asked is not None:
            model.stop_at = now
            model.events.append((model.stage, model.epoch, "room"))

    @rule(number=JOBS, lag=LAGS, outcome=st.sampled_from([*COUNTED, Outcome.SUCCEEDED]), again=st.booleans())
    def finish(self, number: JobNumber, lag: int, outcome: Outcome, *, again: bool) -> None:
        """Report the end of one attempt, which goes to review when it was a success."""
        model, job, current = self.named(number, lag)
        good = outcome is Outcome.SUCCEEDED
        stage = Stage.REVIEW if good else Stage.QUEUED if again else Stage.FAILED
        report, now = values.make_report(outcome), self.now()
        moved = self.both(lambda tx: tx.jobs.finish(job, stage=stage, report=report, now=now))
        assert (moved is not None) == (current and model.stage in LEASED)
        if moved is not None:
            model.outcomes[model.epoch] = outcome
            if outcome in COUNTED:
                model.counts[COUNTED[outcome]] += 1
            model.move(stage, fence=stage is Stage.QUEUED, why="" if good else outcome.value)

    @rule(number=JOBS, lag=LAGS, stage=st.sampled_from(Stage))
    def move(self, number: JobNumber, lag: int, stage: Stage) -> None:
        """Move a job that nobody holds; the tables refuse a way that there is not."""
        model, job, current = self.named(number, lag)
        now = self.now()
        moved = self.both(lambda tx: tx.jobs.move(job, stage=stage, now=now, why="so"))
        if not current or model.stage in LEASED:
            assert moved is None
        elif model.stage in ENDS or stage in LEASED or (stage is not model.stage and not may_move(model.stage, stage)):
            assert moved is Conflict
        else:
            model.move(stage, fence=(model.stage, stage) != (Stage.BLOCKED, Stage.QUEUED), why="so")

    @rule(number=JOBS, lag=LAGS, stage=st.sampled_from([Stage.CANCELLED, Stage.QUEUED, Stage.FAILED]))
    def cancel(self, number: JobNumber, lag: int, stage: Stage) -> None:
        """Take a job that has not ended away from whoever holds it."""
        model, job, current = self.named(number, lag)
        now = self.now()
        moved = self.both(lambda tx: tx.jobs.cancel(job, stage=stage, now=now, why="ada"))
        assert (moved is not None) == (current and model.stage not in ENDS)
        if moved is not None:
            if model.stage in LEASED:
                model.outcomes[model.epoch] = Outcome.CANCELLED
            model.move(stage, fence=True, why="ada")

    @rule(number=JOBS, needs=JOBS)
    def link(self, number: JobNumber, needs: JobNumber) -> None:
        """Let one job wait for another."""
        edge = Edge(job=number, needs=needs, kind=EdgeKind.HARD)
        answer = self.both(lambda tx: tx.jobs.link([edge]))
        model, other = self.jobs.get(number), self.jobs.get(needs)
        if model is None or other is None or number == needs or needs in model.needs or model.stage in ENDS:
            assert answer is not None
            return
        assert answer is None
        model.needs[needs] = False
        other.depended_on = other.depended_on or other.stage not in ENDS

    @rule(number=JOBS, needs=JOBS)
    def meet(self, number: JobNumber, needs: JobNumber) -> None:
        """Tell a job that it waits for one thing less."""
        now = self.now()
        answer = self.both(lambda tx: tx.jobs.meet(Edge(job=number, needs=needs, kind=EdgeKind.HARD), now=now))
        model = self.jobs.get(number)
        if model is None or model.needs.get(needs, True):
            assert answer is None
        elif model.stage in ENDS:
            assert answer is Conflict
        else:
            assert isinstance(answer, Job)
            model.needs[needs] = True

    @rule(number=JOBS, reviewer=st.sampled_from(["ada", "bob"]), approved=st.booleans())
    def review(self, number: JobNumber, reviewer: str, *, approved: bool) -> None:
        """Say yes or no; the last word stays."""
        model, job, _ = self.named(number, 0)
        word = Review(
            job=number, epoch=Epoch(model.epoch), reviewer=reviewer, approved=approved, reason="ok", at=self.now()
        )

        def act(tx: Transaction) -> Sequence[Review]:
            tx.jobs.review(word)
            return tx.jobs.reviews(job)

        found = self.both(act)
        assert (number in self.jobs) == (isinstance(found, list) and word in found)

    @rule(number=JOBS, inside=st.booleans())
    def undo(self, number: JobNumber, *, inside: bool) -> None:
        """Do something that is then taken back, with its savepoint or with the whole transaction."""
        new, now = values.make_new_job(99, key="undone", spec=values.make_spec(seats=9)), self.now()

        def act(tx: Transaction) -> None:
            tx.jobs.insert([Placed(new=new, stage=Stage.QUEUED)], now=now)
            found = tx.jobs.by_number(number)
            if found is not None:
                tx.jobs.cancel(found, stage=Stage.CANCELLED, now=now, why="undone")
            raise Conflict("undone", fix="")

        def act_inside(tx: Transaction) -> None:
            with pytest.raises(Conflict), tx.savepoint():
                act(tx)
            assert tx.touched == ()

        assert self.both(act_inside if inside else act) is (None if inside else Conflict)

    @rule()
    def lose_connections(self) -> None:
        """Let PostgreSQL forget its clients between two transactions."""
        self.cleaner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    @invariant()
    def agree(self) -> None:
        """Compare everything that can be read, and every row of every table."""
        answers = [self.answers(store) for store in (self.sqlite, self.postgres)]
        assert answers[0] == answers[1]
        assert answers[0]["ready"] == {number for number, model in self.jobs.items() if model.stage is Stage.QUEUED}
        for table, order in TABLES.items():
            query = f"SELECT * FROM {table} ORDER BY {order}"  # noqa: S608  names from above
            ours = [{name: row[name] for name in row.keys()} for row in self.sqlite._writer.rows(query)]  # noqa: SIM118
            assert ours == self.cleaner.cursor(row_factory=dict_row).execute(query.encode()).fetchall()
        with self.sqlite.read() as tx:
            for number, model in self.jobs.items():
                compare(tx, number, model)

    def answers(self, store: Store) -> dict[str, Any]:
        """Return what the store answers to everything that it can be asked about many jobs."""
        with store.read() as tx:
            return {
                "ready": {each.number for each in tx.jobs.ready()},
                "leased": tx.jobs.leased(),
                "stages": tx.jobs.count_stages(),
                "listed": tx.jobs.listed(PRODUCT, campaign="c1", stage=Stage.QUEUED, limit=3),
                "prefix": tx.jobs.keys_like(PRODUCT, "k1"),
                "spent": tx.jobs.seconds_spent(PRODUCT, campaign="c0"),
                "edges": [tx.jobs.edges(values.make_job(number=number)) for number in self.jobs],
            }


def compare(tx: Transaction, number: JobNumber, model: Model) -> None:
    """Compare one job with its model."""
    stored = tx.jobs.by_number(number)
    assert stored is not None
    assert (stored.stage, stored.epoch, stored.session) == (model.stage, model.epoch, model.session)
    assert {name: getattr(stored, name) for name in model.counts} == model.counts
    assert (stored.stop_at, stored.waiting) == (model.stop_at, list(model.needs.values()).count(False))
    assert bool(stored.marks & DEPENDED_ON) == model.depended_on
    events = tx.jobs.events(stored.id)
    assert [(event.stage, event.epoch, event.why) for event in events] == model.events
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.previous for event in events] == [None, *(event.stage for event in events[:-1])]
    attempts = tx.jobs.attempts(stored.id)
    assert {attempt.epoch: attempt.outcome for attempt in attempts} == model.outcomes
    steps = {attempt.epoch: attempt.progress.step for attempt in attempts if attempt.progress is not None}
    assert steps == model.steps


@pytest.mark.timeout(400)
def test_the_model_and_both_databases_agree(shared: tuple[str, psycopg.Connection]) -> None:
    """After every step, in every answer and in every row."""
    dsn, cleaner = shared
    postgres = PostgresStore(dsn)

    class Bound(Agreement):
        def __init__(self) -> None:
            super().__init__(postgres, cleaner)

    try:
        run_state_machine_as_test(Bound, settings=settings(max_examples=15, stateful_step_count=40, deadline=None))
    finally:
        postgres.close()
