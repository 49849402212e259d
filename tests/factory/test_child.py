"""The factory as a process: it answers, it ends with its engine, and it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilothouse.blobs.local import LocalBlobs
from pilothouse.errors import OperationFailed
from pilothouse.factory.child import FactoryChild
from pilothouse.factory.orphans import sweep_orphans
from pilothouse.fleet.job import Outcome, Report
from pilothouse.ids import BootId, FactoryName
from pilothouse.launch import identity, tree
from pilothouse.launch.environment import ATTEMPT, FACTORY, RUN_DIR
from pilothouse.testing.factory_bench import Bench, RecordingDispatch, is_running

NAME, BOOT = FactoryName("here"), BootId("boot-1")
MARK = """
import json, os, signal, sys
from pathlib import Path
run = Path(os.environ["PILOTHOUSE_RUN_DIR"])
def mark(name):
    (run / name).write_text(f"{os.getpid()}\\n")
def rest():
    while True:
        signal.pause()
"""
SAVE_AT_SIGTERM = "signal.signal(signal.SIGTERM, lambda *_: (mark('saved'), sys.exit(75)))\nmark('up')\nrest()"
FINISH = "(run / 'summary.json').write_text(json.dumps({'metrics': {'loss': 1.0}}))"
REPORT = Report(
    outcome=Outcome.CRASHED, detail="d", exit_code=1, metrics={"loss": float("inf")}, artifacts=(), seconds=1.0
)

ENGINE = """
import signal, sys
from pathlib import Path
from pilothouse.factory.child import FactoryChild
from pilothouse.testing.factory_bench import Bench
bench = Bench(Path(sys.argv[1]))
bench.dispatch.lease_seconds = float(sys.argv[3])
bench.dispatch.offer(bench.offer_for(Path(sys.argv[2]).read_text()))
child = FactoryChild(bench.dispatch, home=bench.home, work_folder=bench.home, name="here", boot="boot-1")
(bench.home / "factory.pid").write_text(f"{child.pid}\\n")
bench.dispatch.until(lambda: bench.dispatch.reports)
(report,) = bench.dispatch.reports.values()
(bench.home / "reported").write_text(f"{report.outcome}\\n")
signal.pause()
"""


@pytest.fixture(name="child")
def _child(bench: Bench) -> Iterator[FactoryChild]:
    child = FactoryChild(bench.dispatch, home=bench.home, work_folder=bench.home, name=NAME, boot=BOOT)
    with child:
        yield child


@pytest.fixture(name="engine")
def _engine(bench: Bench, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start another process that plays the engine, offers one program, and waits to be killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str, lease_seconds: float = 30.0) -> subprocess.Popen[bytes]:
        (tmp_path / "offered.py").write_text(program, encoding="utf-8")
        arguments = [sys.executable, "-c", ENGINE, str(bench.home), str(tmp_path / "offered.py")]
        arguments.append(str(lease_seconds))
        started.append(subprocess.Popen(arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(20)
    sweep_orphans(bench.home, patience_seconds=0)


def factory_pid(bench: Bench) -> int:
    """Return the number of the factory that the other engine has started."""
    path = bench.home / "factory.pid"
    bench.until(lambda: path.exists() and path.read_text(encoding="utf-8").endswith("\n"))
    return int(path.read_text(encoding="utf-8"))


def test_jobs_run_in_the_child(bench: Bench, child: FactoryChild) -> None:
    """The report comes back over the line."""
    bench.dispatch.offer(bench.offer_for(MARK + FINISH))
    bench.dispatch.until(lambda: bench.dispatch.reports)

    (report,) = bench.dispatch.reports.values()
    assert (report.outcome, report.metrics) == (Outcome.SUCCEEDED, {"loss": 1.0})
    assert child.alive
    assert os.getsid(child.pid) == child.pid


def test_a_stopped_child_has_its_job_save_and_be_reported(bench: Bench, child: FactoryChild) -> None:
    """Preempted, with exit code 75; the factory itself leaves with 0."""
    bench.dispatch.offer(bench.offer_for(MARK + SAVE_AT_SIGTERM))
    job = bench.pid("up")

    assert child.stop(grace_seconds=20) == 0

    (report,) = bench.dispatch.reports.values()
    assert (report.outcome, report.exit_code) == (Outcome.PREEMPTED, 75)
    assert (bench.folder() / "saved").exists()
    assert not is_running(job)
    assert not child.alive
    assert child.ended.is_set()
    assert child.stop(grace_seconds=0) == 0


def test_a_child_that_does_not_stop_is_killed_with_its_job(bench: Bench, child: FactoryChild) -> None:
    """The grace of the factory has an end; its job's other processes are found by their cookie."""
    text = "if os.fork() == 0:\n    os.setsid()\n    mark('child')\n    rest()\n"
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    bench.dispatch.offer(bench.offer_for(MARK + ignore + text + "mark('up')\nrest()"))
    leader, grandchild = bench.pid("up"), bench.pid("child")

    assert child.stop(grace_seconds=0.2) == -signal.SIGKILL

    bench.until(lambda: not is_running(leader))
    assert not is_running(grandchild)


def test_a_killed_factory_is_noticed_and_leaves_no_job(bench: Bench, child: FactoryChild) -> None:
    """Its line ends; the rest of its job is ended by `stop`."""
    text = "if os.fork() == 0:\n    os.setsid()\n    mark('child')\n    rest()\nmark('up')\nrest()"
    bench.dispatch.offer(bench.offer_for(MARK + text))
    leader, grandchild = bench.pid("up"), bench.pid("child")
    os.kill(child.pid, signal.SIGKILL)

    assert child.ended.wait(20)
    bench.until(lambda: not child.alive)
    child.stop(grace_seconds=0)
    assert not is_running(leader)
    assert not is_running(grandchild)


