"""A resume is held to its least step: on the machine that has the checkpoint, and on one that has not."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.engine.engine import Engine
from pilothouse.errors import CheckpointMissing
from pilothouse.factory.child import FactoryChild
from pilothouse.factory.prepare import prepare
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.job import Attempt, FreshStart, Job, JobSpec, NewJob, Outcome
from pilothouse.fleet.least_step import STEPS_LOST, LeastStep
from pilothouse.fleet.place import EVERY_PRODUCT
from pilothouse.fleet.stages import Stage
from pilothouse.ids import BootId, FactoryName, JobId
from pilothouse.ports.dispatch import Offer
from pilothouse.store.sqlite.connection import MEMORY
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.factory_bench import SPEC, Bench
from pilothouse.testing.values import CAMPAIGN, PRODUCT
from pilothouse.trainer import tree
from pilothouse.wiring.workspace import SystemClock
from tests.factory.programs import KIT, PLAIN, reported

REFUSES = dataclasses.replace(SPEC, fresh_start=FreshStart.REFUSED)
LEAST = LeastStep(step=100, factory=FactoryName("far-1"), folder="runs/job-1/attempt-1")
ENDS = PLAIN + "log(order['resume']['step'] if order['resume'] else 0)\nfinish()"
HERE, THERE = FactoryName("here"), FactoryName("there")
SECONDS_MAX = 30.0
SAVES_ONCE = KIT + (
    "    first = run.resume.step if run.resume else 0\n"
    "    run.log(first)\n"
    "    if run.attempt > 1:\n        run.finish({'began_at': first})\n        sys.exit(0)\n"
    "    run.checkpoint(40, save)\n    run.log(41)\n"
    "    while True:\n        __import__('signal').pause()\n"
)
AT_ITS_STEP = KIT + "    run.log(run.resume.step)\n    run.finish({'began_at': run.resume.step})\n"


def saved(bench: Bench, step: int) -> Path:
    """Let the first attempt have left a checkpoint of this step."""
    folder = bench.folder(1) / "checkpoints" / f"step-{step:06d}"
    folder.mkdir(parents=True)
    (folder / "rows").write_text("x", encoding="utf-8")
    tree.seal(folder)
    return folder


def second(bench: Bench, spec: JobSpec = SPEC, *, program: str = ENDS) -> Offer:
    """Return the offer of a second attempt that is held to the least step."""
    return dataclasses.replace(bench.offer_for(program, epoch=2, earlier=[1], spec=spec), least=LEAST)


def log_of(bench: Bench) -> str:
    """Return what stands in the second attempt's log."""
    return (bench.folder(2) / "log.txt").read_text(encoding="utf-8")


def test_a_start_without_the_checkpoint_is_told_and_counts_what_is_lost(bench: Bench) -> None:
    """In the log for people, and with the start for the engine's record."""
    report = reported(bench.run(second(bench)))

    assert report.outcome is Outcome.SUCCEEDED
    assert bench.dispatch.resume_steps == {("job-1", 2): None}
    assert "begins afresh: 100 steps are done again" in log_of(bench)


@pytest.mark.parametrize("spec", [SPEC, REFUSES])
def test_with_the_checkpoint_nothing_is_lost(bench: Bench, spec: JobSpec) -> None:
    """Whether or not a fresh start is allowed; one that is further on than was told is as good."""
    saved(bench, 120)

    report = reported(bench.run(second(bench, spec)))

    assert report.outcome is Outcome.SUCCEEDED
    assert bench.dispatch.resume_steps == {("job-1", 2): 120}
    assert "done again" not in log_of(bench)


def test_a_program_that_does_not_heed_its_checkpoint_is_ended(bench: Bench) -> None:
    """The least step holds the program as well as the factory."""
    saved(bench, 100)

    report = reported(bench.run(second(bench, program=PLAIN + "log(1)\nrest()")))

    assert report.outcome is Outcome.RESUMED_TOO_EARLY


def test_a_checkpoint_that_is_damaged_costs_the_steps_since_the_one_before(bench: Bench) -> None:
    """The older one is gone on from, and the difference is told."""
    saved(bench, 60)
    (saved(bench, 100) / "rows").write_text("y", encoding="utf-8")

    reported(bench.run(second(bench)))

    assert bench.dispatch.resume_steps == {("job-1", 2): 60}
    assert "goes on from step 60: 40 steps are done again" in log_of(bench)


