"""The one writer: group commit, errors that reach only their caller, and how it stops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.engine.world import LEASE_SECONDS, ONE, TWO, FailingStore, make_factory

from pilothouse.engine.commands import Act
from pilothouse.engine.scheduler import Scheduler
from pilothouse.engine.writer import BATCH_MAX, Writer
from pilothouse.errors import KeyReused, StillPending, StorageFailed
from pilothouse.fleet.job import Placed, Priority
from pilothouse.fleet.stages import Stage
from pilothouse.ports.store import Transaction
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.store.transaction import StoredTransaction
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN, FrozenClock

PATIENCE_SECONDS = 30.0


class Counting(FailingStore):
    """A store that notes how many jobs each commit carried."""

    def __init__(self, inner: SqliteStore) -> None:
        super().__init__(inner)
        self.commits: list[int] = []

    @contextmanager
    def write(self) -> Iterator[StoredTransaction]:
        """Write as the store does."""
        with super().write() as tx:
            yield tx
        self.commits.append(len(tx.touched))


class Bench:
    """A writer over a real store, with a record of its commits."""

    def __init__(self, path: Path) -> None:
        self.store = Counting(SqliteStore(path))
        self.clock = FrozenClock()
        self.settled = 0
        self.stop = threading.Event()
        with self.store.write() as tx:
            for name in (ONE, TWO):
                tx.factories.put(make_factory(name, seats=1), now=BEGIN)
        self.store.commits.clear()
        self.scheduler = Scheduler(self.store, self.clock, lease_seconds=LEASE_SECONDS)
        self.scheduler.load()
        self.writer = Writer(self.scheduler, self.clock, settled=self._settle)
        self.thread = threading.Thread(target=self.writer.run, args=(self.stop,), daemon=True)

    def _settle(self) -> None:
        self.settled += 1

    def apply(self, act: Callable[[Transaction], str], *, timeout_seconds: float = PATIENCE_SECONDS) -> str:
        """Let something be done by the writer."""
        return self.writer.ask(Act(act), timeout_seconds=timeout_seconds)

    def close(self) -> None:
        """Stop the writer and close the store."""
        self.stop.set()
        self.writer.poke()
        if self.thread.is_alive():
            self.thread.join(PATIENCE_SECONDS)
        self.store.close()

    def stored(self) -> list[str]:
        """Return the keys of all jobs, oldest first."""
        with self.store.read() as tx:
            return [job.key for job in reversed(tx.jobs.listed(values.PRODUCT, limit=1000))]

    def gather(
        self, pool: ThreadPoolExecutor, acts: Sequence[Callable[[Transaction], str]], *, stopped: bool = False
    ) -> list[Future[str]]:
        """Hand in commands while the writer stands still, then start it, so that they fall into one batch."""
        futures = [pool.submit(self.apply, act) for act in acts]
        patience = threading.Event()
        while len(self.writer._pending) < len(acts):
            assert not patience.wait(0.001)
        if stopped:
            self.stop.set()
        self.thread.start()
        return futures


def insert(number: int, *, priority: Priority = Priority.MEDIUM) -> Callable[[Transaction], str]:
    """Return a command that submits job number n."""

    def act(tx: Transaction) -> str:
        placed = Placed(new=values.make_new_job(number, priority=priority), stage=Stage.QUEUED)
        return tx.jobs.insert([placed], now=BEGIN)[0].id

    return act


def insert_and_fail(tx: Transaction) -> str:
    """Write something, then fail."""
    insert(10_000)(tx)
    raise ZeroDivisionError


@pytest.fixture(name="bench")
def _bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "pilothouse.db")
    yield bench
    bench.close()


def test_an_answer_comes_after_the_commit(bench: Bench) -> None:
    """Another connection sees the change as soon as the caller has its result, and it is settled by then."""
    bench.thread.start()

    bench.apply(insert(1))

    assert bench.stored() == ["step/1"]
    assert bench.settled >= 1


def test_commands_that_wait_share_one_commit(bench: Bench) -> None:
    """A batch is one transaction, and no batch is larger than its bound."""
    count = BATCH_MAX + 44
    with ThreadPoolExecutor(count) as pool:
        futures = bench.gather(pool, [insert(number) for number in range(count)])
        answers = {future.result(PATIENCE_SECONDS) for future in futures}

    assert len(answers) == count
    assert [jobs for jobs in bench.store.commits if jobs] == [BATCH_MAX, 44]


def test_an_error_reaches_only_its_caller(bench: Bench) -> None:
    """Its writes are undone, and the rest of the batch is committed."""
    with ThreadPoolExecutor(5) as pool:
        futures = bench.gather(pool, [insert(1), insert_and_fail, insert(1), insert(2)])
        errors = [future.exception(PATIENCE_SECONDS) for future in futures]

    kinds = sorted(type(error).__name__ for error in errors)
    assert kinds == ["KeyReused", "NoneType", "NoneType", "ZeroDivisionError"]
    assert sorted(bench.stored()) == ["step/1", "step/2"]
    assert [jobs for jobs in bench.store.commits if jobs] == [2]


def test_a_lone_command_that_fails_keeps_nothing(bench: Bench) -> None:
    """It has no savepoint, so its whole transaction goes."""
    bench.thread.start()

    with pytest.raises(ZeroDivisionError):
        bench.apply(insert_and_fail)

    assert bench.stored() == []


def test_a_commit_that_fails_reaches_everybody(bench: Bench) -> None:
    """Also a caller whose own error was found inside the transaction that is undone; later commands go on."""
    bench.store.failing = True
    with ThreadPoolExecutor(3) as pool:
        futures = bench.gather(pool, [insert(1), insert(1), insert(2)])
        errors = [future.exception(PATIENCE_SECONDS) for future in futures]
    bench.store.failing = False

    assert [str(error) for error in errors] == ["the disk is full"] * 3
    assert len({id(error) for error in errors}) == 3
    assert bench.stored() == []
    assert bench.apply(insert(1)) == "job-demo-1"


def test_a_stopped_writer_has_answered_what_it_accepted(bench: Bench) -> None:
    """What waited at the stop is committed; what comes later is refused at once."""
    with ThreadPoolExecutor(3) as pool:
        futures = bench.gather(pool, [insert(number) for number in range(3)], stopped=True)
        answers = [future.result(PATIENCE_SECONDS) for future in futures]
    bench.thread.join(PATIENCE_SECONDS)

    assert not bench.thread.is_alive()
    assert len(answers) == 3
    with pytest.raises(StorageFailed, match="stopped"):
        bench.apply(insert(9))


def test_a_caller_does_not_wait_for_ever(bench: Bench) -> None:
    """A writer that was never started is told of, and the command is still carried out when it starts."""
    with pytest.raises(StillPending, match="may still be made"):
        bench.apply(insert(1), timeout_seconds=0.001)

    bench.thread.start()
    with pytest.raises(KeyReused):
        bench.apply(insert(1))


def test_a_command_must_not_ask_the_writer_that_runs_it(bench: Bench) -> None:
    """It would wait for itself."""
    bench.thread.start()

    with pytest.raises(AssertionError, match="must not ask"):
        bench.apply(lambda _: bench.apply(insert(1)))


def test_a_writer_that_breaks_down_leaves_nobody_waiting(bench: Bench) -> None:
    """What broke it reaches the callers of that batch, and everybody after them is refused."""

    def break_down(_: Transaction) -> str:
        raise SystemExit(3)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.writer.run, bench.stop)
        with pytest.raises(SystemExit):
            bench.apply(break_down)
        assert isinstance(running.exception(PATIENCE_SECONDS), SystemExit)

    with pytest.raises(StorageFailed, match="stopped"):
        bench.apply(insert(1))
    assert bench.stored() == []