def test_a_killed_engine_takes_its_factory_and_its_job_along(
    bench: Bench, engine: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """The job may save itself first."""
    process = engine(MARK + SAVE_AT_SIGTERM)
    job, factory = bench.pid("up"), factory_pid(bench)
    process.kill()
    process.wait(20)

    bench.until(lambda: not is_running(factory))
    assert not is_running(job)
    assert bench.pid("saved") == job


def test_an_engine_that_hangs_has_its_job_ended_and_told_when_it_wakes_up(
    bench: Bench, engine: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """The job ends by the factory's own clock; the engine hears of it as soon as it listens again."""
    process = engine(MARK + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nmark('up')\nrest()", 1.5)
    job, factory = bench.pid("up"), factory_pid(bench)

    process.send_signal(signal.SIGSTOP)
    bench.until(lambda: not is_running(job))
    assert is_running(factory)
    process.send_signal(signal.SIGCONT)

    path = bench.home / "reported"
    bench.until(lambda: path.exists() and path.read_text(encoding="utf-8") == "lost\n")


def test_a_sweep_waits_for_a_factory_that_is_leaving(
    bench: Bench, engine: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """So the next start finds the checkpoint and no process."""
    process = engine(MARK + SAVE_AT_SIGTERM)
    job, factory = bench.pid("up"), factory_pid(bench)
    process.kill()
    process.wait(20)

    assert sweep_orphans(bench.home) >= 0
    assert not is_running(factory)
    assert not is_running(job)
    assert (bench.folder() / "saved").exists()


def test_a_sweep_ends_a_factory_that_hangs(bench: Bench, engine: Callable[..., subprocess.Popen[bytes]]) -> None:
    """And the job that it can no longer end."""
    process = engine(MARK + "mark('up')\nrest()")
    job, factory = bench.pid("up"), factory_pid(bench)
    os.kill(factory, signal.SIGSTOP)
    process.kill()
    process.wait(20)

    assert sweep_orphans(bench.home, patience_seconds=0.1) >= 2
    assert not is_running(factory)
    assert not is_running(job)


def test_a_sweep_leaves_a_living_engine_alone(
    bench: Bench, engine: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """Its factory and its job go on, and so does an orphan of another home."""
    engine(MARK + "mark('up')\nrest()")
    job, factory = bench.pid("up"), factory_pid(bench)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(20)
    variables = {
        ATTEMPT: "job-1:1",
        RUN_DIR: str(tmp_path / "other" / "runs"),
        FACTORY: identity.spell(gone.pid, started=1.0),
    }
    other = subprocess.Popen([sys.executable, "-c", "import signal\nsignal.pause()"], env=variables)
    bench.until(lambda: ATTEMPT in tree.environment_of(other.pid))

    assert sweep_orphans(bench.home) == 0
    assert is_running(job)
    assert is_running(factory)
    assert sweep_orphans(tmp_path / "other") == 1
    assert other.wait(20) == -signal.SIGKILL


def test_a_factory_holds_no_secret_that_its_jobs_could_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job may read the environment of its parent: it has to be as short as its own."""
    monkeypatch.setenv("SOME_TOKEN", "secret")
    monkeypatch.setenv("NAMED", "passes")

    child = FactoryChild(
        bench.dispatch, home=bench.home, work_folder=bench.home, name=NAME, boot=BOOT, variables=["NAMED"]
    )
    with child:
        bench.dispatch.offer(bench.offer_for(MARK + FINISH))
        bench.dispatch.until(lambda: bench.dispatch.reports)
        seen = tree.environment_of(child.pid)

    assert seen["NAMED"] == "passes"
    assert "PATH" in seen
    assert "SOME_TOKEN" not in seen


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's flag is Linux's")
def test_a_factory_cannot_be_looked_into_by_its_user() -> None:
    """Neither its memory nor its environment; PR_GET_DUMPABLE is 3."""
    text = (
        "import ctypes\nfrom pilothouse.factory.process import keep_to_itself\nkeep_to_itself()\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )

    seen = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)

    assert seen.stdout.strip() == "0"


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Before anything is started."""
    (tmp_path / "home").write_text("a file in the way", encoding="utf-8")

    with pytest.raises(OperationFailed, match="home"):
        FactoryChild(RecordingDispatch(), home=tmp_path / "home", work_folder=tmp_path, name=NAME, boot=BOOT)


def test_the_factory_loads_no_numeric_library() -> None:
    """It is there to watch, and starts in a blink."""
    text = (
        "import sys, pilothouse.factory.process, pilothouse.factory.child\n"
        "print([name for name in ('numpy', 'scipy', 'pyarrow', 'jax', 'pydantic') if name in sys.modules])"
    )

    seen = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)

    assert seen.stdout.strip() == "[]"


def test_the_blobs_of_a_home_are_the_factorys(bench: Bench, child: FactoryChild, tmp_path: Path) -> None:
    """What it keeps is found by whoever shares the home."""
    text = "(run / 'samples.parquet').write_bytes(b'PAR1')\n"
    summary = "(run / 'summary.json').write_text(json.dumps({'metrics': {}, 'artifacts': {'s': 'samples.parquet'}}))"
    bench.dispatch.offer(bench.offer_for(MARK + text + summary))
    bench.dispatch.until(lambda: bench.dispatch.reports)

    (report,) = bench.dispatch.reports.values()
    assert LocalBlobs(bench.home / "blobs").path(report.artifacts[0].digest).is_dir()
    assert child.boot == BOOT
    assert not list(tmp_path.glob("*.parquet"))
