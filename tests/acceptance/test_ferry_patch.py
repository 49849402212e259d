"""A small bug of a ferry, from the patch that an agent proposes to the relaunch that a person lets through."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from pilothouse.ids import ProductId
from pilothouse.logbook.letter import GITHUB, Kind
from pilothouse.propose.sandbox.level import landlocked
from pilothouse.settings import search_path
from tests.acceptance.cli import ended
from tests.acceptance.ferries import TOY, Harbour, make_harbour
from tests.acceptance.test_ferry import QUICK, WAIVED, letters
from tests.acceptance.test_ferry_agent import SIZE, asking, newest

PATCHES = '\n[ferry.patch]\npaths = ["src"]\nlines = 10\n'


def broken(folder: Path, word: str, *, patches: str = PATCHES, seconds: float = 30.0) -> Harbour:
    """Return a repository whose program has a small bug, and whose agent is told this word."""
    level = landlocked()
    if not level.confines:
        pytest.skip(level.told())
    harbour = make_harbour(folder / "repository", QUICK)
    source = harbour.repository / "src"
    source.mkdir()
    (source / "batch.py").write_text("batch = 1\n", encoding="utf-8")
    (source / "train.py").write_text(
        f"import runpy\n\nbatch = {str(TOY / 'train.py')!r}\nrunpy.run_path(batchh)\n", encoding="utf-8"
    )
    program = f'"{sys.executable}", "{TOY / "train.py"}"', f'"{sys.executable}", "src/train.py"'
    harbour.write(*asking(word, seconds=seconds, more=patches), WAIVED, program)
    return harbour


def run_of(harbour: Harbour) -> str:
    """Return the newest run."""
    return str(harbour.json("run", "list")[0]["run"])


KILLS = """#!/bin/sh
case "$*" in *fast-import*)
    cat > "$0.read"
    if grep -q refs/heads/pilothouse/patch/ "$0.read"; then kill -9 "$PPID"; exit 1; fi
    exec "{git}" "$@" < "$0.read";;
esac
exec "{git}" "$@"
"""
"""A git that kills whoever lets it make the branch of a patch, before it is made."""


def killed_before_its_branch(harbour: Harbour, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the ferry, kill it between a patch's record and its branch, and return how the process ended."""
    killer = folder / "bin" / "git"
    killer.parent.mkdir()
    killer.write_text(KILLS.format(git=shutil.which("git")), encoding="utf-8")
    killer.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{killer.parent}{os.pathsep}{search_path()}")
        process = harbour.start("campaign", "run", "daily.toml", "--once")
    return ended(process).code


