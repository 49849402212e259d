"""What a person finds on disk after a campaign: run folders, the pointer to what holds, the labbook, the commits."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pilothouse.cli.exits import exit_code
from pilothouse.cli.main import app
from pilothouse.errors import PilothouseError
from tests.acceptance.cli import Said
from tests.acceptance.test_autopilot import Pilot

FILES = {"config.json", "override.json", "config_diff.json", "summary.json", "log.txt", "metrics.jsonl"}
FAKES = Path(__file__).parents[1] / "publish/tracker_fakes"
COMMIT = ("proposals = 2", 'proposals = 2\n\n[records]\ncommit = true\n\n[tracking.wandb]\nproject = "nights"')


def git(folder: Path, *words: str) -> str:
    """Return what git says."""
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module", name="ran")
def _ran(tmp_path_factory: pytest.TempPathFactory) -> Pilot:
    """Return a finished campaign in a repository in which somebody has staged one file and changed another."""
    pilot = Pilot(tmp_path_factory.mktemp("records") / "home")
    folder = pilot.home.parent
    pilot.file(COMMIT)
    for name in ("README", "code.py", ".gitignore"):
        (folder / name).write_text("home/\n" if name == ".gitignore" else "first\n")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@example.org")
    hook = folder / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\ntouch hooked\nexit 1\n")
    hook.chmod(0o755)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--no-verify", "-m", "begin")
    (folder / "README").write_text("staged\n")
    git(folder, "add", "README")
    (folder / "code.py").write_text("changed\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(FAKES))
        said = pilot.run("campaign", "run", "pilot.toml", "--seats", "2")
    assert said.code == 0, said.err
    assert "note:" not in said.err
    return pilot


def quick(pilot: Pilot, *words: str) -> Said:
    """Run a command in this process, since a test asks many; its errors are told as its user would read them."""
    said = CliRunner().invoke(app, ["--home", str(pilot.home), *words])
    error = said.exception if isinstance(said.exception, PilothouseError) else None
    told = f"{error.message}; mend: {error.fix}" if error is not None else said.stderr
    return Said(code=said.exit_code if error is None else exit_code(error), out=said.stdout, err=told)


def pages(pilot: Pilot) -> Path:
    """Return the folder of the campaign's pages."""
    return pilot.home / "campaigns/test/pilot"


def read(path: Path) -> Any:
    """Return a JSON document."""
    return json.loads(path.read_text(encoding="utf-8"))


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_run_has_its_folder(ran: Pilot) -> None:
    """Named by the id that `run list` shows; a run of the candidate differs from its parent in what was proposed."""
    runs = ran.json("run", "list")
    proposals = {row["trial"]: row for row in ran.json("proposal", "list")}
    folders = {path.name: path for path in (pages(ran) / "runs").iterdir()}

    assert set(folders) == {run["run"] for run in runs}
    created = {run: read(folder / "summary.json")["created_at"] for run, folder in folders.items()}
    seconds = [created[name][:19] for name in sorted(folders)]
    assert seconds == sorted(seconds)
    assert all({path.name for path in folder.iterdir()} == FILES for folder in folders.values())
    tried = {}
    for run in runs:
        folder = folders[run["run"]]
        summary, override = read(folder / "summary.json"), read(folder / "override.json")
        diff, config = read(folder / "config_diff.json"), read(folder / "config.json")
        assert (summary["trial"], summary["seed"], summary["stage"]) == (run["trial"], run["seed"], "shipped")
        assert summary["trainer_summary"]["metrics"] == summary["metrics"]
        assert {knob: change["after"] for knob, change in diff.items()} == override == summary["config_diff"] | override
        assert (summary["proposal"] is None) == (override == {})
        if override:
            tried[run["trial"]] = f"rate: {diff['rate']['before']} → {diff['rate']['after']}"
            assert config["rate"] == override["rate"]
    assert tried == {number: row["changes"] for number, row in proposals.items()}


def test_a_run_names_its_folder(ran: Pilot) -> None:
    """Whoever looks at a run finds what is kept of it."""
    shown = ran.json("run", "show", "latest")

    assert Path(shown["records"]) == pages(ran) / "runs" / shown["job"]
    assert Path(shown["records"]).is_dir()


def test_best_is_what_the_verdicts_have_made_the_baseline(ran: Pilot) -> None:
    """With its evidence, the runs that measured it, and lines to paste."""
    best, report = read(pages(ran) / "best.json"), ran.json("campaign", "report")["best"]
    folders = {path.name for path in (pages(ran) / "runs").iterdir()}

    assert best["trial"] == report["trial"] == 2
    assert best["standing"] == "confirmed"
    assert best["config"] == report["config"]
    assert best["verdict"]["outcome"] == "improved"
    assert len(best["runs"]) == 3
    assert set(best["runs"]) < folders
    assert tomllib.loads((pages(ran) / "best.toml").read_text()) == best["config"]


def test_the_labbook_has_a_line_for_each_verdict(ran: Pilot) -> None:
    """In the order in which they came, with what was moved and by whom."""
    lines = [line for line in (pages(ran) / "labbook.md").read_text().splitlines() if line.startswith("- ")]
    cells = [line.removeprefix("- ").split(" | ") for line in lines]

    assert [len(each) for each in cells] == [5] * len(cells)
    assert [each[3] for each in cells[:5]] == ["4 replicates", "improved", "confirmed", "improved", "confirmed"]
    assert "(random)" in cells[1][1]
    assert "val_loss" in cells[1][2]


