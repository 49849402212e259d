"""The training program: killed and stopped at will, it ends with the same bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from pyarrow import parquet

from pilothouse import trainer
from pilothouse.programs.language import learner
from pilothouse.programs.language.options import Options
from pilothouse.programs.language.presets import PRESETS
from pilothouse.programs.language.training import LossDiverged, train_run
from pilothouse.trainer import Run, newest_checkpoint, tree

RunFolder = Callable[..., Path]
Program = Callable[..., "subprocess.CompletedProcess[str]"]
Config = dict[str, Any]

_STEPS = 24
_EVERY = 5
_DOCS = Path(__file__).resolve().parents[3] / "docs" / "reference" / "language-program.md"

_AT_STEP = """
import os, signal
from pilothouse.trainer.run import Run
plain = Run.log
def log(self, step, **values):
    plain(self, step, **values)
    if step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
Run.log = log
"""

_BEFORE_RENAME = """
import os, signal
from pathlib import Path
plain = Path.rename
def rename(self, target):
    if self.name == ".step-000015.tmp":
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, target)
Path.rename = rename
"""


def _train(folder: Path) -> dict[str, Any]:
    with trainer.start(folder=folder) as run:
        train_run(run)
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _final(folder: Path) -> str:
    summary = json.loads((folder / "summary.json").read_text())
    return tree.verify(folder / summary["artifacts"]["checkpoint"]).digest


@pytest.fixture(name="whole", scope="module")
def _whole(small_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train once without a stop; read only."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "run.json").write_text(json.dumps({"run": "whole", "seed": 3}))
    config = {**small_config, "eval_first": True, "eval_every": 12, "steps": _STEPS}
    (folder / "config.json").write_text(json.dumps(config))
    _train(folder)
    return folder


def _resumed(run_folder: RunFolder, folder: Path, config: Mapping[str, Any]) -> int:
    """Write the next attempt's order into the folder, and return the step that it goes on from."""
    newest = newest_checkpoint(folder / "checkpoints")
    resume = None if newest is None else {"checkpoint": str(newest.checkpoint), "step": newest.step}
    run_folder(folder.name, config, resume=resume, attempt=2)
    return 0 if newest is None else newest.step


def test_a_run_learns_and_tells(whole: Path) -> None:
    """The loss falls, every line has the true total, and the summary has what the reference promises."""
    lines = _lines(whole)
    summary = json.loads((whole / "summary.json").read_text())
    measured = summary["metrics"]

    assert [line["step"] for line in lines if "loss" in line] == list(range(1, _STEPS + 1))
    assert {line["total"] for line in lines} == {_STEPS}
    assert [line["step"] for line in lines if "eval_bpb" in line] == [0, 12, 24]
    assert measured["eval_bpb"] < 0.9 * measured["eval_bpb_before"]
    assert measured["train_loss"] < lines[1]["loss"]
    assert (measured["steps"], measured["tokens"]) == (_STEPS, _STEPS * 4 * 32)
    assert measured["mfu_p10"] <= measured["mfu_p50"] <= measured["mfu_p90"]
    assert sorted(path.name for path in (whole / "checkpoints").iterdir()) == ["step-000020", "step-000024"]
    assert summary["artifacts"].keys() == {"checkpoint", "data", "samples"}


def test_the_samples_add_up_to_the_metrics(whole: Path) -> None:
    """Bits by example, weighted by bytes, are the bits of the whole set; ids are distinct."""
    measured = json.loads((whole / "summary.json").read_text())["metrics"]
    rows = parquet.read_table(whole / "samples.parquet").to_pydict()

    bits = np.average(rows["bits_per_byte"], weights=rows["bytes"])
    assert bits == pytest.approx(measured["eval_bpb"])
    assert bits == pytest.approx(measured["eval_bpb_text"])
    assert np.average(rows["loss"], weights=rows["tokens"]) == pytest.approx(measured["eval_loss"])
    assert len(set(rows["example"])) == len(rows["example"]) == PRESETS["tiny"].eval_examples
    assert set(rows["source"]) == {"text"}


