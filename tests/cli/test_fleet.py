"""`pilothouse fleet simulate`: the document it prints, the table, and every bad input by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pilothouse.cli.main import app
from pilothouse.engine.commands import Claim, Complete
from pilothouse.engine.scheduler import Scheduler
from pilothouse.errors import PilothouseError
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.job import Priority
from pilothouse.operations.submit import submit
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.simulation.world import World

FIGURES = {
    "mean_completion_s",
    "median_completion_s",
    "p99_completion_s",
    "utilisation",
    "bounded_slowdown",
    "longest_wait_lowest_s",
    "preemptions",
    "lost_gpu_hours",
    "makespan_s",
    "jobs",
    "decision_us",
}


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "trace.csv"
    rows = [f"{60 * place},{(place * 7919) % 5000 + 10},{1 + place % 4}" for place in range(80)]
    path.write_text("\n".join(["submit_time,duration,gpus", *rows]) + "\n", encoding="utf-8")
    return str(path)


def _json(*words: str) -> Any:
    said = CliRunner().invoke(app, ["fleet", "simulate", *words, "--json"])
    assert said.exit_code == 0, said
    return json.loads(said.stdout)


def _refusal(*words: str) -> PilothouseError:
    said = CliRunner().invoke(app, ["fleet", "simulate", *words])
    assert isinstance(said.exception, PilothouseError), said
    return said.exception


def test_a_workload_is_replayed_under_three_policies(trace: str) -> None:
    found = _json("--workload", trace, "--cluster", "8")

    assert list(found["policies"]) == ["fifo", "shortest", "ours"]
    assert all(set(each) == FIGURES for each in found["policies"].values())
    assert all(each["jobs"] == 80 for each in found["policies"].values())
    assert found["policies"]["shortest"]["mean_completion_s"] < found["policies"]["fifo"]["mean_completion_s"]
    assert found["cluster"] == {"gpus": 8, "checkpoint_every_s": 900.0, "restart_cost_s": 60.0, "assumed_limits": 2.0}
    assert found["trace"]["jobs"] == 80
    assert found["trace"]["offered_load"] > 1


def test_priorities_are_drawn_by_the_seed_and_shakes_have_intervals(trace: str) -> None:
    words = (
        "--workload",
        trace,
        "--cluster",
        "8",
        "--mix",
        "critical=1,low=3",
        "--shakes",
        "3",
        "--policies",
        "fifo,ours",
    )

    found, again = _json(*words), _json(*words)

    assert found["trace"]["priorities"] == again["trace"]["priorities"]
    assert found["trace"]["priorities"]["medium"] == 0
    mean = found["shakes"]["policies"]["ours"]["mean_completion_s"]
    assert mean["low"] <= mean["mean"] <= mean["high"]
    assert mean == again["shakes"]["policies"]["ours"]["mean_completion_s"]
    assert found["shakes"]["mean_completion_s_over_fifo"]["ours"]["mean"] > 0


def test_a_person_gets_a_table_and_is_told_what_was_left_out(trace: str) -> None:
    said = CliRunner().invoke(app, ["fleet", "simulate", "--workload", trace, "--cluster", "3", "--shakes", "2"])

    assert said.exit_code == 0, said
    assert "shortest" in said.stdout
    assert "left out 20 jobs that need more than 3 GPUs" in said.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cluster", "8"), "nothing to simulate"),
        (("--workload", "TRACE", "--seeds", "1"), "a workload is replayed"),
        (("--workload", "absent.csv", "--cluster", "8"), "absent.csv does not exist"),
        (("--workload", "TRACE", "--cluster", "8", "--policies", "lottery"), "no policy 'lottery'"),
        (("--workload", "TRACE", "--cluster", "8", "--policies", ","), "no policy is named"),
        (("--workload", "TRACE", "--cluster", "8", "--shakes", "1"), "one shaken replay"),
        (("--workload", "TRACE", "--cluster", "8", "--mix", "urgent=1"), "the mix has 'urgent=1'"),
        (("--workload", "TRACE", "--cluster", "8", "--mix", "low=-1"), "the share of low is -1"),
        (("--workload", "TRACE", "--cluster", "8", "--mix", "low=0"), "has no share above 0"),
        (("--workload", "TRACE", "--cluster", "8", "--shake-by", "soon"), "--shake-by"),
    ],
)
def test_a_bad_request_is_told(trace: str, words: tuple[str, ...], said: str) -> None:
    error = _refusal(*(trace if word == "TRACE" else word for word in words))

    assert said in error.message
    assert error.fix


def test_seeds_run_the_engine_under_trouble() -> None:
    found = _json("--seeds", "2", "--events", "60", "--seed", "5")

    assert (found["seeds"], found["events"], found["violations"]) == (2, 60, [])
    assert found["counts"]["jobs"] > 5
    assert found == _json("--seeds", "2", "--events", "60", "--seed", "5")
    shown = CliRunner().invoke(app, ["fleet", "simulate", "--seeds", "1", "--events", "40"])
    assert shown.exit_code == 0
    assert "violations       0" in shown.stdout


def test_a_violation_fails_the_command_and_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def complain(self: World) -> None:
        self.watch.complain("planted", "on purpose")

    monkeypatch.setattr(World, "pass_time", complain)

    said = CliRunner().invoke(app, ["fleet", "simulate", "--seeds", "1", "--events", "50", "--seed", "3"])
    asked = CliRunner().invoke(app, ["fleet", "simulate", "--seeds", "1", "--events", "50", "--seed", "3", "--json"])

    assert (said.exit_code, asked.exit_code) == (1, 1)
    assert "pilothouse fleet simulate --seeds 1 --seed 3 --events 50" in said.stdout
    assert json.loads(asked.stdout)["violations"][0]["what"] == "planted"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give a home whose fleet has run three jobs on one seat, one after the other, and not a fourth one."""
    home = tmp_path / "home"
    clock = FrozenClock()
    store = SqliteStore(home / "pilothouse.db")
    scheduler = Scheduler(store, clock)
    factory = Factory(product=values.PRODUCT, name=values.FACTORY)
    with store.write() as tx:
        tx.factories.put(factory, now=clock.now())
        for number, priority in enumerate((Priority.MEDIUM, Priority.LOW, Priority.CRITICAL), start=1):
            submit(tx, values.make_new_job(number, priority=priority), now=clock.now())
            clock.advance(1)
    scheduler.load()
    for _ in range(3):
        claim = Claim(factory=factory.name, boot=values.BOOT, seats=1, deadline=0.0)
        scheduler.run([claim])
        clock.advance(60)
        scheduler.run([Complete([(claim.value()[0].job, claim.value()[0].epoch, values.make_report())])])
    with store.write() as tx:
        submit(tx, values.make_new_job(4), now=clock.now())
    store.close()
    return home


