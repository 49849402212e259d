"""SIGKILL at any moment: the same command goes on, and the end is the same bit for bit."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.cli import Product, ended

TOY = "config = {}", "config = { pause = 0.03 }"
REAL = Path(__file__).with_name("forty_two.toml")


def everything_of(product: Product) -> Iterator[psutil.Process]:
    """Yield every process that works for the home, the factory and its jobs included."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(product.home) in " ".join(process.cmdline() + list(process.environ().values())):
                yield process


def kill(process: subprocess.Popen[str], product: Product, *, how: str) -> None:
    """Kill the campaign's process alone, everything of it as a power cut would, or first the factory and its jobs."""
    victims = list(everything_of(product)) if how != "alone" else []
    if how == "factory first":
        for victim in victims:
            if victim.pid != process.pid:
                with suppress(psutil.NoSuchProcess):
                    victim.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1.0)
    process.send_signal(signal.SIGKILL)
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    process.communicate(timeout=30)


def kill_at_random_moments(product: Product, file: Path, *, seed: int, kills: int, seconds: tuple[float, float]) -> int:
    """Start the campaign and kill it at random moments until it has died so often or ended; return how often it did."""
    moments = random.Random(seed)
    for killed in range(kills):
        process = product.start("campaign", "run", str(file))
        try:
            process.wait(timeout=moments.uniform(*seconds))
        except subprocess.TimeoutExpired:
            kill(process, product, how=moments.choice(["alone", "power cut", "factory first"]))
            continue
        assert process.returncode == 0, ended(process)
        return killed
    return kills


def checkpoint_of(product: Product, run: str) -> str:
    """Return the digest of the run's final checkpoint: every bit of its weights is in it."""
    details = product.json("run", "show", run)
    return str(next(artifact["digest"] for artifact in details["artifacts"] if artifact["name"] == "checkpoint"))


def story(product: Product) -> dict[str, Any]:
    """Return what must not depend on when the campaign was killed."""
    status = product.json("campaign", "status")
    jobs = shipped(product)
    entries = product.json("logbook", "show")
    return {
        "state": status["state"],
        "verdicts": [(row["number"], row["verdict"], row["interval"]) for row in status["iterations"]],
        "metrics": [[row["metrics"][name] for name in status["metrics"]] for row in status["iterations"]],
        "checkpoints": [checkpoint_of(product, run["run"]) for run in product.json("run", "list")],
        "best": status["best_iteration"],
        "jobs": sorted((job["kind"], job["trial"]) for job in jobs),
        "entries": [(entry["number"], entry["label"]) for entry in entries],
    }


def shipped(product: Product) -> list[Any]:
    """Return the jobs that have brought their results.

    One that is killed again and again becomes a dead letter, and the next start submits its step anew: how often that
    happens depends on the machine.
    """
    return [job for job in product.json("job", "list") if job["stage"] == "shipped"]


def succeeded(product: Product) -> Sequence[int]:
    """Return how often each job that has shipped succeeded."""
    jobs = [product.json("job", "show", job["job"]) for job in shipped(product)]
    return [sum(attempt["outcome"] == "succeeded" for attempt in job["attempts"]) for job in jobs]


def compare_calm_with_killed(tmp_path: Path, file: Path, *, kills: int, seconds: tuple[float, float]) -> None:
    """Run the campaign once in peace and once under kills at moments of this range, and compare their stories."""
    calm, killed = Product(tmp_path / "calm" / "home"), Product(tmp_path / "killed" / "home")
    calm.home.parent.mkdir()
    killed.home.parent.mkdir()
    assert ended(calm.start("campaign", "run", str(file)), seconds=300).code == 0

    struck = kill_at_random_moments(killed, file, seed=42, kills=kills, seconds=seconds)
    last = ended(killed.start("campaign", "run", str(file)), seconds=300)

    assert struck == kills
    assert last.code == 0, last.err
    assert story(killed) == story(calm)
    assert set(succeeded(killed)) == {1}
    assert killed.json("logbook", "verify")["intact"]
    assert list(everything_of(killed)) == []


def real_file(tmp_path: Path, *, iterations: int) -> Path:
    """Write the campaign of the real programs with so many iterations."""
    text, wanted = REAL.read_text(encoding="utf-8"), "iterations = 2"
    assert wanted in text
    file = tmp_path / "real.toml"
    file.write_text(text.replace(wanted, f"iterations = {iterations}"), encoding="utf-8")
    return file


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kills", "iterations"), [(4, 6), pytest.param(20, 20, marks=pytest.mark.soak)], ids=["quick", "soak"]
)
def test_kills_change_nothing_but_the_time(tmp_path: Path, kills: int, iterations: int) -> None:
    """Same final checkpoint, same jobs, each done once, an unbroken chain, and no process left."""
    file = Product(tmp_path / "home").file(TOY, ("iterations = 3", f"iterations = {iterations}"))

    compare_calm_with_killed(tmp_path, file, kills=kills, seconds=(0.2, 2.5))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kills", "iterations", "longest"),
    [(2, 1, 3.0), pytest.param(20, 2, 6.0, marks=pytest.mark.soak)],
    ids=["quick", "soak"],
)
def test_kills_of_the_real_programs_change_nothing_but_the_time(
    tmp_path: Path, kills: int, iterations: int, longest: float
) -> None:
    """The solver, the tokens and the JAX training come out the same bit for bit, wherever they were killed."""
    file = real_file(tmp_path, iterations=iterations)

    compare_calm_with_killed(tmp_path, file, kills=kills, seconds=(0.5, longest))