def test_an_agent_s_patch_is_a_branch_that_a_person_merges_and_the_ferry_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One commit on the ferry's own, the working folder untouched; nothing is launched before it is merged.

    After a kill -9 before the branch nothing is paid anew.
    """
    harbour = broken(tmp_path, "mend")
    head = harbour.git("rev-parse", "HEAD").strip()
    killed = killed_before_its_branch(harbour, tmp_path, monkeypatch)
    run, branch = run_of(harbour), f"pilothouse/patch/{run_of(harbour)}"
    branches, recorded = harbour.git("branch", "--list", "pilothouse/*"), newest(harbour)["patches"]
    failed = harbour.say("campaign", "run", "daily.toml", "--once")
    posted, agent = letters(harbour), newest(harbour)["patches"]
    touched = harbour.git("diff", "--stat", head, branch)
    status = harbour.git("status", "--porcelain")
    harbour.git("merge", "--quiet", branch)
    ran = harbour.say("campaign", "run", "daily.toml", "--once")

    assert (killed, branches, failed.code) == (-signal.SIGKILL, "", 1)
    assert f"read it with `git show {branch}`, take it with `git merge {branch}`" in failed.err
    patches = {key: kind for key, kind in posted.items() if "patch-" in key}
    assert patches == {f"{run}/patch-{run}/commit": Kind.COMMIT, f"{run}/patch-{run}": Kind.PULL_REQUEST}
    assert harbour.git("rev-parse", f"{branch}~1").strip() == head
    assert "src/train.py | 2 +-" in touched
    assert "1 file changed" in touched
    assert status == ""
    assert [(each["files"], each["lines"], each["charged_usd"]) for each in agent] == [(["src/train.py"], 2, 0.25)]
    assert agent == recorded
    assert len(list(harbour.home.glob("agents/*/*/*/attempt-*"))) == 1
    assert ran.code == 0, ran.err
    assert harbour.json("run", "list")[0]["run"] == f"{run}-r2"
    assert harbour.say("logbook", "verify").code == 0
    assert [row["label"] for row in harbour.json("logbook", "show") if "patch" in row["label"]] == [
        f"{run}: a patch is proposed",
        f"{run}: waits for a patch",
    ]


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("vandal", (".git", ".github/workflows/ci.yml", "daily.toml", "src/batch.py", "goes beyond")),
        pytest.param("flood", ("lines, 10 are allowed",), marks=pytest.mark.soak),
        pytest.param("die", ("signal 6",), marks=pytest.mark.soak),
        pytest.param("late", ("wall_time",), marks=pytest.mark.soak),
    ],
)
def test_a_patch_that_goes_beyond_its_bounds_is_none_and_a_person_mends(
    tmp_path: Path, word: str, words: tuple[str, ...]
) -> None:
    """No branch and no pull request; what it tried is an incident, and asked is it once."""
    harbour = broken(tmp_path, word, seconds=1.0)
    failed = harbour.say("campaign", "run", "daily.toml", "--once")
    again = harbour.say("campaign", "run", "daily.toml", "--once")

    assert failed.code == again.code == 1
    assert "the agent's patch was not taken" in failed.err
    for each in words:
        assert each in failed.err
    assert harbour.git("branch", "--list", "pilothouse/*") == ""
    assert harbour.git("status", "--porcelain") == ""
    assert not any("patch-" in key for key in letters(harbour))
    shown = newest(harbour)
    assert {each["about"] for each in shown["incidents"]} == {f"patch after {run_of(harbour)}"}
    assert len(shown["patches"]) == 1
    assert len(list(harbour.home.glob("agents/*/*/*/attempt-*"))) == 1


def test_without_an_agent_a_small_bug_is_a_record_that_a_person_can_act_on(tmp_path: Path) -> None:
    """Failure, file and line, how it is run again, and what follows: on the issue and in the logbook, once."""
    harbour = broken(tmp_path, "mend", patches="")
    harbour.say("campaign", "run", "daily.toml", "--once")
    harbour.say("campaign", "run", "daily.toml", "--once")
    run, head = run_of(harbour), harbour.git("rev-parse", "HEAD").strip()

    (entry,) = [row for row in harbour.json("logbook", "show") if row["label"] == f"{run}: waits for a patch"]
    text = told(harbour, f"{run}/incident-1")
    for each in ("NameError", "src/train.py, line 4", f"git switch --detach {head}", f"pilothouse run show {run}"):
        assert each in text
    assert "goes on from the last checkpoint" in text
    assert "line 4" in json.dumps(entry)
    assert newest(harbour)["patches"] == []


@pytest.mark.soak
def test_a_canary_s_small_bug_is_recorded_once_however_often_it_is_started(tmp_path: Path) -> None:
    """It has an issue of its own instead of a comment, and no patches."""
    harbour = broken(tmp_path, "mend", patches="")
    text = (harbour.repository / "daily.toml").read_text(encoding="utf-8")
    begin, _, rest = text.partition("[knobs.rate]")
    fixed = begin + "[metrics.eval_loss]" + rest.partition("[metrics.eval_loss]")[2]
    for before, after in ((SIZE, f'form = "canary"\n{SIZE}'), ('proposer = "agent"\n', "")):
        assert before in fixed
        fixed = fixed.replace(before, after)
    (harbour.repository / "daily.toml").write_text(fixed, encoding="utf-8")
    harbour.commit("Make it a canary")

    codes = [harbour.say("campaign", "run", "daily.toml", "--once").code for _ in range(2)]

    assert codes == [1, 1]
    labels = [row["label"] for row in harbour.json("logbook", "show")]
    assert labels.count(f"{run_of(harbour)}: waits for a patch") == 1


def told(harbour: Harbour, key: str) -> str:
    """Return the text of a letter."""
    with harbour.store.read() as tx:
        posted = tx.outbox.by_key(ProductId("test"), GITHUB, key)
    assert posted is not None, key
    return str(posted.letter.body["text"])
