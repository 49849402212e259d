"""A ferry that was killed and whose run folder is gone: nothing is done again without a word."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.cli import kill_session
from tests.acceptance.ferries import Harbour, make_harbour
from tests.acceptance.test_ferry import QUICK, WAIVED, is_there, wait_for

SLOW = ("config = {}", "config = { pause = 0.3, steps = 5 }")
REFUSES = ('size = "toy"', 'size = "toy"\nfresh_start = "refused"')


def kill(harbour: Harbour) -> None:
    """Kill -9 everything once a checkpoint is known."""
    campaign = harbour.start("campaign", "run", "daily.toml", "--once")
    wait_for(partial(is_there, harbour, "runs/*/attempt-*/checkpoints/step-*"))
    wait_for(lambda: saved(harbour) > 0)
    kill_session(campaign)
    campaign.communicate()


def killed(harbour: Harbour) -> Path:
    """Kill -9 everything once a checkpoint is known, put the run folders aside, and return where they are now."""
    kill(harbour)
    return (harbour.home / "runs").rename(harbour.home / "aside")


def saved(harbour: Harbour) -> int:
    """Return the last checkpoint of the first attempt that the platform was told of."""
    with harbour.store.read() as tx:
        (job,) = tx.jobs.leased()
        progress = tx.jobs.attempts(job.id)[0].progress
    return 0 if progress is None else progress.checkpoint_step or 0


def test_refused_it_waits_for_its_folder_and_goes_on_from_there(tmp_path: Path) -> None:
    """A person reads where the folder was; brought back, the next start relaunches at the checkpoint."""
    harbour = make_harbour(tmp_path / "repository", QUICK, WAIVED, SLOW, REFUSES)
    aside = killed(harbour)

    held = harbour.say("campaign", "run", "daily.toml", "--once")
    name = harbour.json("run", "list")[0]["run"]
    aside.rename(harbour.home / "runs")
    ran = harbour.say("campaign", "run", "daily.toml", "--once")

    assert held.code == 1
    assert "ferry 1 may not begin afresh" in held.err
    assert f"saved it in runs/{name}/attempt-1" in held.err
    assert ran.code == 0, ran.err
    order = next((harbour.home / "runs" / f"{name}-r2").glob("attempt-*/run.json")).read_text("utf-8")
    assert f"/runs/{name}/attempt-1/checkpoints/step-" in order


@pytest.mark.soak
def test_allowed_it_begins_afresh_and_says_what_that_costs(tmp_path: Path) -> None:
    """The ordinary rescue of a job goes on; the incident stands with the run."""
    harbour = make_harbour(tmp_path / "repository", QUICK, WAIVED, SLOW)
    killed(harbour)

    ran = harbour.say("campaign", "run", "daily.toml", "--once")

    assert ran.code == 0, ran.err
    (incident,) = [
        each for each in harbour.json("run", "show", "latest")["incidents"] if each["diagnosis"] == "steps_lost"
    ]
    assert "steps are done again" in incident["evidence"]


def test_code_that_changes_while_it_sails_asks_for_another_yes(tmp_path: Path) -> None:
    """What goes on after a kill is what was approved, or it is proposed anew; then it goes on from its checkpoint."""
    harbour = make_harbour(tmp_path / "repository", QUICK, SLOW)
    harbour.say("proposal", "draft", "--file", "daily.toml")
    harbour.approve()
    kill(harbour)
    (harbour.repository / "smuggled.py").write_text("print('nobody has seen this')\n", encoding="utf-8")

    held = harbour.say("campaign", "run", "daily.toml", "--once")
    (job,) = harbour.json("run", "list")
    harbour.approve()
    ran = harbour.say("campaign", "run", "daily.toml", "--once")

    assert held.code == 3, held.err
    assert job["outcome"] == "code_changed"
    assert ran.code == 0, ran.err
    order = next((harbour.home / "runs" / f"{job['run']}-r2").glob("attempt-*/run.json")).read_text("utf-8")
    assert f"/runs/{job['run']}/attempt-1/checkpoints/step-" in order