def test_the_record_of_a_home_is_replayed_under_other_weights(home: Path) -> None:
    words = ["--home", str(home), "fleet", "what-if", "--product", values.PRODUCT, "--weights", "priority=0"]

    said = CliRunner().invoke(app, [*words, "--json"])
    shown = CliRunner().invoke(app, words)

    assert said.exit_code == 0, said
    found = json.loads(said.stdout)
    assert (found["jobs"], found["left_out"], found["seats"]) == (3, 1, 1)
    assert found["weights"] == {"recorded": {"age": 1.0, "priority": 10.0}, "other": {"age": 1.0, "priority": 0.0}}
    assert set(found["recorded"]) == set(found["replayed"]) == set(found["other"]) == FIGURES
    # The low one came last, and would have come second without a weight of priority: it was there before the critical.
    assert [found[each]["longest_wait_lowest_s"] for each in ("recorded", "replayed", "other")] == [122, 119, 59]
    assert shown.exit_code == 0
    assert "replayed" in shown.stdout


@pytest.mark.parametrize(
    ("weights", "said"), [("load=1", "no weight 'load'"), ("age=soon", "the weight age is 'soon'"), ("age=-1", "age")]
)
def test_weights_that_order_nothing_are_told(home: Path, weights: str, said: str) -> None:
    told = CliRunner().invoke(
        app, ["--home", str(home), "fleet", "what-if", "--product", values.PRODUCT, "--weights", weights]
    )

    assert isinstance(told.exception, PilothouseError)
    assert said in told.exception.message