def test_each_application_is_one_commit_of_one_file(ran: Pilot) -> None:
    """What was staged and changed is as it was, no hook ran, and the commits have not begun the calibration anew."""
    folder = ran.home.parent
    commits = git(folder, "log", "--format=%H", "--", "pilot.applied.json").splitlines()
    touched = {git(folder, "show", "--format=", "--name-only", commit) for commit in commits}
    trailers = git(folder, "log", "--format=%(trailers:key=Pilothouse-Trial,valueonly,separator=%x2c)").splitlines()
    labels = [entry["label"] for entry in ran.json("logbook", "show")]
    applied = read(folder / "pilot.applied.json")

    assert touched == {"pilot.applied.json"}
    assert trailers == ["2", "1"]
    assert git(folder, "diff", "--cached", "--name-only") == "README"
    assert git(folder, "diff", "--name-only") == "code.py"
    assert not (folder / "hooked").exists()
    assert [label for label in labels if label.startswith("calibration")] == ["calibration: 4 replicates"]
    assert applied["config"] == read(pages(ran) / "best.json")["config"]
    assert (applied["trial"], applied["verdict"], applied["rolled_back"]) == (2, "improved", None)


def test_the_tracker_has_every_run_and_every_verdict_once(ran: Pilot) -> None:
    """In the groups of their trials; the fake of the library stands in for it."""
    lines = (ran.home / "trackers/wandb/told.jsonl").read_text().splitlines()
    told = {run["id"]: run for run in map(json.loads, lines)}
    verdicts = [run for run in told.values() if run["job_type"] == "verdict"]

    assert len(told) == len(lines)
    assert {run["run"] for run in ran.json("run", "list")} == told.keys() - {run["id"] for run in verdicts}
    assert [(run["group"], run["tags"]) for run in verdicts] == [
        (f"trial {number}", ["pilot", "kept", "improved"]) for number in (1, 2)
    ]
    assert all(run["history"] == [[1, {"loss": 1.0}]] for run in told.values() if run not in verdicts)


def test_the_views_can_be_thrown_away(ran: Pilot, tmp_path: Path) -> None:
    """`campaign records` makes every byte again; what a kill left half made is swept away."""
    copy = Pilot(tmp_path / "home")
    shutil.copytree(ran.home, copy.home)
    before = contents(pages(copy))
    shutil.rmtree(pages(copy))
    (pages(copy) / "runs/.half.new").mkdir(parents=True)

    said = quick(copy, "campaign", "records", "pilot")

    after = contents(pages(copy))
    assert said.code == 0, said.err
    assert before.pop("applied-commits.json")
    assert after == before


def test_a_place_that_cannot_be_written_is_told(ran: Pilot, tmp_path: Path) -> None:
    """With the path and a mend; what is in the way stays."""
    copy = Pilot(tmp_path / "home")
    shutil.copytree(ran.home, copy.home)
    shutil.rmtree(pages(copy) / "runs")
    (pages(copy) / "runs").write_text("mine")

    said = quick(copy, "campaign", "records")

    assert said.code == 1
    assert str(pages(copy) / "runs") in said.err
    assert "mend:" in said.err
    assert (pages(copy) / "runs").read_text() == "mine"


def test_a_run_whose_attempt_folder_is_gone_has_what_is_stored(ran: Pilot, tmp_path: Path) -> None:
    """The metrics come from the blobs, and the log says where it is to be looked for."""
    copy = Pilot(tmp_path / "home")
    shutil.copytree(ran.home, copy.home)
    run = copy.json("run", "list")[0]["run"]
    folder = pages(copy) / "runs" / run
    metrics = (folder / "metrics.jsonl").read_bytes()
    shutil.rmtree(copy.home / "runs" / run)
    shutil.rmtree(folder)

    said = quick(copy, "campaign", "records")

    summary = read(folder / "summary.json")
    assert said.code == 0, said.err
    assert "1 run folders written" in said.err
    assert (folder / "metrics.jsonl").read_bytes() == metrics
    assert f"/runs/{run}/attempt-1" in (folder / "log.txt").read_text()
    assert summary["trainer_summary"] is None
    assert summary["metrics"]["val_loss"] > 0


def test_a_note_becomes_an_entry_and_a_line(ran: Pilot, tmp_path: Path) -> None:
    """Its text is data, however it looks; an empty one is refused."""
    copy = Pilot(tmp_path / "home")
    shutil.copytree(ran.home, copy.home)
    text = "a | b\n# forged\n- 2026 | x | y\n<script> ![i](u) [l](javascript:x) `code"

    said = quick(copy, "campaign", "note", "pilot", text, "--by", "ada")
    empty = quick(copy, "campaign", "note", "pilot", " ")

    entry = copy.json("logbook", "show")[-1]
    lines = (pages(copy) / "labbook.md").read_text().splitlines()
    (line,) = [line for line in lines if "note by ada" in line]
    assert said.code == 0, said.err
    assert (entry["label"], entry["interpretation"]) == ("note by ada", text)
    assert copy.json("logbook", "verify")["intact"]
    assert "a \\| b # forged - 2026 \\| x \\| y &lt;script> !\\[i]\\(u) [l]\\(javascript:x) \\`code | - | -" in line
    assert not [each for each in lines if "forged" in each and each != line]
    assert empty.code == 2
    assert "mend:" in empty.err


def test_the_report_draws_the_plot_where_it_is_told_to(ran: Pilot, tmp_path: Path) -> None:
    """The same picture as the page in the home: a mark for each trial, and the band of what holds."""
    path = tmp_path / "plot.svg"

    said = quick(ran, "campaign", "report", "--plot", str(path))

    drawn = path.read_text()
    assert said.code == 0, said.err
    assert drawn == (pages(ran) / "progress.svg").read_text()
    kinds = [element.get("class") for element in ET.fromstring(drawn).iter()]
    assert (kinds.count("trial"), kinds.count("band")) == (3, 3)
