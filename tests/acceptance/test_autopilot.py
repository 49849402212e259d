"""An autopilot from its file to its last verdict, as a user runs it: real processes, signals and kills."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.cli import Product, ended
from tests.acceptance.test_kill import everything_of, kill, succeeded

TOY = Path(__file__).with_name("toy_pilot")
SECONDS_MAX = 60.0
WORSE = ("seed = 7", "seed = 5")
"""The first proposal of this seed raises the rate, of the other one lowers it, which is better."""


@dataclass(frozen=True)
class Pilot(Product):
    """The product in a folder without a repository, so that nobody's edit of the code voids a trial meanwhile."""

    def around(self) -> tuple[Path, Mapping[str, str]]:
        """Return the folder a command works in, and no variables."""
        return self.home.parent, {}

    def file(self, *changes: tuple[str, str], name: str = "pilot.toml") -> Path:
        """Write the toy campaign with these replacements, each of which must apply, and return its path."""
        text = (TOY / "pilot.toml").read_text(encoding="utf-8")
        for before, after in [("TRAIN", str(TOY / "train.py")), *changes]:
            assert before in text, before
            text = text.replace(before, after)
        path = self.home.parent / name
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture(name="pilot")
def _pilot(tmp_path: Path) -> Pilot:
    """Return a product whose home is not made yet."""
    return Pilot(tmp_path / "home")


def story(pilot: Pilot) -> dict[str, Any]:
    """Return what must not depend on when the campaign was killed."""
    status = pilot.json("campaign", "status")
    entries = pilot.json("logbook", "show")
    runs = pilot.json("run", "list")
    return {
        "state": status["state"],
        "best": status["best_iteration"],
        "trials": [{name: row[name] for name in row if name != "seconds"} for row in status["iterations"]],
        "baseline": status["baseline"]["metrics"],
        "proposals": [(row["trial"], row["changes"], row["state"]) for row in pilot.json("proposal", "list")],
        "entries": [(entry["number"], entry["label"], entry["result"]) for entry in entries],
        "runs": sorted((run["trial"], run["seed"], run["stage"]) for run in runs),
    }


def until_running(pilot: Pilot) -> None:
    """Wait until a run has begun to report."""
    deadline, pause = time.monotonic() + SECONDS_MAX, threading.Event()
    while not any(pilot.home.glob("runs/*/attempt-*/metrics.jsonl")):
        assert time.monotonic() < deadline, "no run began"
        pause.wait(0.02)


def test_a_campaign_runs_to_its_end_and_every_surface_tells_it(pilot: Pilot) -> None:
    """Status, proposals, runs, the logbook and its pages agree."""
    said = pilot.run("campaign", "run", str(pilot.file()), "--seats", "2")
    status, rows = pilot.json("campaign", "status"), pilot.json("proposal", "list")
    verified, runs = pilot.json("logbook", "verify"), pilot.json("run", "list")
    entries = [entry["label"] for entry in pilot.json("logbook", "show")]

    assert said.code == 0, said.err
    assert "finished: all 2 proposals are judged" in said.err
    assert (status["campaign"], status["kind"], status["state"]) == ("pilot", "autopilot", "done")
    assert {row["verdict"] for row in status["iterations"]} == {"improved"}
    assert {row["state"] for row in status["iterations"]} == {"judged"}
    assert [row["trial"] for row in rows] == [row["number"] for row in status["iterations"]] == [1, 2]
    assert {row["state"] for row in rows} == {"admitted"}
    assert all(row["changes"].startswith("rate: ") for row in rows)
    assert entries[:3] == ["calibration: 4 replicates", "trial 1: improved", "trial 1: confirmed"]
    assert entries[3:] == ["trial 2: improved", "trial 2: confirmed"]
    assert status["best_iteration"] == 2
    assert verified["intact"]
    assert verified["entries"] == len(entries)
    assert {run["stage"] for run in runs} == {"shipped"}
    assert len({(run["trial"], run["seed"], run["run"]) for run in runs}) == len(runs)


