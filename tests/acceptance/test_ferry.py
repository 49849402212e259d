"""Ferries from their draft to their sealed record, as their people see them."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from pilothouse.canonical import Json
from pilothouse.ids import CampaignName, ProductId
from pilothouse.logbook.letter import GITHUB, Kind
from pilothouse.ports.outbox import LetterQuery
from tests.acceptance.cli import ended, kill_session
from tests.acceptance.ferries import Harbour, make_harbour

WATCHED = "first = '0.1s'\nthen = '0.3s'\ndegraded_after = 999"
BOUND = "\n[ferry.validators.eval_loss]"
QUICK = (BOUND, f"\nown_repository = true\n\n[ferry.watch]\n{WATCHED}\n{BOUND}")
WAIVED = ('approval = "required"', 'approval = "waived"\nwaived_by = "ada"\nreason = "a toy"')
SEEDS = 'size = "toy"\nseeds = 2'
SECONDS_MAX = 90.0


@pytest.fixture(name="harbour")
def _harbour(tmp_path: Path) -> Harbour:
    """Return a repository with the toy template."""
    return make_harbour(tmp_path / "repository", QUICK)


def letters(harbour: Harbour) -> dict[str, Kind]:
    """Return every letter for the forge by its key."""
    with harbour.store.read() as tx:
        return {each.letter.key: each.letter.kind for each in tx.outbox.listed(LetterQuery(channel=GITHUB, limit=200))}


def wait_for(there: Callable[[], bool]) -> None:
    """Wait until something is there."""
    deadline, pause = time.monotonic() + SECONDS_MAX, threading.Event()
    while not there():
        assert time.monotonic() < deadline, "it never came"
        pause.wait(0.02)


def is_there(harbour: Harbour, mark: str) -> bool:
    """Whether the home has such a file."""
    return any(harbour.home.glob(mark))


def test_two_ferries_from_draft_to_seal_and_the_second_refers_to_the_first(harbour: Harbour) -> None:
    """Gate, launch under the day's name, verdict against the ferry before, record, closure, seal, promotion."""
    harbour.write(QUICK, ("config = {}", "config = { pause = 0.5 }"))
    first = harbour.json("proposal", "draft", "--file", "daily.toml")
    refused = harbour.say("campaign", "run", "daily.toml", "--once")
    harbour.approve()
    ran = harbour.say("campaign", "run", "daily.toml", "--once")
    published = {key.removeprefix(f"{first['run']}/"): kind for key, kind in letters(harbour).items()}
    (harbour.repository / "notes.md").write_text("more", encoding="utf-8")
    harbour.commit("Look <b>again</b> at the rate")
    second = harbour.json("proposal", "draft", "--campaign", "daily", "--guidance", "try rate=0.04 please")
    harbour.approve()
    again = harbour.say("campaign", "run", "daily.toml", "--once")

    name, next_name = first["run"], f"{first['run']}-2"
    assert refused.code == 3
    assert first["proposal"] in refused.err
    assert ran.code == again.code == 0, (ran.err, again.err)
    assert published == {
        "proposal/commit": Kind.COMMIT,
        "proposal": Kind.PULL_REQUEST,
        "issue": Kind.ISSUE,
        "status": Kind.STATUS,
        "first-evaluation": Kind.COMMENT,
        "closing": Kind.COMMENT,
        "labels": Kind.LABELS,
        "log/commit": Kind.COMMIT,
        "log": Kind.PULL_REQUEST,
        "seal": Kind.TAG,
        "close": Kind.CLOSE,
    }
    assert [run["run"] for run in harbour.json("run", "list")] == [next_name, name]
    assert {path.name for path in (harbour.home / "runs").iterdir()} >= {name, next_name}
    assert second["considered"]["last"]["run"] == name
    assert second["considered"]["last"]["commit"] == harbour.git("rev-parse", "HEAD~1").strip()
    assert [commit["subject"] for commit in second["considered"]["commits"]] == ["Look <b>again</b> at the rate"]
    assert "`Look <b>again</b> at the rate`" in second["text"]
    assert second["changes"] == [{"knob": "rate", "before": 0.01, "after": 0.04}]
    assert second["source"] == "person"
    status = harbour.json("campaign", "status")
    assert status["iterations"][1]["verdict"] == "improved"
    assert status["best_iteration"] == 2
    assert harbour.say("logbook", "verify").code == 0
    day = name.removeprefix("daily-toy-")
    seals = [f"ferry/daily/{day.replace('-', '')}/{run}" for run in (name, next_name)]
    assert harbour.git("tag", "--list").split() == seals
    assert harbour.git("rev-parse", f"{seals[1]}^{{commit}}") == harbour.git("rev-parse", "HEAD")
    with harbour.store.read() as tx:
        promotion = tx.outbox.by_key(ProductId("test"), GITHUB, f"{next_name}/promotion")
    assert promotion is not None
    assert "\n- rate: 0.01 → 0.04\n" in str(promotion.letter.body["text"])
    assert "default = 0.04" in harbour.git("show", f"ferry-promotion/{next_name}:daily.toml")
    assert f"## {day} · {next_name}" in harbour.git("show", f"ferry-log/{next_name}:ferries/daily/log.md")
    assert harbour.git("status", "--porcelain") == ""
    assert "note: knob" not in harbour.say("campaign", "run", "daily.toml", "--once").err


