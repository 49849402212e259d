"""SIGKILL at every step of the autopilot's loop, before it and after it: the end is the same."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.cli import Product
from tests.acceptance.test_kill import everything_of
from tests.acceptance.toy_steps.dying import Death, acts, command, said

TOY = Path(__file__).with_name("toy_steps")
TIMES = ("at", "seconds", "hash", "previous_hash", "jobs", "baseline_jobs", "candidate_jobs", "proposal", "id")
"""What differs between two campaigns that are alike: times, and names and sums that hold times."""

BEYOND = 4
"""How many numbers in a row without a death end the enumeration: a start may take some more acts than another."""


@dataclass(frozen=True)
class Steps:
    """The campaign in a folder of its own."""

    folder: Path

    @cached_property
    def product(self) -> Product:
        """Return the product whose home lies in the folder."""
        return Product(self.folder / "home")

    def run(self, death: Death = Death()) -> int:  # noqa: B008  a frozen value
        """Run the campaign until it ends or dies, and return its exit code."""
        self.folder.mkdir(exist_ok=True)
        file = self.folder / "pilot.toml"
        text = (TOY / "pilot.toml").read_text(encoding="utf-8")
        file.write_text(text.replace("TRAIN", str(TOY / "train.py")), encoding="utf-8")
        words = ["--home", str(self.folder / "home"), "campaign", "run", str(file), "--seats", "2"]
        return command(words, self.folder, death)

    def story(self) -> dict[str, Any]:
        """Return everything that must not depend on where the campaign was killed."""
        runs = self.product.json("run", "list")
        return {
            "report": timeless(self.product.json("campaign", "report")["trials"]),
            "status": timeless(self.product.json("campaign", "status")["iterations"]),
            "proposals": timeless(self.product.json("proposal", "list")),
            "entries": timeless(self.product.json("logbook", "show")),
            "runs": sorted((run["trial"], run["seed"]) for run in runs if run["stage"] == "shipped"),
        }

    def check(self) -> None:
        """Hold that nothing was done twice, lost, or left behind."""
        runs = self.product.json("run", "list")
        details = [self.product.json("run", "show", run["run"]) for run in runs]
        shipped = [each for each in details if each["stage"] == "shipped"]
        ends = [[attempt["outcome"] for attempt in each["attempts"]] for each in shipped]

        assert all(end.count("succeeded") == 1 and end[-1] == "succeeded" for end in ends), ends
        assert all(
            "succeeded" not in [a["outcome"] for a in each["attempts"]] for each in details if each not in shipped
        )
        assert list(self.folder.glob("twice-*")) == []
        assert self.product.json("logbook", "verify")["intact"]
        assert list(everything_of(self.product)) == []


def timeless(value: Any) -> Any:
    """Return JSON values without what times decide."""
    if isinstance(value, dict):
        return {name: timeless(each) for name, each in value.items() if name not in TIMES}
    return [timeless(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(name="calm", scope="module")
def _calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Steps, dict[str, Any], list[str]]:
    """Return the campaign that nobody killed, its story, and its durable acts."""
    steps = Steps(tmp_path_factory.mktemp("calm") / "pilot")
    assert steps.run() == 0, said(steps.folder)
    return steps, steps.story(), acts(steps.folder)


def killed_at(folder: Path, death: Death) -> tuple[bool, Steps]:
    """Kill a fresh campaign there and start it again; return whether it came so far, and how it stands."""
    steps = Steps(folder)
    code = steps.run(death)
    assert code in {0, -9}, said(folder)
    if code == -9:
        assert steps.run() == 0, said(folder)
    return code == -9, steps


def test_the_campaign_goes_every_way_that_a_loop_can_go(calm: tuple[Steps, dict[str, Any], list[str]]) -> None:
    """A change is screened, looked at, promoted, run afresh and rolled back; every act is counted."""
    steps, story, done = calm

    assert [entry["label"] for entry in story["entries"]] == [
        "calibration: 3 replicates",
        "trial 1: improved",
        "trial 1: rolled back",
    ]
    assert [row["state"] for row in story["proposals"]] == ["admitted"]
    assert set(done) == {"commit", "rename"}
    steps.check()


@pytest.mark.timeout(180)
def test_a_death_on_the_way_changes_nothing_but_the_time(
    tmp_path: Path, calm: tuple[Steps, dict[str, Any], list[str]]
) -> None:
    """One of the steps that `make soak` enumerates: same trials, verdicts, charges and entries, nothing done twice."""
    _, story, done = calm

    died, steps = killed_at(tmp_path / "pilot", Death(act=len(done) // 2, after=True))

    assert died
    assert steps.story() == story
    steps.check()


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_death_at_every_step_changes_nothing_but_the_time(
    tmp_path: Path, calm: tuple[Steps, dict[str, Any], list[str]], capsys: pytest.CaptureFixture[str], after: bool
) -> None:
    """Every durable act of the campaign's process, until a start ends before it has come to so many."""
    _, story, done = calm
    number, missed = 0, 0
    while missed < BEYOND:
        number += 1
        died, steps = killed_at(tmp_path / str(number), Death(act=number, after=after))
        assert steps.story() == story, number
        steps.check()
        missed = 0 if died else missed + 1
        shutil.rmtree(steps.folder)
        with capsys.disabled():
            sys.stdout.write(f"{number} of about {len(done)}: {'died' if died else 'lived'}\n")

    assert number - missed >= len(done) - BEYOND
