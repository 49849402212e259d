"""Real programs in real processes: signals, crashes and kills."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pilothouse.trainer import newest_checkpoint, tree

_TIMEOUT_S = 60

_PATIENT = """
import sys
from pilothouse import trainer
with trainer.start() as run:
    print("ready", flush=True)
    step = 0
    while not run.stopping:
        step += 1
        if step <= 3:
            run.log(step, loss=1.0 / step)
    run.checkpoint(step, lambda folder: (folder / "weights").write_text("w"))
    run.leave()
"""

_CRASHING = """
from pilothouse import trainer
with trainer.start() as run:
    run.log(1, loss=1.0)
    raise RuntimeError("the loss walked away")
"""

_UNFINISHED = """
from pilothouse import trainer
with trainer.start() as run:
    run.log(1)
"""

_KILLED_WHILE_SAVING = """
import sys
from pilothouse import trainer
def save(folder):
    (folder / "weights").write_text("half")
    print("at the point", flush=True)
    sys.stdin.read()
with trainer.start() as run:
    run.checkpoint(1, lambda folder: (folder / "weights").write_text("whole"))
    run.checkpoint(2, save)
"""

_KILLED_BEFORE_RENAME = """
import sys
from pathlib import Path
from pilothouse import trainer
plain = Path.rename
def rename(self, target):
    if "000002" in self.name:
        print("at the point", flush=True)
        sys.stdin.read()
    return plain(self, target)
Path.rename = rename
with trainer.start() as run:
    run.checkpoint(1, lambda folder: (folder / "weights").write_text("whole"))
    run.checkpoint(2, lambda folder: (folder / "weights").write_text("second"))
"""

_GOES_ON = """
from pilothouse import trainer
with trainer.start() as run:
    path = run.checkpoint(2, lambda folder: (folder / "weights").write_text("second"))
    run.finish({}, artifacts={"checkpoint": path})
"""


def _order(folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps({"run": "r1", "inputs": {}}))
    (folder / "config.json").write_text("{}")


def _start(folder: Path, program: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PILOTHOUSE_RUN_DIR": str(folder)}  # noqa: TID251  a child needs the parent's PATH
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _first_line(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_sigterm_ends_in_a_checkpoint_and_75(tmp_path: Path) -> None:
    """A program asked to stop saves what it has and says so by its exit code."""
    _order(tmp_path)
    with _start(tmp_path, _PATIENT) as child:
        assert _first_line(child) == "ready"
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=_TIMEOUT_S)

    assert child.returncode == 75
    newest = newest_checkpoint(tmp_path / "checkpoints")
    assert newest is not None
    assert tree.verify(newest.checkpoint).meta["step"] == newest.step
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize(("program", "said"), [(_CRASHING, "the loss walked away"), (_UNFINISHED, "run.finish")])
def test_a_crash_leaves_a_traceback_and_no_summary(tmp_path: Path, program: str, said: str) -> None:
    """Exit code 1, the reason on stderr, no summary."""
    _order(tmp_path)
    with _start(tmp_path, program) as child:
        _, errors = child.communicate(timeout=_TIMEOUT_S)

    assert child.returncode == 1
    assert said in errors
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize("program", [_KILLED_WHILE_SAVING, _KILLED_BEFORE_RENAME])
def test_a_kill_while_saving_never_leaves_half_a_checkpoint(tmp_path: Path, program: str) -> None:
    """The older checkpoint is still the newest, and the next attempt sweeps the rest away and goes on."""
    _order(tmp_path)
    with _start(tmp_path, program) as child:
        assert _first_line(child) == "at the point"
        child.kill()
        child.communicate(timeout=_TIMEOUT_S)

    newest = newest_checkpoint(tmp_path / "checkpoints")
    assert newest is not None
    assert (newest.step, (newest.checkpoint / "weights").read_text()) == (1, "whole")
    assert (tmp_path / "checkpoints" / ".step-000002.tmp").exists()

    with _start(tmp_path, _GOES_ON) as child:
        _, errors = child.communicate(timeout=_TIMEOUT_S)
    assert child.returncode == 0, errors
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000001", "step-000002"]


def test_without_a_run_folder_the_mend_is_told(tmp_path: Path) -> None:
    """A program started by hand explains what it needs."""
    environment = {key: value for key, value in os.environ.items() if key != "PILOTHOUSE_RUN_DIR"}  # noqa: TID251  as above
    done = subprocess.run(
        [sys.executable, "-c", _UNFINISHED],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )

    assert done.returncode == 1
    assert "PILOTHOUSE_RUN_DIR is not set" in done.stderr


def test_import_needs_only_the_standard_library() -> None:
    """Importing the kit, and using every name of it, loads nothing that has to be installed."""
    program = (
        "import sys\nbefore = set(sys.modules)\nfrom pilothouse import trainer\n"
        "[getattr(trainer, name) for name in trainer.__all__]\n"
        "print(sorted({n.partition('.')[0] for n in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
    )

    assert done.stdout.strip() == "['pilothouse']"