def test_a_ferry_that_did_no_work_has_failed(harbour: Harbour) -> None:
    """It ended well, kept its promises, and never reported a step; the next one repeats the config, to confirm."""
    harbour.write(QUICK, WAIVED, ("config = {}", "config = { idle = true }"))

    ran = harbour.say("campaign", "run", "daily.toml", "--once")
    harbour.write(QUICK)
    following = harbour.json("proposal", "draft", "--file", "daily.toml")

    assert ran.code == 1
    assert "did no work" in ran.err
    assert harbour.git("tag", "--list") == ""
    assert f"{harbour.json('run', 'list')[0]['run']}/close" not in letters(harbour)
    assert following["changes"] == []
    assert following["why_not_identical"].startswith("regression confirmation: ferry 1 failed")


def test_a_ferry_of_two_seeds_has_failed_when_one_of_them_did_no_work(harbour: Harbour) -> None:
    """The seed that worked speaks for itself: neither its steps nor its measures stand in for the other's."""
    bounds = ("[ferry.validators.steps]", "[ferry.validators.mfu_p50]\nat_least = 1.0\n\n[ferry.validators.steps]")
    harbour.write(QUICK, WAIVED, ("config = {}", "config = { idle_seed = 1 }"), ('size = "toy"', SEEDS), bounds)

    ran = harbour.say("campaign", "run", "daily.toml", "--once")

    assert ran.code == 1
    assert "did no work" in ran.err
    with harbour.store.read() as tx:
        (ferry,) = tx.ferries.listed(ProductId("test"), CampaignName("daily"))
    assert ferry.judged is not None
    checks = {check["name"]: check["actual"] for check in cast("list[dict[str, Json]]", ferry.judged["checks"])}
    assert checks["mfu_p50"] is checks["steps"] is None
    assert checks["eval_loss"] is not None


def test_a_ferry_without_samples_is_told_with_what_it_has_moved(harbour: Harbour) -> None:
    """It is judged over its seeds, and is no identical rerun for that."""
    harbour.write(QUICK, WAIVED, ('column = "nll"\n', ""), ('column = "soft"\n', ""))
    assert harbour.say("campaign", "run", "daily.toml", "--once").code == 0

    ran = harbour.say("campaign", "run", "daily.toml", "--once", "--set", "rate=0.04")

    assert ran.code == 0
    assert "trial 2: rate 0.01 → 0.04: " in ran.err


def test_a_small_bug_is_patched_proposed_again_and_goes_on_from_its_checkpoint(harbour: Harbour) -> None:
    """The relaunch resumes in the old folder, at the step that was saved there; both are one ferry."""
    harbour.write(QUICK, WAIVED, ("config = {}", "config = { breaks = 1 }"))
    failed = harbour.say("campaign", "run", "daily.toml", "--once")
    waiting = letters(harbour)
    (harbour.repository / "mended.txt").write_text("the batch has its name", encoding="utf-8")
    harbour.commit("Mend the batch")
    ran = harbour.say("campaign", "run", "daily.toml", "--once")

    again, name = (run["run"] for run in harbour.json("run", "list"))
    assert failed.code == 1
    assert "waits for a patch: NameError" in failed.err
    assert ran.code == 0, ran.err
    assert again == f"{name}-r2"
    order = next((harbour.home / "runs" / again).glob("attempt-*/run.json")).read_text("utf-8")
    assert f"/runs/{name}/attempt-1/checkpoints/step-000002" in order
    assert '"step": 2' in order
    proposals = harbour.json("proposal", "list")
    assert [proposal["state"] for proposal in proposals] == ["admitted", "admitted"]
    assert "relaunch 1 after a patch" in proposals[-1]["why"]
    assert f"{name}/incident-1" in waiting
    assert f"{name}/relaunch-{again}" in letters(harbour)


