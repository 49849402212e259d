"""The examples with libraries of their own: read always, trained where the library is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.source import read_definition
from pilothouse.fleet.arguments import fill
from pilothouse.scripts.argument import Kind
from pilothouse.scripts.guess import Role, guess
from pilothouse.scripts.reading import parse, read_script

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples/pytorch/digits.py"
SECONDS = 100
SEVERAL = """
import os, runpy, sys
for folder in sys.argv[2:]:
    os.environ["PILOTHOUSE_RUN_DIR"] = folder
    runpy.run_path(sys.argv[1], run_name="__main__")
"""


def defined(name: str) -> AutopilotDefinition:
    """Return the campaign in a file of the examples."""
    definition = read_definition((ROOT / "examples" / name).read_text(encoding="utf-8"), name=name)
    assert isinstance(definition, AutopilotDefinition)
    return definition


def torch_python() -> Path | None:
    """Return an interpreter that has PyTorch, without loading it."""
    if find_spec("torch") is not None:
        return Path(sys.executable)
    apart = ROOT / ".venv-examples/bin/python"
    if not apart.exists():
        return None
    asked = [str(apart), "-c", "import importlib.util as u; raise SystemExit(u.find_spec('torch') is None)"]
    return apart if subprocess.run(asked, check=False, timeout=SECONDS).returncode == 0 else None


def test_the_pytorch_campaign_tells_the_script_nothing_that_it_does_not_declare() -> None:
    """Each value is an option of the script, of its type, and stands at the script's own default; all are told."""
    declared = {
        each.name: each for each in read_script(parse(DIGITS.read_text("utf-8"), script="d"), script="d").arguments
    }
    definition = defined("pytorch/digits.toml")
    knobs = {name: knob.default for name, knob in definition.knobs.items()}
    values = {**definition.trainer.fixed_values(), **knobs}

    assert values.keys() | {"seed", "output_dir"} == declared.keys()
    assert {name: declared[name].default for name in values} == values
    assert {name for name, each in declared.items() if guess(each).role is Role.KNOB} == knobs.keys()
    for name, knob in definition.knobs.items():
        assert knob.type == ("choice" if declared[name].choices else declared[name].kind)
    assert declared["nesterov"].kind is Kind.BOOL


def test_the_pytorch_script_trains_from_the_words_of_its_campaign(tmp_path: Path) -> None:
    """Where PyTorch is; elsewhere this is skipped and says so."""
    python = torch_python()
    if python is None:
        pytest.skip("PyTorch is not here; `make examples` brings it")
    definition = defined("pytorch/digits.toml")
    rules = definition.trainer.argument_rules()
    assert rules is not None
    knobs = {name: knob.default for name, knob in definition.knobs.items()}
    config = {**definition.trainer.fixed_values(), **knobs, "epochs": 1, "train_pictures": 64}
    places = {"run_dir": str(tmp_path), "config_file": str(tmp_path / "config.json")}
    words = fill(definition.trainer.command, rules, config=config, seed=1, **places)

    subprocess.run([str(python), *words[1:]], cwd=ROOT, check=True, timeout=SECONDS)

    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert definition.metrics.keys() <= summary.keys()


def test_the_boosted_trees_train_alike_with_one_seed_and_otherwise_with_another(tmp_path: Path) -> None:
    """The promised metrics are there, and a score for each picture that was held out."""
    definition = defined("sklearn/boosting.toml")
    knobs = {name: knob.default for name, knob in definition.knobs.items()}
    config = {**definition.trainer.fixed_values(), **knobs, "trees": 1, "pictures": 100}
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, seed in zip(folders, (1, 1, 2), strict=True):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / "run.json").write_text(json.dumps({"run": "r", "seed": seed, "attempt": 1}), encoding="utf-8")

    script = ROOT / definition.trainer.command[1]
    subprocess.run(
        [sys.executable, "-c", SEVERAL, str(script), *map(str, folders)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # noqa: TID251  a child needs the parent's PATH
        check=True,
        timeout=SECONDS,
    )

    first, again, other = (json.loads((each / "summary.json").read_text("utf-8"))["metrics"] for each in folders)
    assert first == again != other
    assert first.keys() == definition.metrics.keys()
    assert (folders[0] / "samples.parquet").stat().st_size > 0
