"""The examples are what a newcomer copies: each is read, and each trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.source import read_definition

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "examples").glob("*/*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_is_a_valid_campaign_whose_program_exists(file: Path) -> None:
    """Its command names a file of the repository."""
    definition = read_definition(file.read_text(encoding="utf-8"), name=file.name)

    assert (ROOT / definition.trainer.command[1]).is_file()


def test_the_spirals_train_alike_with_one_seed_and_otherwise_with_another(tmp_path: Path) -> None:
    """The seed decides everything that varies, and the promised metrics are there."""
    definition = read_definition((ROOT / "examples/autopilot/spirals.toml").read_text("utf-8"), name="spirals.toml")
    assert isinstance(definition, AutopilotDefinition)
    config = {**definition.trainer.fixed_values(), **{name: knob.default for name, knob in definition.knobs.items()}}

    results = []
    for place, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config | {"epochs": 3}), encoding="utf-8")
        (folder / "run.json").write_text(json.dumps({"run": "r", "seed": seed, "attempt": 1}), encoding="utf-8")
        subprocess.run(
            [sys.executable, str(ROOT / definition.trainer.command[1])],
            env={**os.environ, "PILOTHOUSE_RUN_DIR": str(folder)},  # noqa: TID251  a child needs the parent's PATH
            check=True,
            timeout=60,
        )
        results.append(json.loads((folder / "summary.json").read_text("utf-8"))["metrics"])

    assert results[0] == results[1] != results[2]
    assert results[0].keys() == definition.metrics.keys()
