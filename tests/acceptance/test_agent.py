"""A campaign whose proposals an agent makes: it does what it wants, and the loop goes on."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pilothouse.propose.sandbox.level import landlocked
from tests.acceptance.cli import ended
from tests.acceptance.test_autopilot import Pilot, story
from tests.acceptance.test_kill import everything_of

AGENT = Path(__file__).with_name("toy_agent") / "agent.py"
SECONDS_MAX = 60.0
SHORT = ("calibration = 4\nconfirmation = 3", 'calibration = 3\nconfirmation = 2\nmode = "single"\nlooks = [2]')
TWO_KNOBS = (
    "[metrics.val_loss]",
    '[knobs.width]\ntype = "int"\ndefault = 1\nmin = 1\nmax = 9\n\n[change_budget]\nmax = 1\n\n[metrics.val_loss]',
)


WORDS = ("no json", "unknown key", "unknown knob", "range", "too many", "late", "hostile", "slow")


@pytest.fixture(name="pilot")
def _pilot(tmp_path: Path) -> Pilot:
    """Return a product whose home is not made yet."""
    level = landlocked()
    if not level.confines:
        pytest.skip(level.told())
    return Pilot(tmp_path / "home")


@pytest.fixture(name="calm", scope="module")
def _calm(tmp_path_factory: pytest.TempPathFactory) -> Pilot:
    """Return a campaign whose agent did everything wrong that it can, and that nobody has disturbed."""
    level = landlocked()
    if not level.confines:
        pytest.skip(level.told())
    pilot = Pilot(tmp_path_factory.mktemp("calm") / "home")
    said = pilot.run("campaign", "run", str(pilot.file(*asking(WORDS, seconds=5, trials=2))))
    assert said.code == 0, said.err
    return pilot


def asking(words: Sequence[str], *, seconds: float = 30.0, trials: int = 1) -> tuple[tuple[str, str], ...]:
    """Return the changes that make the toy campaign ask the toy agent, who is told these words."""
    command = json.dumps(["python", "-I", "-S", str(AGENT), *words])
    table = f'[autopilot.agent]\ncommand = {command}\ncost_estimate_usd = 0.25\nlimits = {{ time = "{seconds:g}s" }}\n'
    return (
        SHORT,
        TWO_KNOBS,
        ('proposer = "random"\nseed = 7', f'proposer = "agent"\nseed = 5\n\n{table}'),
        ("proposals = 2", f"proposals = {trials}"),
    )


def until_asked(pilot: Pilot, *, word: str) -> None:
    """Wait until the agent answers as this word says."""
    deadline, pause = time.monotonic() + SECONDS_MAX, threading.Event()
    while word not in {path.read_text() for path in pilot.home.glob("agents/*/*/*/attempt-*/out/asked")}:
        assert time.monotonic() < deadline, "no agent was asked"
        pause.wait(0.02)


def until_gone(pilot: Pilot) -> None:
    """Wait until nothing works for the home."""
    deadline, pause = time.monotonic() + SECONDS_MAX, threading.Event()
    while list(everything_of(pilot)):
        assert time.monotonic() < deadline, [process.cmdline() for process in everything_of(pilot)]
        pause.wait(0.02)


def shown(pilot: Pilot) -> list[Any]:
    """Return everything that is told of every proposal."""
    return [pilot.json("proposal", "show", row["id"]) for row in pilot.json("proposal", "list")]


def test_whatever_an_agent_answers_the_loop_goes_on(calm: Pilot) -> None:
    """Each answer that cannot be taken is a rejected proposal with its reason, its run and an incident."""
    pilot, reasons = calm, ("is not JSON", "'confidence'", "'rates'", "rate", "2 knobs", "wall_time", "", "")
    found, report = shown(pilot), pilot.json("campaign", "report")

    kinds = [{each["diagnosis"] for each in one["incidents"]} for one in found]
    assert [one["state"] for one in found] == ["rejected"] * 6 + ["admitted"] * 2
    for one, reason in zip(found, reasons, strict=True):
        assert reason in one["refusal"], one
    assert kinds[:6] == [{"answer"}, {"answer"}, {"guardrail"}, {"guardrail"}, {"guardrail"}, {"wall_time"}]
    assert "file" in kinds[6]
    assert not (pilot.home / "mark").exists()
    assert not (pilot.home.parent / "mark").exists()
    assert {one["agent"]["level"] for one in found} == {"landlock"}
    assert {one["agent"]["usage"]["turns"] for one in found} == {None}
    assert len({one["agent"]["context_digest"] for one in found}) == len(found)
    assert report["sources"]["agent:command"]["refused"] == 6
    assert report["agents"]["agent:command"]["runs"] == 8
    assert report["cost"]["agents_usd"] == pytest.approx(8 * 0.25)
    shown_runs = {path.parent.name for path in pilot.home.glob("agents/*/*/*/attempt-1/context/*/summary.json")}
    assert shown_runs == {"run", "best"}
    assert pilot.json("logbook", "verify")["intact"]


@pytest.mark.timeout(120)
def test_a_kill_while_an_agent_runs_leaves_none_alive_and_changes_nothing(pilot: Pilot, calm: Pilot) -> None:
    """Same proposals, same verdicts; what was answered is not asked again, and what was cut off is asked once more."""
    changes = asking(WORDS, seconds=5, trials=2)
    first = pilot.start("campaign", "run", str(pilot.file(*changes)))
    until_asked(pilot, word="slow")

    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=30)
    until_gone(pilot)
    again = pilot.run("campaign", "run", str(pilot.file(*changes)))

    assert again.code == 0, again.err
    assert story(pilot) == story(calm)
    found = shown(pilot)
    assert [one["agent"]["attempt"] for one in found] == [1, 1, 1, 1, 1, 1, 1, 2]
    assert found[-1]["agent"]["charged_usd"] == 0.5
    assert len(list(pilot.home.glob("agents/*/*/*/record.json"))) == len(WORDS)
    assert list(everything_of(pilot)) == []


def test_a_signal_ends_an_agent_at_once_and_the_campaign_can_go_on(pilot: Pilot) -> None:
    """Exit 130 long before the agent's own limit, no process left, no proposal made up."""
    file = str(pilot.file(*asking(["late"], seconds=3600)))
    process = pilot.start("campaign", "run", file)
    until_asked(pilot, word="late")

    process.send_signal(signal.SIGINT)
    said = ended(process)

    assert said.code == 130, said.err
    assert "trial 1: asking for a proposal" in said.err
    assert list(everything_of(pilot)) == []
    assert pilot.json("campaign", "status")["state"] == "ready"
    assert pilot.json("proposal", "list") == []
