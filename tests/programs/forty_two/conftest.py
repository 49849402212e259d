"""Run folders, programs in real processes, and a small token set of two real deals."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pilothouse import trainer
from pilothouse.programs.forty_two.sampling import Scheme, sample_shard
from pilothouse.programs.forty_two.shards import write_shard
from pilothouse.programs.forty_two.tokenise import tokenise_run
from pilothouse.trainer import tree

RunFolder = Callable[..., Path]
Program = Callable[..., "subprocess.CompletedProcess[str]"]
_TIMEOUT_S = 110


def _write_order(folder: Path, config: Mapping[str, object], order: Mapping[str, object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"run": folder.name, "seed": 3, "attempt": 1, **order}))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(name="run_folder")
def _run_folder(tmp_path: Path) -> RunFolder:
    """Make or renew a run folder by name."""

    def make(name: str, config: Mapping[str, object], **order: Any) -> Path:
        inputs = {key: [str(path) for path in paths] for key, paths in order.pop("inputs", {}).items()}
        return _write_order(tmp_path / name, config, {"inputs": inputs, **order})

    return make


@pytest.fixture(name="program")
def _program() -> Program:
    """Run a program in a process of its own; `before` is Python to run first in that process."""

    def run(name: str, folder: Path, before: str = "") -> "subprocess.CompletedProcess[str]":
        code = f"{before}\nfrom pilothouse.programs.forty_two.{name} import main\nmain()"
        environment = {**os.environ, "PILOTHOUSE_RUN_DIR": str(folder)}  # noqa: TID251  a child needs the parent's PATH
        return subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )

    return run


@pytest.fixture(name="shard_folder", scope="session")
def _shard_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make two deals' shards, sealed; read only."""
    folder = tmp_path_factory.mktemp("shards")
    for seed in (0, 930):
        shard, _ = sample_shard(seed=seed, declaration=0, rows=150, scheme=Scheme.STRATIFIED, global_seed=42)
        write_shard(folder, shard)
    tree.seal(folder, {"content": "test"})
    return folder


@pytest.fixture(name="token_folder", scope="session")
def _token_folder(shard_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenise `shard_folder`; read only."""
    folder = tmp_path_factory.mktemp("tokenise")
    _write_order(folder, {}, {"inputs": {"shards": [str(shard_folder)]}})
    with trainer.start(folder=folder) as run:
        tokenise_run(run)
    return folder / "artifacts" / "tokens"
