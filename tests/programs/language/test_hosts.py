"""Two hosts that share every step: asked to stop one by one, they leave at the same step and go on from it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pilothouse.trainer import newest_checkpoint, tree

RunFolder = Callable[..., Path]
TIMEOUT_S = 110
STEPS = 400
STOPS_ONE = """
import os, signal
from pilothouse.trainer.run import Run
plain = Run.log
def log(self, step, **values):
    plain(self, step, **values)
    if step == 6:
        os.kill(os.getpid(), signal.SIGTERM)
Run.log = log
"""


def together(folders: list[Path], *, before: Mapping[int, str]) -> list[tuple[int, str]]:
    """Train one run on a process for each folder; `before` is Python to run first. Return exit codes and last words."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    inherited = dict(os.environ)  # noqa: TID251  a child needs the parent's PATH
    children = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"{before.get(host, '')}\nfrom pilothouse.programs.language.train import main\nmain()",
            ],
            env={
                **inherited,
                "PILOTHOUSE_RUN_DIR": str(folder),
                "JAX_COORDINATOR_ADDRESS": address,
                "JAX_NUM_PROCESSES": str(len(folders)),
                "JAX_PROCESS_ID": str(host),
                "JAX_PLATFORMS": "cpu",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for host, folder in enumerate(folders)
    ]
    try:
        told = [child.communicate(timeout=TIMEOUT_S)[1] for child in children]
    finally:
        for child in children:
            child.kill()
            child.communicate()
    return [(child.returncode, said[-1000:]) for child, said in zip(children, told, strict=True)]


def newest(folder: Path) -> tuple[int, str]:
    """Return the step and the digest of the newest checkpoint."""
    found = newest_checkpoint(folder / "checkpoints")
    assert found is not None
    return found.step, tree.verify(Path(found.checkpoint)).digest


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_hosts_that_are_stopped_one_by_one_leave_together(run_folder: RunFolder, small_config: dict[str, Any]) -> None:
    """The one that was not asked leaves too, with the same state, and the next attempt ends as one."""
    config = {**small_config, "distributed": True, "checkpoint_every": 5, "log_every": 2, "steps": STEPS}
    folders = [run_folder(f"host-{host}", config) for host in range(2)]

    ended = together(folders, before={0: STOPS_ONE})

    assert [code for code, _ in ended] == [75, 75], ended
    (step, digest), other = (newest(folder) for folder in folders)
    assert (step, digest) == other
    assert 6 <= step < STEPS
    for folder in folders:
        found = newest_checkpoint(folder / "checkpoints")
        assert found is not None
        run_folder(folder.name, config, resume={"checkpoint": str(found.checkpoint), "step": step}, attempt=2)
    ended = together(folders, before={})
    assert [code for code, _ in ended] == [0, 0], ended
    assert newest(folders[0]) == newest(folders[1])
    assert newest(folders[0])[0] == STEPS
    assert all(json.loads((folder / "summary.json").read_text())["metrics"]["device_count"] == 2 for folder in folders)
