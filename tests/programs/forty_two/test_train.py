"""The training program: killed and stopped at will, it ends with the same bytes."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pilothouse import trainer
from pilothouse.programs.forty_two import checkpoint, learner, model
from pilothouse.programs.forty_two.checkpoint import Training
from pilothouse.programs.forty_two.losses import Mode
from pilothouse.programs.forty_two.model import PRESETS
from pilothouse.programs.forty_two.token_files import read_tokens
from pilothouse.programs.forty_two.training import LossDiverged, train_run
from pilothouse.trainer import newest_checkpoint, tree

RunFolder = Callable[..., Path]
Program = Callable[..., "subprocess.CompletedProcess[str]"]

_STEPS = 24

_AT_STEP = """
import os, signal
from pilothouse.trainer.run import Run
plain = Run.log
def log(self, step, **values):
    plain(self, step, **values)
    if step == {step}:
        os.kill(os.getpid(), signal.{signal})
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


def _config(compiled: str, **changes: Any) -> dict[str, Any]:
    config = {
        "preset": "tiny",
        "batch_size": 32,
        "epochs": _STEPS * 32 / 300,
        "learning_rate": 3e-3,
        "shuffle_hands": True,
        "rotate_seats": True,
        "log_every": 1,
        "checkpoint_every": 5,
        "compile_cache": compiled,
    }
    return {**config, **changes}


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
def _whole(token_folder: Path, compiled: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train once without a stop; read only."""
    folder = tmp_path_factory.mktemp("whole")
    order = {"run": "whole", "seed": 3, "inputs": {"tokens": [str(token_folder)]}}
    (folder / "run.json").write_text(json.dumps(order))
    (folder / "config.json").write_text(json.dumps(_config(compiled)))
    _train(folder)
    return folder


def test_a_run_learns_and_tells(whole: Path) -> None:
    """The loss falls, every line has the true total, and the summary has what was promised."""
    lines = _lines(whole)
    summary = json.loads((whole / "summary.json").read_text())

    assert [line["step"] for line in lines] == list(range(1, _STEPS + 1))
    assert {line["total"] for line in lines} == {_STEPS}
    assert np.mean([line["loss"] for line in lines[-5:]]) < np.mean([line["loss"] for line in lines[:5]])
    measured = summary["metrics"]
    assert measured.keys() == {"train_loss", "steps", "samples", "parameters", "samples_per_s", "seconds_per_step"}
    assert (measured["steps"], measured["samples"]) == (_STEPS, _STEPS * 32)
    assert summary["artifacts"] == {"checkpoint": f"checkpoints/step-{_STEPS:06d}"}
    assert sorted(path.name for path in (whole / "checkpoints").iterdir()) == ["step-000020", "step-000024"]


@pytest.mark.parametrize(
    ("before", "code", "least", "anew"),
    [
        (_AT_STEP.format(step=8, signal="SIGKILL"), -9, 5, True),
        (_AT_STEP.format(step=24, signal="SIGKILL"), -9, 20, False),
        (_BEFORE_RENAME, -9, 10, False),
        (_AT_STEP.format(step=12, signal="SIGTERM"), 75, 12, False),
    ],
    ids=["killed between checkpoints", "killed at the last step", "killed while saving", "asked to stop"],
)
def test_a_stopped_run_ends_with_the_same_bytes(
    run_folder: RunFolder,
    program: Program,
    whole: Path,
    token_folder: Path,
    compiled: str,
    before: str,
    code: int,
    least: int,
    anew: bool,
) -> None:
    """Wherever it was cut off, the resumed run's checkpoint has the digest of the run that was not.

    Once it is resumed `anew`, in a process of its own; a process takes seconds to begin, so else in this one.
    """
    inputs = {"tokens": [token_folder]}
    folder = run_folder("stopped", _config(compiled), inputs=inputs)
    stopped = program("train", folder, before)
    assert stopped.returncode == code, stopped.stderr
    assert not (folder / "summary.json").exists()
    newest = newest_checkpoint(folder / "checkpoints")
    assert newest is not None
    assert newest.step == least

    resume = {"checkpoint": str(newest.checkpoint), "step": newest.step}
    run_folder("stopped", _config(compiled), inputs=inputs, resume=resume, attempt=2)
    if anew:
        resumed = program("train", folder)
        assert resumed.returncode == 0, resumed.stderr
    else:
        _train(folder)

    assert _final(folder) == _final(whole)
    assert [line["resumed_from"] for line in _lines(folder) if "resumed_from" in line] == [least]
    loss = json.loads((folder / "summary.json").read_text())["metrics"]["train_loss"]
    assert loss == json.loads((whole / "summary.json").read_text())["metrics"]["train_loss"]


@pytest.mark.parametrize(
    "changes", [{"learning_rate": 1e-3}, {"batch_size": 16}, {"mode": "qvalue"}, {"shuffle_hands": False}]
)
def test_another_training_is_not_resumed(
    run_folder: RunFolder, whole: Path, token_folder: Path, compiled: str, changes: dict[str, Any]
) -> None:
    """A checkpoint of other options is refused, not mixed in."""
    resume = {"checkpoint": str(whole / "checkpoints" / "step-000020"), "step": 20}
    folder = run_folder("other", _config(compiled, **changes), inputs={"tokens": [token_folder]}, resume=resume)

    with pytest.raises(trainer.TreeDamaged, match="belongs to another training"):
        _train(folder)


def test_how_often_to_tell_may_change_on_resume(
    run_folder: RunFolder, whole: Path, token_folder: Path, compiled: str
) -> None:
    """Reporting and keeping are no part of what is learnt: the same weights come out."""
    resume = {"checkpoint": str(whole / "checkpoints" / "step-000020"), "step": 20}
    config = _config(compiled, log_every=3, checkpoint_every=100)
    folder = run_folder("quieter", config, inputs={"tokens": [token_folder]}, resume=resume)

    _train(folder)

    assert _final(folder) == _final(whole)


def test_a_resume_that_has_too_few_steps_is_refused(
    run_folder: RunFolder, whole: Path, token_folder: Path, compiled: str
) -> None:
    """Less than the promised step would do work twice."""
    resume = {"checkpoint": str(whole / "checkpoints" / "step-000020"), "step": 22}
    folder = run_folder("less", _config(compiled), inputs={"tokens": [token_folder]}, resume=resume)

    with pytest.raises(trainer.TreeDamaged, match="has 20 steps, but this attempt must go on from 22"):
        _train(folder)


def test_the_next_iteration_starts_from_weights_with_fresh_moments(
    run_folder: RunFolder, whole: Path, token_folder: Path, compiled: str
) -> None:
    """With a rate of almost nothing, the weights stay those of the checkpoint it starts from."""
    start = whole / "checkpoints" / "step-000024"
    config = _config(compiled, learning_rate=1e-8, weight_decay=0.0, epochs=0.2)
    inputs = {"tokens": [token_folder], "checkpoint": [start]}

    summary = _train(folder := run_folder("next", config, inputs=inputs))

    before = checkpoint.load(start, "tiny")
    after = checkpoint.load(folder / summary["artifacts"]["checkpoint"], "tiny")
    np.testing.assert_allclose(after.weights.project.weight, before.weights.project.weight, atol=1e-6)
    assert int(after.progress.moments[1].count) == summary["metrics"]["steps"]


def test_a_checkpoint_of_another_preset_is_refused(
    run_folder: RunFolder, whole: Path, token_folder: Path, compiled: str
) -> None:
    """The sizes must agree, and the message says which they are."""
    inputs = {"tokens": [token_folder], "checkpoint": [whole / "checkpoints" / "step-000024"]}
    folder = run_folder("preset", _config(compiled, preset="nano"), inputs=inputs)

    with pytest.raises(trainer.OptionRefused, match=r"preset = 'nano', but the checkpoint .* is a 'tiny'"):
        _train(folder)


@pytest.mark.parametrize("name", ["manifest.json", "weights.safetensors"])
def test_a_broken_checkpoint_is_named(
    run_folder: RunFolder, whole: Path, token_folder: Path, compiled: str, tmp_path: Path, name: str
) -> None:
    """Training does not start from weights that are not whole."""
    copy = tmp_path / "copy"
    shutil.copytree(whole / "checkpoints" / "step-000024", copy)
    (copy / name).unlink()
    folder = run_folder("broken", _config(compiled), inputs={"tokens": [token_folder], "checkpoint": [copy]})

    with pytest.raises(trainer.TreeDamaged, match=name):
        _train(folder)


def test_a_loss_that_is_no_number_ends_the_run(
    run_folder: RunFolder, token_folder: Path, compiled: str, tmp_path: Path
) -> None:
    """The line says NaN, the error names the rate, and there is no summary."""
    start = tmp_path / "poisoned"
    start.mkdir()
    learnt = learner.begin(model.initial(PRESETS["tiny"], seed=0))
    value = learnt.weights.value
    poisoned = learnt._replace(weights=learnt.weights._replace(value=value._replace(bias=value.bias + np.nan)))
    checkpoint.save(start, poisoned, Training(preset="tiny", mode=Mode.POLICY, step=0, identity="x"))
    tree.seal(start)
    folder = run_folder("nan", _config(compiled), inputs={"tokens": [token_folder], "checkpoint": [start]})

    with pytest.raises(LossDiverged, match="loss is nan at step 1 of 24"):
        _train(folder)
    assert _lines(folder)[-1]["loss"] == "NaN"
    assert not (folder / "summary.json").exists()


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"learning_rat": 1e-3}, "did you mean 'learning_rate'"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0 lies outside"),
        ({"preset": "huge"}, "preset = 'huge' is none of nano"),
        ({"mode": "both"}, "none of policy, qvalue"),
    ],
)
def test_bad_options_are_named(run_folder: RunFolder, config: dict[str, Any], named: str) -> None:
    """Before any data is read."""
    with pytest.raises(trainer.OptionRefused, match=named):
        _train(run_folder("options", config))


def test_no_tokens_is_a_clear_error(run_folder: RunFolder) -> None:
    """There is nothing to train on."""
    with pytest.raises(trainer.RunFolderBroken, match="`tokens` names no token set"):
        _train(run_folder("none", {"compile_cache": ""}))


def test_positions_without_a_choice_can_be_left_out(run_folder: RunFolder, token_folder: Path, compiled: str) -> None:
    """An epoch then has as many rows as there are positions whose moves differ in worth."""
    rows = read_tokens([token_folder])
    differing = 0
    for legal, q in zip(rows.legal, rows.qvals, strict=True):
        differing += len({int(worth) for worth, may in zip(q, legal, strict=True) if may}) > 1
    config = _config(compiled, epochs=1.0, only_choices=True, checkpoint_every=1000)

    summary = _train(run_folder("choices", config, inputs={"tokens": [token_folder]}))

    assert 0 < differing < len(rows)
    assert summary["metrics"]["steps"] == round(differing / 32)


def test_samples_fix_the_length_whatever_the_data(run_folder: RunFolder, token_folder: Path, compiled: str) -> None:
    """Twice the data makes no longer run when the number of samples is given."""
    config = _config(compiled, samples=200, checkpoint_every=1000)
    folder = run_folder("samples", config, inputs={"tokens": [token_folder, token_folder]})

    assert _train(folder)["metrics"]["steps"] == round(200 / 32)