def test_every_option_and_metric_stands_in_the_reference(whole: Path) -> None:
    """Nobody should have to read the program to use it."""
    text = _DOCS.read_text(encoding="utf-8")
    told = json.loads((whole / "summary.json").read_text())["metrics"].keys() - {"eval_bpb_text"}
    lines = set().union(*(line.keys() for line in _lines(whole))) - {"eval_bpb_text", "time", "total", "step"}

    missing = [name for name in (*Options.__dataclass_fields__, *told, *lines) if f"`{name}`" not in text]

    assert missing == []
    assert [name for name in PRESETS if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize(
    ("before", "writes", "least"),
    [
        pytest.param(_AT_STEP.format(step=8), "waiting", 5, marks=pytest.mark.soak),
        pytest.param(_BEFORE_RENAME, "waiting", 10, marks=pytest.mark.soak),
        (_BEFORE_RENAME, "beside", 10),
    ],
    ids=["killed between checkpoints", "killed while saving", "killed while saving beside the training"],
)
def test_a_killed_run_ends_with_the_same_bytes(
    run_folder: RunFolder, program: Program, whole: Path, small_config: Config, before: str, writes: str, least: int
) -> None:
    """Wherever it was cut off, the resumed run's checkpoint has the digest of the run that was not."""
    small_config = {**small_config, "checkpoint_writes": writes}
    folder = run_folder("stopped", small_config)
    stopped = program(folder, before)
    assert stopped.returncode == -9, stopped.stderr
    assert not (folder / "summary.json").exists()
    assert _resumed(run_folder, folder, small_config) == least

    summary = _train(folder)

    assert _final(folder) == _final(whole)
    assert [line["resumed_from"] for line in _lines(folder) if "resumed_from" in line] == [least]
    assert summary["metrics"]["steps_this_attempt"] == _STEPS - least
    unstopped = json.loads((whole / "summary.json").read_text())["metrics"]
    for name in ("train_loss", "eval_bpb", "eval_loss", "tokens"):
        assert summary["metrics"][name] == unstopped[name]


def test_a_run_that_is_asked_to_stop_saves_at_once_and_goes_on_from_there(
    run_folder: RunFolder, whole: Path, small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM after step 12: a checkpoint of step 12, exit code 75, no summary; then the same bytes."""
    plain = Run.log

    def log(self: Run, step: int, **values: Any) -> None:
        plain(self, step, **values)
        if step == 12:
            os.kill(os.getpid(), signal.SIGTERM)

    folder = run_folder("asked", small_config)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", log)
        with pytest.raises(SystemExit) as left:
            _train(folder)
    assert left.value.code == trainer.LEFT_EARLY
    assert not (folder / "summary.json").exists()
    assert _resumed(run_folder, folder, small_config) == 12

    _train(folder)

    assert _final(folder) == _final(whole)


def test_a_resumed_run_traces_its_step_once_and_finds_it_compiled(
    run_folder: RunFolder, whole: Path, small_config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    """Four steps, one trace of the step and one of the measuring; and the cache of compiled programs has it already."""
    kept = {path.name for path in Path(small_config["compile_cache"]).glob("jit__step*")}
    resume = {"checkpoint": str(whole / "checkpoints" / "step-000020"), "step": 20}
    with jax.log_compiles():
        _train(run_folder("again", small_config, resume=resume))

    traced = [record.getMessage() for record in caplog.records if "Finished tracing" in record.getMessage()]
    assert [sum(f" {name} " in each for each in traced) for name in ("_step", "_read")] == [1, 1]
    assert kept
    assert {path.name for path in Path(small_config["compile_cache"]).glob("jit__step*")} == kept


def test_a_run_that_has_only_its_summary_to_write_still_tells_its_speed(
    run_folder: RunFolder, whole: Path, small_config: Config
) -> None:
    """Resumed from the last step, it times steps that nobody keeps: a missing metric would fail it."""
    resume = {"checkpoint": str(whole / "checkpoints" / "step-000024"), "step": 24}
    folder = run_folder("last", small_config, resume=resume)

    measured = _train(folder)["metrics"]

    assert measured["mfu_p50"] > 0
    assert measured["steps_this_attempt"] == 0
    assert _final(folder) == _final(whole)


def test_writing_beside_the_training_gives_the_same_checkpoints(
    run_folder: RunFolder, whole: Path, small_config: Config
) -> None:
    """Bit for bit; and how often it tells and saves may change on a resume."""
    resume = {"checkpoint": str(whole / "checkpoints" / "step-000020"), "step": 20}
    changed = {**small_config, "checkpoint_writes": "beside", "checkpoint_every": 2, "log_every": 3}
    folder = run_folder("beside", changed, resume=resume)

    _train(folder)

    assert _final(folder) == _final(whole)
    assert newest_checkpoint(folder / "checkpoints") is not None
    assert (folder / "checkpoints" / "step-000022").is_dir()


@pytest.mark.parametrize(
    "changes", [{"learning_rate": 1e-3}, {"optimizer": "muon"}, {"steps": 25}, {"mix_library": 0.1}]
)
def test_another_training_is_not_resumed(
    run_folder: RunFolder, whole: Path, small_config: Config, changes: Config
) -> None:
    """A checkpoint of other options is refused, not mixed in."""
    resume = {"checkpoint": str(whole / "checkpoints" / "step-000020"), "step": 20}
    folder = run_folder("other", {**small_config, **changes}, resume=resume)

    with pytest.raises(trainer.TreeDamaged, match="belongs to another training"):
        _train(folder)


def test_a_resume_that_has_too_few_steps_is_refused(run_folder: RunFolder, whole: Path, small_config: Config) -> None:
    """Less than the promised step would do work twice."""
    resume = {"checkpoint": str(whole / "checkpoints" / "step-000020"), "step": 22}

    with pytest.raises(trainer.TreeDamaged, match="has 20 steps, but this attempt must go on from 22"):
        _train(run_folder("less", small_config, resume=resume))


def test_an_evaluation_set_that_was_locked_is_held_to_its_digest(
    run_folder: RunFolder, whole: Path, small_config: Config
) -> None:
    """The right beginning passes, another ends the run before its first step and tells the true one."""
    digest = json.loads((whole / "artifacts" / "data" / "data.json").read_text())["evaluation"]["digest"]
    resume = {"checkpoint": str(whole / "checkpoints" / "step-000024"), "step": 24}
    _train(run_folder("right", {**small_config, "eval_digest": digest[:12]}, resume=resume))

    with pytest.raises(trainer.OptionRefused, match=rf"eval_digest = '0000', but .* the digest {digest[:16]}"):
        _train(run_folder("wrong", {**small_config, "eval_digest": "0000"}))
    assert tree.read_manifest(whole / "artifacts" / "data").meta["content"] == digest


def test_a_loss_that_is_no_number_ends_the_run(
    run_folder: RunFolder, small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says NaN, the error names the rate, and there is no summary."""
    plain = learner.begin
    monkeypatch.setattr(
        learner, "begin", lambda weights, rule: plain(weights._replace(norm=weights.norm + np.nan), rule)
    )
    folder = run_folder("nan", small_config)

    with pytest.raises(LossDiverged, match="loss is nan at step 1 of 24"):
        _train(folder)
    assert _lines(folder)[-1]["loss"] == "NaN"
    assert not (folder / "summary.json").exists()


def test_a_loss_worse_than_guessing_ends_the_run(run_folder: RunFolder, small_config: Config) -> None:
    """With a rate far too high: the line says so in a way that the monitor knows, and the error names the rate."""
    changes = {"learning_rate": 1.0, "schedule": "constant", "diverged_above": 0.1}
    folder = run_folder("diverged", {**small_config, **changes})

    with pytest.raises(LossDiverged, match=r"worse than guessing\. Fix: lower learning_rate, whose peak is 1\."):
        _train(folder)
    assert _lines(folder)[-1]["diverged"] == "Infinity"
    assert not (folder / "summary.json").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"learning_rat": 1e-3}, "did you mean 'learning_rate'"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0 lies outside"),
        ({"preset": "huge"}, "preset = 'huge' is none of nano"),
        ({"optimizer": "sgd"}, "none of adamw, muon"),
        ({"devices": 2}, "devices = 2, but there are 1"),
        ({"micro_batch": 3}, "micro_batch = 3 does not divide the 4 sequences"),
        ({"attention": "cudnn"}, "works on an NVIDIA GPU in bfloat16, not on cpu in float32"),
        ({"sequence_length": 100_000}, "a sequence needs 100001"),
    ],
)
def test_bad_options_are_named(run_folder: RunFolder, small_config: Config, changes: Config, named: str) -> None:
    """Before the first step, with the value and the mend."""
    with pytest.raises(trainer.OptionRefused, match=named):
        _train(run_folder("options", {**small_config, **changes}))


