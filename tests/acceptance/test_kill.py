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

KILLS = 20
ITERATIONS = 14
FILE_CHANGES = (
    ("config = {}", "config = { pause = 0.01 }"),
    ("iterations = 3", f"iterations = {ITERATIONS}"),
)
FIRST_SECONDS, LAST_SECONDS = 0.2, 3.5


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


def kill_at_random_moments(product: Product, file: Path, *, seed: int) -> int:
    """Start the campaign and kill it at random moments until it has died often enough; return how often it did."""
    moments = random.Random(seed)
    for kills in range(KILLS):
        process = product.start("campaign", "run", str(file))
        try:
            process.wait(timeout=moments.uniform(FIRST_SECONDS, LAST_SECONDS))
        except subprocess.TimeoutExpired:
            kill(process, product, how=moments.choice(["alone", "power cut", "factory first"]))
            continue
        assert process.returncode == 0, ended(process)
        return kills
    return KILLS


def story(product: Product) -> dict[str, Any]:
    """Return what must not depend on when the campaign was killed."""
    status = product.json("campaign", "status")
    jobs = product.json("job", "list")
    entries = product.json("logbook", "show")
    return {
        "state": status["state"],
        "verdicts": [(row["number"], row["verdict"], row["interval"]) for row in status["iterations"]],
        "metrics": [row["metrics"]["gap"] for row in status["iterations"]],
        "checkpoint": Path(status["best_checkpoint"]).name,
        "jobs": sorted((job["kind"], job["trial"], job["stage"]) for job in jobs),
        "entries": [(entry["number"], entry["label"]) for entry in entries],
    }


def succeeded(product: Product) -> Sequence[int]:
    """Return how often each job has succeeded."""
    jobs = [product.json("job", "show", job["job"]) for job in product.json("job", "list")]
    return [sum(attempt["outcome"] == "succeeded" for attempt in job["attempts"]) for job in jobs]


@pytest.mark.timeout(600)
def test_twenty_kills_change_nothing_but_the_time(tmp_path: Path) -> None:
    """Same final checkpoint, same jobs, each done once, an unbroken chain, and no process left."""
    calm, killed = Product(tmp_path / "calm" / "home"), Product(tmp_path / "killed" / "home")
    calm.home.parent.mkdir()
    killed.home.parent.mkdir()
    assert calm.say("campaign", "run", str(calm.file(*FILE_CHANGES))).code == 0

    kills = kill_at_random_moments(killed, killed.file(*FILE_CHANGES), seed=42)
    last = ended(killed.start("campaign", "run", str(killed.file(*FILE_CHANGES))))

    assert kills == KILLS
    assert last.code == 0, last.err
    assert story(killed) == story(calm)
    assert set(succeeded(killed)) == {1}
    assert killed.json("logbook", "verify")["intact"]
    assert list(everything_of(killed)) == []