@pytest.mark.soak
def test_a_cancelled_ferry_is_closed_with_its_evidence(harbour: Harbour) -> None:
    """Cancelled in the middle by somebody: an outcome of its own, told and recorded."""
    harbour.write(QUICK, WAIVED, ("config = {}", "config = { pause = 0.5, steps = 60 }"))
    campaign = harbour.start("campaign", "run", "daily.toml", "--once")
    wait_for(partial(is_there, harbour, "runs/*/attempt-*/checkpoints/step-*"))
    campaign.send_signal(signal.SIGINT)
    ended(campaign)
    run = harbour.json("run", "list")[0]["run"]

    cancelled = harbour.say("job", "cancel", run)
    ran = harbour.say("campaign", "run", "daily.toml", "--once")

    assert cancelled.code == 0, cancelled.err
    assert ran.code == 1
    assert "cancelled" in ran.err
    assert {f"{run}/incident-1", f"{run}/closing"} <= letters(harbour).keys()
    assert f"{run}/close" not in letters(harbour)


def check_end(harbour: Harbour) -> None:
    """Hold what a ferry leaves to what one that nobody has killed leaves: one run, one verdict, one of everything."""
    runs = harbour.json("run", "list")
    assert [run["stage"] for run in runs] == ["shipped"]
    assert [iteration["state"] for iteration in harbour.json("campaign", "status")["iterations"]] == ["judged"]
    assert len(harbour.git("tag", "--list").split()) == 1
    once = [key for key in letters(harbour) if key.endswith(("/issue", "/closing", "/seal", "/proposal"))]
    assert len(once) == 4
    assert harbour.say("logbook", "verify").code == 0


def test_killed_while_it_sails_a_ferry_comes_to_the_same_end_with_one_launch(harbour: Harbour) -> None:
    """Kill -9 of the whole session: as soon as a job is there, in its training, and when its summary is written."""
    harbour.write(QUICK, WAIVED, ("config = {}", "config = { pause = 0.2, steps = 6 }"))
    for mark in ("runs/*", "runs/*/attempt-*/checkpoints/step-*", "runs/*/attempt-*/summary.json"):
        campaign = harbour.start("campaign", "run", "daily.toml", "--once")
        wait_for(partial(is_there, harbour, mark))
        kill_session(campaign)
        campaign.communicate()

    ran = harbour.say("campaign", "run", "daily.toml", "--once")

    assert ran.code == 0, ran.err
    check_end(harbour)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_killed_at_random_moments_a_ferry_comes_to_the_same_end(harbour: Harbour, seed: int) -> None:
    """Kill -9 of the whole session ten times, whenever it happens to be."""
    harbour.write(QUICK, WAIVED, ("config = {}", "config = { pause = 0.2, steps = 10 }"))
    moments, pause = random.Random(seed), threading.Event()
    for _ in range(10):
        campaign = harbour.start("campaign", "run", "daily.toml", "--once")
        pause.wait(moments.uniform(0.2, 4.0))
        kill_session(campaign)
        campaign.communicate()

    ran = harbour.say("campaign", "run", "daily.toml", "--iterations", "1")

    assert ran.code == 0, ran.err
    assert len(harbour.json("run", "list")) == len(harbour.json("campaign", "status")["iterations"])


@pytest.mark.soak
def test_the_demo_sails_two_ferries_and_the_second_refers_to_the_first(tmp_path: Path) -> None:
    """In a repository of its own: pull requests, issue, branches and seals; a second demo goes on."""
    harbour = Harbour(tmp_path)

    shown = ended(harbour.start("demo", "ferry"), seconds=600)
    again = ended(harbour.start("demo", "ferry", "--iterations", "1"), seconds=600)

    assert shown.code == again.code == 0, (shown.err, again.err)
    assert shown.out.count("--- pull request: ") == 2
    assert "None: this is the first ferry." in shown.out
    assert "- ferry 1, run `ferry-nano-" in shown.out
    assert "- ferry 2, run `ferry-nano-" in again.out
    assert "the record of ferry 3" in again.out
