"""The run folder from inside the program's process."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from pilothouse import trainer
from pilothouse.trainer import tree

RunFolder = Callable[..., Path]


@pytest.fixture(name="run_folder")
def _run_folder(tmp_path: Path) -> RunFolder:
    def make(config: object = None, **order: object) -> Path:
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        (folder / "run.json").write_text(json.dumps({"run": "r1", "seed": 5, "attempt": 3, "inputs": {}, **order}))
        (folder / "config.json").write_text(json.dumps({} if config is None else config))
        return folder

    return make


def _lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _save(text: str) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        (folder / "weights").write_text(text)

    return save


def test_order_and_config_are_given(run_folder: RunFolder) -> None:
    """What the launcher wrote is what the program reads."""
    folder = run_folder({"lr": 0.1}, inputs={"tokens": ["/a", "/b"]}, deadline_s=60)

    with trainer.start(folder=folder) as run:
        assert (run.seed, run.attempt, run.config, run.resume) == (5, 3, {"lr": 0.1}, None)
        assert run.inputs == {"tokens": [Path("/a"), Path("/b")]}
        assert run.order.deadline_s == 60.0
        run.finish({})


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ({"seed": "five"}, "seed = 'five'"),
        ({"run": 3}, "run = 3"),
        ({"resume": {"step": 3}}, "resume"),
        ({"inputs": []}, "inputs"),
        ({"inputs": {"tokens": "/a"}}, "inputs.tokens"),
        ({"inputs": {"tokens": [1]}}, "inputs.tokens"),
        ({"deadline_s": "soon"}, "deadline_s"),
    ],
)
def test_broken_orders_name_the_key(run_folder: RunFolder, order: dict[str, object], named: str) -> None:
    """A malformed run.json is refused with its key."""
    folder = run_folder(**order)

    with pytest.raises(trainer.RunFolderBroken, match=named):
        trainer.start(folder=folder)


def test_missing_files_are_named(tmp_path: Path, run_folder: RunFolder) -> None:
    """A folder without run.json or config.json, or no folder at all, is a clear error."""
    with pytest.raises(trainer.NotInRun, match="does not exist"):
        trainer.start(folder=tmp_path / "none")
    folder = run_folder()
    (folder / "config.json").unlink()
    with pytest.raises(trainer.RunFolderBroken, match=r"config\.json is missing"):
        trainer.start(folder=folder)
    (folder / "run.json").write_text('{"seed": NaN}')
    with pytest.raises(trainer.RunFolderBroken, match="NaN"):
        trainer.start(folder=folder)


def test_metrics_are_json_lines_without_bare_nan(run_folder: RunFolder) -> None:
    """Each report is one line of strict JSON; NaN and infinities are texts; NumPy numbers pass."""
    folder = run_folder()

    with trainer.start(folder=folder) as run:
        run.log(1, total=4, loss=np.float32(0.5))
        run.log(2, total=4, loss=math.nan, worst=-math.inf)
        run.finish({"loss": math.inf})

    first, second = _lines(folder)
    assert (first["step"], first["total"], first["loss"]) == (1, 4, 0.5)
    assert isinstance(first["time"], float)
    assert (second["loss"], second["worst"]) == ("NaN", "-Infinity")
    assert json.loads((folder / "summary.json").read_text()) == {"metrics": {"loss": "Infinity"}, "artifacts": {}}


def test_a_metric_must_be_one_value(run_folder: RunFolder) -> None:
    """A list as a metric is refused by name."""
    unchecked: dict[str, Any] = {"loss": [1.0]}
    with trainer.start(folder=run_folder()) as run:
        with pytest.raises(trainer.MetricRefused, match="loss is a list"):
            run.log(1, **unchecked)
        run.finish({})


def test_steps_beyond_the_total_are_refused(run_folder: RunFolder) -> None:
    """The total is the exact last step."""
    with trainer.start(folder=run_folder()) as run:
        with pytest.raises(trainer.StepRefused, match="beyond the total 4"):
            run.log(5, total=4)
        run.finish({})


def test_resumed_attempt_says_from_where_and_never_goes_back(run_folder: RunFolder, tmp_path: Path) -> None:
    """Only the first line of a resumed attempt names the step; earlier steps are refused."""
    folder = run_folder(resume={"checkpoint": str(tmp_path), "step": 100})

    with trainer.start(folder=folder) as run:
        with pytest.raises(trainer.StepRefused, match="before step 100"):
            run.log(99)
        with pytest.raises(trainer.StepRefused, match="before step 100"):
            run.checkpoint(50, _save("x"))
        run.log(110)
        run.log(120)
        run.finish({})

    assert [line.get("resumed_from") for line in _lines(folder)] == [100, None]


def test_torn_line_of_a_killed_attempt_is_closed(run_folder: RunFolder) -> None:
    """A half-written line does not swallow the next one."""
    folder = run_folder()
    (folder / "metrics.jsonl").write_text('{"step": 1, "lo')

    with trainer.start(folder=folder) as run:
        run.log(2)
        run.finish({})

    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[1])["step"] == 2


def test_checkpoints_are_sealed_and_the_last_two_kept(run_folder: RunFolder) -> None:
    """The last two stay, a marked one stays for ever, and each is whole."""
    folder = run_folder()

    with trainer.start(folder=folder) as run:
        paths = [run.checkpoint(step, _save(str(step)), marked=step == 20) for step in (10, 20, 30, 40, 50)]
        run.finish({}, artifacts={"checkpoint": paths[-1]})

    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "step-000020",
        "step-000040",
        "step-000050",
    ]
    assert tree.verify(paths[-1]).meta == {"step": 50}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["artifacts"] == {"checkpoint": "checkpoints/step-000050"}


def test_an_attempt_resumed_from_the_last_checkpoint_still_says_from_where(
    run_folder: RunFolder, tmp_path: Path
) -> None:
    """With no step left to log, finishing tells where the attempt began."""
    folder = run_folder(resume={"checkpoint": str(tmp_path), "step": 100})

    with trainer.start(folder=folder) as run:
        run.finish({"loss": 1.0})

    assert [line.get("resumed_from") for line in _lines(folder)] == [100]


def test_the_checkpoint_resumed_from_is_not_pruned(run_folder: RunFolder) -> None:
    """Whoever restarts this attempt may still need what it started from."""
    folder = run_folder()
    with trainer.start(folder=folder) as run:
        start = run.checkpoint(10, _save("10"))
        run.finish({})
    run_folder(resume={"checkpoint": str(start), "step": 10})

    with trainer.start(folder=folder) as run:
        for step in (20, 30, 40):
            run.checkpoint(step, _save(str(step)))
        run.finish({})

    assert tree.verify(start).meta["step"] == 10


def test_saving_a_step_again_keeps_equal_and_replaces_different_content(run_folder: RunFolder) -> None:
    """A repeated save is harmless; the last content wins."""
    with trainer.start(folder=run_folder()) as run:
        first = run.checkpoint(1, _save("one"))
        inode = first.stat().st_ino
        assert run.checkpoint(1, _save("one")).stat().st_ino == inode
        assert (run.checkpoint(1, _save("two")) / "weights").read_text() == "two"
        run.finish({})


def test_newest_checkpoint_passes_over_damage(run_folder: RunFolder) -> None:
    """A damaged or unsealed folder is never taken; the newest whole one is."""
    folder = run_folder()
    with trainer.start(folder=folder) as run:
        good = run.checkpoint(10, _save("10"))
        bad = run.checkpoint(20, _save("20"))
        run.finish({})
    (bad / "weights").write_text("2O")
    (folder / "checkpoints" / "step-000030").mkdir()
    (folder / "checkpoints" / ".step-000040.tmp").mkdir()

    newest = trainer.newest_checkpoint(folder / "checkpoints")

    assert newest == trainer.Resume(checkpoint=good, step=10)
    assert trainer.newest_checkpoint(folder / "none") is None


def test_artifacts_and_samples_are_listed(run_folder: RunFolder) -> None:
    """Artefact folders and the sample table are in the summary by name."""
    folder = run_folder()

    with trainer.start(folder=folder) as run:
        run.artifact("tokens", _save("t"), meta={"content": "abc"})
        run.finish({"gap": 1.5}, samples={"example": np.arange(3), "regret": [0.0, 1.0, 2.0]})

    summary = json.loads((folder / "summary.json").read_text())
    assert summary == {
        "metrics": {"gap": 1.5},
        "artifacts": {"tokens": "artifacts/tokens", "samples": "samples.parquet"},
    }
    assert tree.verify(folder / "artifacts" / "tokens").meta == {"content": "abc"}
    assert parquet.read_table(folder / "samples.parquet").to_pydict()["regret"] == [0.0, 1.0, 2.0]


def test_uneven_samples_and_unsealed_artifacts_are_refused(run_folder: RunFolder) -> None:
    """No summary is written when what it promises is not there."""
    folder = run_folder()

    with pytest.raises(trainer.MetricRefused, match="differ in length"), trainer.start(folder=folder) as run:
        run.finish({}, samples={"a": [1], "b": [1, 2]})
    (folder / "loose").mkdir()
    with pytest.raises(trainer.TreeDamaged, match="never completed"), trainer.start(folder=folder) as run:
        run.finish({}, artifacts={"loose": folder / "loose"})

    assert not (folder / "summary.json").exists()


def test_ending_without_finish_is_an_error(run_folder: RunFolder) -> None:
    """A program that falls off its end has not succeeded; an old summary does not stand in."""
    folder = run_folder()
    (folder / "summary.json").write_text("{}")

    with pytest.raises(trainer.NotFinished), trainer.start(folder=folder):
        pass

    assert not (folder / "summary.json").exists()


def test_a_disk_that_refuses_is_named(run_folder: RunFolder) -> None:
    """A checkpoint that cannot be written names the path and leaves no step folder."""
    folder = run_folder()
    (folder / "checkpoints").write_text("a file where the folder should be")

    with trainer.start(folder=folder) as run:
        with pytest.raises(trainer.StorageFailed, match="checkpoints"):
            run.checkpoint(1, _save("x"))
        run.finish({})


def test_every_public_name_loads() -> None:
    """`__all__` is what the module gives, and nothing else by accident."""
    assert sorted(set(trainer.__all__)) == sorted(trainer.__all__)
    for name in trainer.__all__:
        assert getattr(trainer, name) is not None
    missing = "nothing_of_that_name"
    with pytest.raises(AttributeError, match=missing):
        getattr(trainer, missing)