@pytest.mark.parametrize("left", [None, 60])
def test_a_job_that_refuses_a_fresh_start_is_not_started_below(bench: Bench, left: int | None) -> None:
    """A person reads which factory has the checkpoint, and in which folder."""
    if left is not None:
        saved(bench, left)

    report = reported(bench.run(second(bench, REFUSES)))

    assert report.outcome is Outcome.CHECKPOINT_MISSING
    assert "checkpoint of step 100" in report.detail
    assert "factory far-1 saved it in runs/job-1/attempt-1" in report.detail
    assert bench.dispatch.starts == []
    assert not bench.folder(2).exists()


def test_a_damaged_checkpoint_is_named_where_the_start_is_refused(bench: Bench) -> None:
    """Bringing the folder back would not mend it."""
    (saved(bench, 100) / "rows").write_text("y", encoding="utf-8")

    report = reported(bench.run(second(bench, REFUSES)))

    assert report.outcome is Outcome.CHECKPOINT_MISSING
    assert "checkpoint of step 100 skipped" in report.detail


@given(
    saved_steps=st.dictionaries(st.integers(1, 6), st.booleans(), max_size=3),
    least=st.none() | st.integers(0, 6),
    policy=st.sampled_from(FreshStart),
)
@settings(max_examples=25, deadline=None)
def test_whatever_lies_there_no_order_goes_below_without_a_word(
    saved_steps: dict[int, bool], least: int | None, policy: FreshStart
) -> None:
    """Checkpoints that are whole or damaged, and a least step: the newest whole one, and a note or a refusal below."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder).resolve())
        for step, whole in saved_steps.items():
            rows = saved(bench, step) / "rows"
            rows.write_text("x" if whole else "y", encoding="utf-8")
        spec = dataclasses.replace(SPEC, fresh_start=policy)
        wanted = None if least is None else dataclasses.replace(LEAST, step=least)
        offer = dataclasses.replace(second(bench, spec), least=wanted)
        begins = max((step for step, whole in saved_steps.items() if whole), default=None)
        short = (begins or 0) < (least or 0)
        try:
            prepared = prepare(offer, home=bench.home, blobs=bench.blobs, touch=lambda: None)
        except CheckpointMissing:
            assert short
            assert policy is FreshStart.REFUSED
            return
        order = json.loads((prepared.folder / "run.json").read_text(encoding="utf-8"))
        log = prepared.folder / "log.txt"

        assert prepared.resume_step == begins
        assert (order["resume"] or {"step": None})["step"] == begins
        assert (log.exists() and "done again" in log.read_text(encoding="utf-8")) is short
        assert not (short and policy is FreshStart.REFUSED)


# --- kill -9, and another machine


@dataclasses.dataclass(frozen=True)
class World:
    """An engine with a campaign, and homes of factories that are killed."""

    engine: Engine
    bench: Bench

    def submit(self, spec: JobSpec, *, program: str = SAVES_ONCE, generation: int = 0) -> None:
        """Submit a job whose first attempt saves step 40 and hangs, and whose later ones say where they began."""
        name, key = f"job-{generation + 1}", f"step#{generation}"
        command = self.bench.offer_for(program, job=name).spec.command
        whole = dataclasses.replace(spec, command=command, campaign=CAMPAIGN)
        self.engine.submit(NewJob(id=JobId(name), product=PRODUCT, pool="local", key=key, spec=whole))

    def start(self, name: FactoryName, home: Path, *, boot: str = "boot-1") -> FactoryChild:
        """Start a factory's process."""
        home.mkdir(parents=True, exist_ok=True)
        return FactoryChild(self.engine, home=home, work_folder=home, name=name, boot=BootId(boot))

    def lose(self, child: FactoryChild) -> None:
        """Wait until the engine knows of the checkpoint, kill the factory, and give its session up."""
        self.until(lambda attempts: attempts and attempts[0].progress and attempts[0].progress.checkpoint_step == 40)
        os.kill(child.pid, signal.SIGKILL)
        assert child.ended.wait(SECONDS_MAX)
        child.stop(grace_seconds=5)
        self.engine.rescue_boot(child.name, child.boot)

    def until(self, condition: Callable[[list[Attempt]], object], *, job: str = "job-1") -> list[Attempt]:
        """Wait until the job's attempts are so."""
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            seen = self.engine.changes
            with self.engine.read() as tx:
                attempts = list(tx.jobs.attempts(JobId(job)))
            if condition(attempts):
                return attempts
            assert time.monotonic() < deadline, attempts
            self.engine.wait_change(seen, timeout_seconds=0.5)

    def end(self) -> tuple[Job, Attempt, list[str]]:
        """Wait for the second attempt's end; return the job, the attempt, and what it lost in words."""
        attempts = self.until(lambda found: len(found) == 2 and found[1].outcome is not None)
        with self.engine.read() as tx:
            job, incidents = tx.jobs.by_id(JobId("job-1")), tx.campaigns.incidents(PRODUCT, CAMPAIGN)
        assert job is not None
        return job, attempts[1], [each.evidence for each in incidents if each.diagnosis == STEPS_LOST]


