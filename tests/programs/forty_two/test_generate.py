"""The program that makes shards, as the launcher starts it."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pilothouse import trainer
from pilothouse.programs.forty_two.generate import ShardMade, combined_digest, read_config, seed_range, shard_tasks
from pilothouse.programs.forty_two.shards import content_digest, read_shard
from pilothouse.trainer import tree

PATIENCE = 60.0
CONTENT_100_TO_112 = "25cf95ed96c71eedcb347de98c8c44a636fcaa5328b6980b5b95e6a98d7ed8bd"  # made without a stop
MANY = {"seeds": "0:400", "samples_per_deal": 50, "workers": 2}


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Make a run folder as the launcher makes it."""
    order = {
        "run": "r-1",
        "product": "demo",
        "campaign": "forty-two",
        "trial": 1,
        "seed": 0,
        "attempt": 1,
        "deadline_s": 600.0,
        "resume": None,
        "inputs": {},
    }
    (tmp_path / "run.json").write_text(json.dumps(order), encoding="utf-8")
    return tmp_path


def start(folder: Path, config: dict[str, object]) -> "subprocess.Popen[str]":
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "pilothouse.programs.forty_two.generate"],
        env={"PILOTHOUSE_RUN_DIR": str(folder), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, errors


def lines(folder: Path) -> list[dict[str, float]]:
    path = folder / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def moments() -> Iterator[None]:
    """Yield now and then until the patience is spent."""
    ends = time.monotonic() + PATIENCE
    pause = threading.Event()
    while time.monotonic() < ends:
        yield
        pause.wait(0.02)


def wait_for_lines(folder: Path, number: int) -> None:
    assert any(len(lines(folder)) >= number for _ in moments()), "no progress was logged"


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def assert_gone(processes: list[psutil.Process]) -> None:
    assert any(all(map(is_gone, processes)) for _ in moments()), processes


def test_shards_are_made_logged_and_sealed(folder: Path) -> None:
    """Three deals by their own declarations; the manifest's content is the digest over the shards'."""
    config = {"seeds": "929:932", "declarations": "by_seed", "samples_per_deal": 200, "scheme": "uniform", "workers": 2}
    assert finish(start(folder, config)) == (0, "")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    shards = folder / summary["artifacts"]["shards"]
    manifest = tree.verify(shards)
    made = [read_shard(shards / f"seed_{seed:08d}_decl_{seed % 10}.parquet") for seed in (929, 930, 931)]
    digests = [ShardMade(digest=content_digest(shard), rows=200, states=0) for shard in made]
    assert manifest.meta == {"content": combined_digest(digests), "shards": 3, "rows": 600}
    assert [(line["step"], line["total"]) for line in lines(folder)] == [(1, 3), (2, 3), (3, 3)]
    metrics = summary["metrics"]
    assert (metrics["shards"], metrics["rows"]) == (3, 600)
    assert metrics["states"] == sum(line["states"] for line in lines(folder)) > 3_168_588
    assert metrics["seconds"] > 0
    assert not (folder / "shards.partial").exists()


def test_sigterm_leaves_with_75_and_no_worker(folder: Path) -> None:
    """The launcher's polite stop ends the workers too, and there is no summary."""
    process = start(folder, MANY)
    wait_for_lines(folder, 1)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    code, _ = finish(process)
    assert code == trainer.LEFT_EARLY
    assert len(family) >= 2
    assert_gone(family)
    assert not (folder / "summary.json").exists()


def test_workers_die_with_a_killed_parent_and_the_next_attempt_goes_on(folder: Path) -> None:
    """SIGKILL leaves no process; what was whole is kept, the damaged is made again, the content is the same."""
    process = start(folder, {**MANY, "seeds": "100:112"})
    wait_for_lines(folder, 3)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    finish(process)
    assert_gone(family)
    partial = sorted((folder / "shards.partial").glob("*.parquet"))
    assert len(partial) >= 3
    partial[0].write_bytes(partial[0].read_bytes()[:-40])
    (folder / "metrics.jsonl").unlink()

    assert finish(start(folder, {**MANY, "seeds": "100:112", "workers": 1})) == (0, "")
    first = lines(folder)[0]
    assert (first["step"], first["kept"], first["total"]) == (len(partial) - 1, len(partial) - 1, 12)
    content = tree.verify(folder / "artifacts" / "shards").meta["content"]
    assert content == CONTENT_100_TO_112


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"seeds": "10:10"}, "seeds = '10:10' is no range"),
        ({"seeds": "-5:3"}, "seeds = '-5:3' is no range"),
        ({"seeds": "200"}, "seeds = '200' is no range"),
        ({}, "'seeds' has no value"),
        ({"seeds": "0:1", "scheme": "best"}, "scheme = 'best' is none of stratified, uniform"),
        ({"seeds": "0:1", "samples_per_deal": 0}, "samples_per_deal = 0 lies outside 1 to 1000000"),
        ({"seeds": "0:1", "workers": 0}, "workers = 0 lies outside 1 to 256"),
        ({"seeds": "0:1", "declarations": [3, 10]}, r"declarations = \[3, 10\] is not"),
        ({"seeds": "0:1", "declarations": [3, 3]}, r"declarations = \[3, 3\] is not"),
        ({"seeds": "0:1", "declarations": []}, r"declarations = \[\] is not"),
        ({"seeds": "0:1", "sample_per_deal": 5}, "did you mean 'samples_per_deal'"),
    ],
)
def test_bad_options_are_refused_by_name(config: dict[str, trainer.JSON], message: str, tmp_path: Path) -> None:
    """The key, the value and what is allowed stand in the message."""
    with pytest.raises(trainer.OptionRefused, match=message):
        shard_tasks(*read_config(config), tmp_path)


def test_declarations_of_every_seed(tmp_path: Path) -> None:
    """All ten, a list in order, or the last digit of the seed."""

    def named(declarations: trainer.JSON) -> list[tuple[int, int]]:
        options, declared = read_config({"seeds": "21:23", "declarations": declarations})
        return [(task.seed, task.declaration) for task in shard_tasks(options, declared, tmp_path)]

    assert named("by_seed") == [(21, 1), (22, 2)]
    assert named([7, 2]) == [(21, 2), (21, 7), (22, 2), (22, 7)]
    assert len(named("all")) == 20
    assert seed_range("200:210") == range(200, 210)
