"""Run folders for the language program, a small text of its own, and what one test session compiles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

RunFolder = Callable[..., Path]
Program = Callable[..., "subprocess.CompletedProcess[str]"]
_TIMEOUT_S = 110


@pytest.fixture(name="run_folder")
def _run_folder(tmp_path: Path) -> RunFolder:
    """Make or renew a run folder by name."""

    def make(name: str, config: Mapping[str, object], **order: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text(json.dumps({"run": name, "seed": 3, "attempt": 1, **order}))
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


@pytest.fixture(name="program")
def _program() -> Program:
    """Train in a process of its own; `before` is Python to run first in that process."""

    def run(folder: Path, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        code = f"{before}\nfrom pilothouse.programs.language.train import main\nmain()"
        inherited = dict(os.environ)  # noqa: TID251  a child needs the parent's PATH
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**inherited, "PILOTHOUSE_RUN_DIR": str(folder), **environment},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )

    return run


@pytest.fixture(name="text_folder", scope="session")
def _text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 200 short documents whose words depend on each other; read only."""
    folder = tmp_path_factory.mktemp("text")
    lines = [
        json.dumps({"text": "".join(f"{number} plus {step} is {number + step}.\n" for step in range(12))})
        for number in range(200)
    ]
    (folder / "sums.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(name="small_config", scope="session")
def _small_config(text_folder: Path, compiled: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the config of a run of 24 steps that shares what it compiles with the whole session."""
    return {
        "preset": "tiny",
        "steps": 24,
        "mix_library": 0.0,
        "mix_text": 1.0,
        "text_folder": str(text_folder),
        "eval_sources": "text",
        "log_every": 1,
        "checkpoint_every": 5,
        "peak_tflops": 0.1,
        "eval_first": False,
        "compile_cache": compiled,
        "data_cache": str(tmp_path_factory.mktemp("data")),
    }