@pytest.fixture(name="world")
def _world(bench: Bench) -> Iterator[World]:
    with closing(SqliteStore(MEMORY)) as store, Engine(store, SystemClock(), lease_seconds=30.0) as engine:
        engine.apply(lambda tx: tx.campaigns.put(values.make_campaign()))
        for name in (HERE, THERE):
            engine.enrol(Factory(product=EVERY_PRODUCT, name=name, seats=1))
        yield World(engine, bench)


@pytest.mark.parametrize(("here", "there"), [("", ""), ("factories/here", "factories/there"), ("factories/here", "")])
def test_killed_with_its_folder_kept_a_run_goes_on_at_its_least_step(world: World, here: str, there: str) -> None:
    """Kill -9 of the factory; another one in the same home, or beside it on this machine, loses nothing."""
    world.submit(REFUSES)
    world.lose(world.start(HERE, world.bench.home / here))
    with world.start(THERE, world.bench.home / there):
        job, attempt, lost = world.end()

    assert (job.stage, attempt.metrics) == (Stage.SHIPPED, {"began_at": 40.0})
    assert lost == []


@pytest.mark.parametrize("removed", [True, False])
def test_killed_and_moved_a_run_begins_afresh_on_record(world: World, *, removed: bool) -> None:
    """Kill -9 of the factory, then its folder is gone, or the other factory is another machine: 40 steps are lost."""
    world.submit(SPEC)
    world.lose(world.start(HERE, world.bench.home))
    if removed:
        shutil.rmtree(world.bench.home / "runs")
    home = world.bench.home if removed else world.bench.home.with_name("there")
    with world.start(THERE, home):
        job, attempt, lost = world.end()
    order = json.loads((home / attempt.folder / "run.json").read_text(encoding="utf-8"))

    assert (job.stage, attempt.metrics) == (Stage.SHIPPED, {"began_at": 0.0})
    assert order["resume"] is None
    (words,) = lost
    assert "40 steps are done again" in words
    assert f"factory {HERE} saved it in runs/job-1/attempt-1" in words


def test_killed_and_moved_a_run_that_refuses_a_fresh_start_goes_to_a_person(world: World) -> None:
    """No step is done again; the job names the folder, and a later generation at home goes on from there."""
    world.submit(REFUSES)
    world.lose(world.start(HERE, world.bench.home))
    with world.start(THERE, world.bench.home.with_name("there")):
        job, attempt, lost = world.end()

    assert (job.stage, attempt.outcome, attempt.started_at) == (Stage.FAILED, Outcome.CHECKPOINT_MISSING, None)
    assert f"factory {HERE} saved it in runs/job-1/attempt-1" in attempt.detail
    assert lost == []
    world.submit(REFUSES, program=AT_ITS_STEP, generation=1)
    with world.start(HERE, world.bench.home, boot="boot-2"):
        (again,) = world.until(lambda found: found and found[0].outcome is not None, job="job-2")
    assert again.metrics == {"began_at": 40.0}