_KILLS = 5
_RUNS = 10
_PART = 40
_LONG = (_KILLS + 1) * _PART
_SOME_TIME_AFTER = """
import os, signal, threading
from pilothouse.trainer.run import Run
plain = Run.log
def log(self, step, **values):
    plain(self, step, **values)
    if step >= {step} and "loss" in values and not hasattr(Run, "timer"):
        Run.timer = threading.Timer({seconds}, os.kill, (os.getpid(), signal.SIGKILL))
        Run.timer.start()
Run.log = log
"""


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_fifty_kills_at_random_moments_change_no_bit(
    run_folder: RunFolder, program: Program, small_config: Config
) -> None:
    """SIGKILL some milliseconds after a random step, five times a run; each time at most an interval is repeated."""
    draw = random.Random(42)
    config = {**small_config, "steps": _LONG}
    whole = run_folder("unkilled", config)
    wanted = _train(whole)
    digests, kills, repeated = [], 0, []
    for number in range(_RUNS):
        folder = run_folder(f"killed-{number}", config)
        for part in range(_KILLS):
            step = draw.randint(part * _PART + 1, (part + 1) * _PART)
            moment = _SOME_TIME_AFTER.format(step=step, seconds=draw.uniform(0, 0.02))
            ended = program(folder, moment)
            assert ended.returncode in {0, -9}, ended.stderr
            kills += ended.returncode == -9
            reached = max(line["step"] for line in _lines(folder) if "loss" in line)
            repeated.append(reached - _resumed(run_folder, folder, config))
        assert program(folder).returncode == 0
        digests.append(_final(folder))

    assert kills >= 0.9 * _KILLS * _RUNS
    assert max(repeated) <= _EVERY
    assert set(digests) == {_final(whole)}
    assert wanted["metrics"]["steps"] == _LONG
