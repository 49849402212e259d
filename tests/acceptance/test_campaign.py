"""A campaign from its file to its logbook, as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess

import psutil
import pytest

from tests.acceptance.cli import Product, ended, until_training

SLOW = ("config = {}", "config = { pause = 0.2 }")
"""Makes a training last six seconds, so that it can be met while it runs."""


def held(product: Product) -> tuple[tuple[str, str], ...]:
    """Return what holds a training at its first checkpoint until it is stopped: its file never comes.

    However slow this machine is, whatever meets the training meanwhile does not come too late.
    """
    never = product.home.parent / "never"
    return (
        ("config = {}", f"config = {{ held_until = {json.dumps(str(never))} }}"),
        ('silent_after = "3s"', 'silent_after = "2m"'),
        ('timeout = "60s"', 'timeout = "5m"'),
    )


def wait_for_line(process: subprocess.Popen[str], words: str) -> None:
    """Read the command's standard error until a line holds the words."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"the command ended without saying {words!r}")


def test_a_campaign_runs_to_its_end_and_tells_it(product: Product) -> None:
    """Every surface tells the same story afterwards."""
    said = product.run("campaign", "run", str(product.file()))
    status = product.json("campaign", "status")
    verified = product.json("logbook", "verify")
    runs = product.json("run", "list")
    jobs = product.json("job", "list")
    page = product.say("logbook", "export").out

    assert said.code == 0, said.err
    assert (status["campaign"], status["kind"], status["state"]) == ("toy", "flywheel", "done")
    assert [row["number"] for row in status["iterations"]] == [1, 2, 3]
    assert all(row["verdict"] == "improved" and len(row["interval"]) == 2 for row in status["iterations"])
    assert {"train", "evaluate", "overhead"} <= status["iterations"][0]["seconds"].keys()
    assert status["best_iteration"] == 3
    assert status["golden"]["held"]["looks"] == 4
    assert status["golden"]["held"]["published"] == pytest.approx(status["iterations"][2]["metrics"]["gap"])
    assert status["last_error"] is None
    assert verified["entries"] == 4
    assert [run["stage"] for run in runs] == ["shipped"] * 3
    assert len(jobs) == 3 + 3 * 4
    assert page.startswith("# toy: Research Logbook")
    assert page.count("### ") == 4
    assert "Look 4: " in page
    assert "is published as the golden set's new best" in page


def test_iterations_are_counted_from_where_the_campaign_stands(product: Product) -> None:
    """`--once` twice judges two iterations, and nothing is made twice."""
    file = str(product.file())

    assert product.say("campaign", "run", file, "--once").code == 0
    assert product.json("campaign", "status")["state"] == "ready"
    assert product.say("campaign", "run", file, "--once").code == 0

    status = product.json("campaign", "status")
    assert [row["number"] for row in status["iterations"]] == [1, 2]
    assert len(product.json("job", "list")) == 3 + 2 * 4


def test_the_second_iteration_starts_from_the_first_checkpoint(product: Product) -> None:
    """The training is given the best checkpoint, and learns further from it."""
    product.say("campaign", "run", str(product.file()), "--iterations", "2")

    runs = product.json("run", "list")
    first, second = (product.json("run", "show", run["run"]) for run in reversed(runs))

    made = next(artifact["digest"] for artifact in first["artifacts"] if artifact["name"] == "checkpoint")
    assert "checkpoint" not in first["spec"]["inputs"]
    assert second["spec"]["inputs"]["checkpoint"] == [made]


def test_a_second_run_on_the_same_campaign_names_the_owner(product: Product) -> None:
    """Exit 6, with the pid of the process that holds it."""
    file = str(product.file(*held(product)))
    first = product.start("campaign", "run", file, "--once")
    until_training(product)

    second = product.say("campaign", "run", file, "--once")
    status = product.json("campaign", "status")
    first.send_signal(signal.SIGTERM)
    ended(first)

    assert second.code == 6
    assert f"pid {first.pid}" in second.err
    assert status["state"] == "running"
    assert status["owner"]["pid"] == first.pid


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_where_the_campaign_can_go_on(product: Product, number: signal.Signals, code: int) -> None:
    """The training leaves a checkpoint, and the next start resumes from it."""
    file = str(product.file(SLOW))
    first = product.start("campaign", "run", file, "--once")
    until_training(product)

    first.send_signal(number)
    said = ended(first)
    ready = product.json("campaign", "status")
    again = product.say("campaign", "run", file, "--once")

    run = product.json("run", "show", "latest")
    assert said.code == code, said.err
    assert ready["state"] == "ready"
    assert again.code == 0, again.err
    assert [attempt["outcome"] for attempt in run["attempts"]] == ["preempted", "succeeded"]
    assert run["failures"] == 0


def test_stop_ends_a_running_campaign(product: Product) -> None:
    """`campaign stop` waits until the owner has gone; a second one has nothing to do."""
    file = str(product.file(*held(product)))
    first = product.start("campaign", "run", file, "--once")
    wait_for_line(first, "untrained model")

    stopped = product.say("campaign", "stop")
    again = product.say("campaign", "stop")

    assert ended(first).code == 143
    assert stopped.code == 0
    assert "stopped" in stopped.out
    assert "not running" in again.out


def test_a_knob_is_moved_by_proposal_and_stays_moved(product: Product) -> None:
    """`--set` is one exact delta against the parent; the next iteration keeps it."""
    file = str(product.file())
    product.say("campaign", "run", file, "--once")

    moved = product.say("campaign", "run", file, "--once", "--set", "rate=0.1")
    kept = product.say("campaign", "run", file, "--once")

    changes = [row["changes"] for row in product.json("proposal", "list")]
    configs = [product.json("run", "show", run["run"])["spec"]["config"] for run in product.json("run", "list")]
    assert moved.code == kept.code == 0
    assert changes == ["none", "rate: 0.05 → 0.1", "none"]
    assert [config["rate"] for config in reversed(configs)] == [0.05, 0.1, 0.1]
    assert "the campaign runs with 0.1" in kept.err


def test_a_killed_factory_is_replaced_while_the_campaign_runs_on(product: Product) -> None:
    """The run resumes from its checkpoint; it is a loss, not a failure of the run."""
    file = str(product.file(SLOW))
    campaign = product.start("campaign", "run", file, "--once")
    until_training(product)

    factory = next(
        process for process in psutil.Process(campaign.pid).children() if "pilothouse.factory" in process.cmdline()
    )
    factory.kill()
    said = ended(campaign)

    run = product.json("run", "show", "latest")
    assert said.code == 0, said.err
    assert [attempt["outcome"] for attempt in run["attempts"]] == ["lost", "succeeded"]
    assert (run["failures"], run["losses"]) == (0, 1)
