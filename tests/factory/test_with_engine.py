"""The engine and a factory process at work together: what the one says, the other does."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from pilothouse.engine.engine import Engine
from pilothouse.factory.child import ChildWork, FactoryChild
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.job import Job, JobSpec, NewJob
from pilothouse.fleet.place import EVERY_PRODUCT
from pilothouse.fleet.stages import ENDS, Stage
from pilothouse.ids import BootId, FactoryName, JobId, ProductId
from pilothouse.store.sqlite.connection import MEMORY
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.factory_bench import SPEC, Bench, is_running
from pilothouse.wiring.workspace import SystemClock
from tests.factory.programs import PLAIN

NAME, BOOT = FactoryName("here"), BootId("boot-1")
UNTIL_TOLD = PLAIN + "mark('up')\nwhile not (run / 'end').exists():\n    threading.Event().wait(0.02)\nfinish()"


@dataclasses.dataclass(frozen=True)
class World:
    """An engine on a database in memory, and one factory process of two seats that works for it."""

    bench: Bench
    engine: Engine
    child: FactoryChild

    def submit(self, name: str, text: str, spec: JobSpec = SPEC) -> Job:
        """Submit a job that runs this Python text."""
        command = self.bench.offer_for(text, job=name).spec.command
        whole = dataclasses.replace(spec, command=command) if not spec.engine else spec
        return self.engine.submit(NewJob(id=JobId(name), product=ProductId("p"), pool="local", key=name, spec=whole))

    def until(self, name: str, condition: Callable[[Job], object]) -> Job:
        """Wait until the job is so."""
        deadline = time.monotonic() + 20
        while True:
            seen = self.engine.changes
            with self.engine.read() as tx:
                found = tx.jobs.by_id(JobId(name))
            assert found is not None
            if condition(found):
                return found
            self.engine.wait_change(seen, timeout_seconds=1)
            assert time.monotonic() < deadline, f"{name} stays {found.stage} at epoch {found.epoch}"

    def end(self, name: str) -> Job:
        """Wait for the job's end."""
        return self.until(name, lambda job: job.stage in ENDS)


@pytest.fixture(name="world")
def _world(bench: Bench) -> Iterator[World]:
    work = ChildWork(seats=2, engines={"scribe": ("python", str(bench.home / "scribe.py"))})
    with closing(SqliteStore(MEMORY)) as store, Engine(store, SystemClock(), lease_seconds=1.5) as engine:
        engine.enrol(Factory(product=EVERY_PRODUCT, name=NAME, seats=2, engines=("scribe",)))
        child = FactoryChild(engine, home=bench.home, work_folder=bench.home, name=NAME, boot=BOOT, work=work)
        with child:
            yield World(bench, engine, child)


def test_jobs_go_from_their_submission_to_their_end_side_by_side(world: World) -> None:
    """Each of the two is up before the other ends."""
    world.submit("job-1", UNTIL_TOLD)
    world.submit("job-2", UNTIL_TOLD)
    for name in ("job-1", "job-2"):
        world.bench.pid("up", job=name)
    for name in ("job-1", "job-2"):
        (world.bench.folder(job=name) / "end").touch()

    for name in ("job-1", "job-2"):
        found = world.end(name)
        assert found.stage is Stage.SHIPPED
        assert (found.epoch, found.failures, found.losses) == (1, 0, 0)


def test_a_lease_is_renewed_for_as_long_as_a_job_runs(world: World) -> None:
    """Longer than one lease, and its progress is known."""
    text = PLAIN + "log(7, loss=0.5)\nthreading.Event().wait(2.5)\nfinish()"
    world.submit("job-1", text)

    assert world.end("job-1").epoch == 1
    with world.engine.read() as tx:
        (attempt,) = tx.jobs.attempts(JobId("job-1"))
    assert attempt.progress is not None
    assert attempt.progress.values == {"loss": 0.5}


def test_a_job_that_is_cancelled_is_ended_where_it_runs(world: World) -> None:
    """With the next beat; the seat is free again."""
    world.submit("job-1", PLAIN + "mark('up')\nrest()")
    job = world.bench.pid("up")

    world.engine.cancel(JobId("job-1"))

    world.bench.until(lambda: not is_running(job))
    world.submit("job-2", PLAIN + "finish()")
    assert world.end("job-2").stage is Stage.SHIPPED
    assert world.end("job-1").stage is Stage.CANCELLED


def test_an_engines_task_goes_to_its_engine(world: World) -> None:
    """By the name that the factory has enrolled it under."""
    (world.bench.home / "scribe.py").write_text(
        PLAIN + "(run / 'read').write_bytes(sys.stdin.buffer.read())", encoding="utf-8"
    )
    world.submit("job-1", "", dataclasses.replace(SPEC, campaign="", engine="scribe", body="do it"))

    assert world.end("job-1").stage is Stage.SHIPPED
    assert (world.bench.folder() / "read").read_text(encoding="utf-8") == "do it"


def test_a_factory_whose_session_was_taken_leaves_for_another_to_begin(world: World) -> None:
    """Its exit code is not that of a clean end, and its job comes back."""
    world.submit("job-1", PLAIN + "mark('up')\nrest()")
    job = world.bench.pid("up")

    world.engine.rescue_boot(NAME, BOOT)

    assert world.child.ended.wait(20)
    world.bench.until(lambda: not world.child.alive)
    assert world.child.stop(grace_seconds=5) == 75
    assert not is_running(job)
    found = world.until("job-1", lambda each: each.stage is Stage.QUEUED)
    assert (found.epoch, found.losses) == (2, 1)
