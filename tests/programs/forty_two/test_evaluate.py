"""The evaluation program: fixed blocks, per-example samples, and a baseline without a checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from pilothouse import trainer
from pilothouse.programs.forty_two import checkpoint, learner, metrics, model
from pilothouse.programs.forty_two.checkpoint import Training
from pilothouse.programs.forty_two.evaluation import evaluate_run
from pilothouse.programs.forty_two.learner import Reader
from pilothouse.programs.forty_two.losses import Mode
from pilothouse.programs.forty_two.model import PRESETS
from pilothouse.programs.forty_two.token_files import read_tokens
from pilothouse.trainer import TreeDamaged, tree

RunFolder = Callable[..., Path]


def _evaluate(folder: Path) -> dict[str, float]:
    with trainer.start(folder=folder) as run:
        evaluate_run(run)
    found: dict[str, float] = json.loads((folder / "summary.json").read_text())["metrics"]
    return found


@pytest.fixture(name="checkpoint_folder")
def _checkpoint_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    learnt = learner.begin(model.initial(PRESETS["tiny"], seed=8))
    checkpoint.save(folder, learnt, Training(preset="tiny", mode=Mode.POLICY, step=0, identity="x"))
    tree.seal(folder, {"step": 0})
    return folder


def test_metrics_are_those_of_the_samples(
    run_folder: RunFolder, token_folder: Path, checkpoint_folder: Path, compiled: str
) -> None:
    """The mean regret is that of the table, one line per example, and the last block is padded, not dropped."""
    folder = run_folder(
        "evaluate",
        {"block_rows": 64, "compile_cache": compiled},
        inputs={"golden": [token_folder], "checkpoint": [checkpoint_folder]},
    )

    found = _evaluate(folder)

    rows = read_tokens([token_folder])
    assert len(rows) % 64
    table = parquet.read_table(folder / "samples.parquet").to_pydict()
    assert table["example"] == metrics.example_ids(rows).tolist()
    assert found["q_gap"] == np.mean(table["regret"])
    assert found["blunder_rate"] == np.mean(table["blunder"])
    assert (found["examples"], found["deals"], found["block_rows"]) == (len(rows), 2, 64)
    assert sorted(set(table["deal"])) == [0, 930]
    assert found["accuracy"] <= 1
    assert 0 < found["accuracy_tie_ceiling"] <= 1


def test_the_same_evaluation_gives_the_same_bytes(
    run_folder: RunFolder, token_folder: Path, checkpoint_folder: Path, compiled: str
) -> None:
    """Two runs write equal samples and equal metrics but for the speed."""
    inputs = {"golden": [token_folder], "checkpoint": [checkpoint_folder]}
    outcomes = []
    for name in ("one", "two"):
        folder = run_folder(name, {"block_rows": 64, "compile_cache": compiled}, inputs=inputs)
        found = _evaluate(folder)
        found.pop("samples_per_s")
        outcomes.append((found, (folder / "samples.parquet").read_bytes()))

    assert outcomes[0] == outcomes[1]


def test_without_a_checkpoint_an_untrained_network_is_measured(
    run_folder: RunFolder, token_folder: Path, compiled: str
) -> None:
    """The baseline is the network a training with this preset and seed would start from."""
    folder = run_folder(
        "baseline",
        {"preset": "tiny", "block_rows": 512, "compile_cache": compiled},
        seed=8,
        inputs={"golden": [token_folder]},
    )

    found = _evaluate(folder)

    rows = read_tokens([token_folder])
    reader = Reader(model.initial(PRESETS["tiny"], seed=8), PRESETS["tiny"], block_rows=512)
    assert found["q_gap"] == metrics.summarise(reader.answer(rows, 0), rows)["q_gap"]


def test_padding_does_not_leak(token_folder: Path) -> None:
    """A row is answered the same in a full block and in a padded one."""
    rows = read_tokens([token_folder])
    reader = Reader(model.initial(PRESETS["tiny"], seed=8), PRESETS["tiny"], block_rows=64)

    full, padded = reader.answer(rows, 0), reader.answer(rows.chosen(np.arange(len(rows)) < 10), 0)

    np.testing.assert_array_equal(full.logits[:10], padded.logits)
    np.testing.assert_array_equal(full.value[:10], padded.value)


def test_a_broken_checkpoint_and_a_missing_golden_set_are_named(
    run_folder: RunFolder, token_folder: Path, checkpoint_folder: Path, compiled: str
) -> None:
    """Nothing is measured on a guess."""
    (checkpoint_folder / "manifest.json").unlink()
    inputs = {"golden": [token_folder], "checkpoint": [checkpoint_folder]}
    folder = run_folder("broken", {"compile_cache": compiled}, inputs=inputs)
    with pytest.raises(TreeDamaged, match=r"no manifest\.json"):
        _evaluate(folder)
    assert not (folder / "summary.json").exists()

    with pytest.raises(trainer.RunFolderBroken, match="`golden` names no token set"):
        _evaluate(run_folder("no golden", {"compile_cache": compiled}))