def test_a_required_approval_holds_each_trial_until_it_is_given(pilot: Pilot) -> None:
    """Exit 3 names the proposal; after the approval the same command goes on to the next one."""
    waived = 'approval = "waived"\nwaived_by = "the test"\nreason = "nothing is at stake"'
    file = str(pilot.file(WORSE, (waived, 'approval = "required"')))
    refused = pilot.say("campaign", "run", file)
    (first,) = pilot.json("proposal", "list")
    runs = pilot.json("run", "list")

    approved = pilot.say("proposal", "approve", first["id"], "--by", "ada")
    went_on = pilot.say("campaign", "run", file)
    rows = pilot.json("proposal", "list")

    assert refused.code == 3
    assert first["id"] in refused.err
    assert {run["trial"] for run in runs} == {0}
    assert approved.code == 0, approved.err
    assert went_on.code == 3
    assert [(row["trial"], row["state"]) for row in rows] == [(1, "admitted"), (2, "open")]
    assert rows[1]["id"] in pilot.json("campaign", "status")["next_action"]
    assert len(pilot.json("campaign", "status")["iterations"]) == 1


def test_a_signal_stops_a_calibration_where_it_can_go_on(pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 130; the run that was met is preempted and not failed, and the next start makes what is missing.

    What the file's product has measured is told, whichever product the other commands are set to.
    """
    slow = ("config = {}", "config = { pause = 0.6 }")
    file = str(pilot.file(slow))
    first = pilot.start("campaign", "calibrate", file)
    until_running(pilot)

    first.send_signal(signal.SIGINT)
    said = ended(first)
    ready = pilot.json("campaign", "status")
    with monkeypatch.context() as set_otherwise:
        set_otherwise.setenv("PILOTHOUSE_PRODUCT", "other")
        again = pilot.say("campaign", "calibrate", file, "--json")

    runs = pilot.json("run", "list")
    status = pilot.json("campaign", "status")
    assert said.code == 130, said.err
    assert ready["state"] == status["state"] == "ready"
    assert again.code == 0, again.err
    floors = again.json["noise_floors"]
    assert [(floor["metric"], floor["replicates"]) for floor in floors] == [("val_loss", 4), ("speed", 4)]
    assert [(run["trial"], run["stage"]) for run in runs] == [(0, "shipped")] * 4
    assert status["iterations"] == []


def test_candidates_that_fail_in_a_row_go_to_a_person(pilot: Pilot) -> None:
    """Exit 1 with the class and the mend; each failure is a verdict of its own in the logbook."""
    fails = ("config = {}", "config = { breaks_above = 0.3 }")
    rule = ("proposals = 2", "failures = 1\nproposals = 9")

    said = pilot.say("campaign", "run", str(pilot.file(fails, rule, WORSE)))

    status = pilot.json("campaign", "status")
    assert said.code == 1, said.err
    assert "out_of_memory" in said.err
    assert "mend:" in said.err
    assert status["state"] == "failed"
    assert "proposals in a row failed" in status["last_error"]
    assert status["iterations"][-1]["verdict"] == "inconclusive"
    assert pilot.json("logbook", "verify")["intact"]


def test_a_file_that_asks_for_the_impossible_is_refused_before_anything_is_made(pilot: Pilot) -> None:
    """With the line, the value and a mend, and no home."""
    said = pilot.say("campaign", "run", str(pilot.file(('proposer = "random"', 'proposer = "oracle"'))))

    assert said.code == 2, said
    assert "pilot.toml, line" in said.err
    assert "oracle" in said.err
    assert "mend:" in said.err
    assert "Traceback" not in said.err
    assert not pilot.home.exists()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("most", "least"), [(2, 1), pytest.param(6, 3, marks=pytest.mark.soak)], ids=["quick", "soak"])
def test_kills_change_nothing_but_the_time(tmp_path: Path, most: int, least: int) -> None:
    """Same trials, same verdicts, each run made once, an unbroken chain, and no process left.

    It is killed `most` times, unless a fast machine has finished before.
    """
    calm, killed = Pilot(tmp_path / "calm" / "home"), Pilot(tmp_path / "killed" / "home")
    for pilot in (calm, killed):
        pilot.home.parent.mkdir()
    paused = ("config = {}", "config = { pause = 0.05 }")
    assert calm.say("campaign", "run", str(calm.file(paused))).code == 0
    moments, blows = random.Random(7), 0
    while blows < most:
        process = killed.start("campaign", "run", str(killed.file(paused)))
        try:
            process.wait(timeout=moments.uniform(0.3, 2.0))
            break
        except subprocess.TimeoutExpired:
            kill(process, killed, how=moments.choice(["alone", "power cut", "factory first"]))
            blows += 1

    last = killed.say("campaign", "run", str(killed.file(paused)))

    assert blows >= least
    assert last.code == 0, last.err
    assert story(killed) == story(calm)
    assert set(succeeded(killed)) == {1}
    assert killed.json("logbook", "verify")["intact"]
    assert list(everything_of(killed)) == []
