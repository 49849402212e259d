"""Runs reach a tracker once, and whatever its library does, the loop is not touched.

The libraries here are strict fakes of what is used of them (`tracker_fakes`), loaded by the real process of a channel;
where the real ones are installed, they are tried as well.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pilothouse.canonical import Json
from pilothouse.ids import ProductId
from pilothouse.logbook.letter import Kind, Letter, LetterState, Posted, check_letter
from pilothouse.ports.channel import Delivered, Later, Outcome, Refused
from pilothouse.publish.tracker_process import curve_of
from pilothouse.publish.trackers import TrackerChannel, passed_on
from pilothouse.settings import environment

FAKES = Path(__file__).with_name("tracker_fakes")
OURS: Mapping[str, str] = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(FAKES), "HOME": "/nowhere"}
NOW = datetime(2026, 11, 22, tzinfo=UTC)
WANDB: Mapping[str, Json] = {"project": "nights", "entity": None, "mode": "offline"}
CURVE = [
    '{"step": 1, "loss": 2.0, "time": 1.0, "total": 3}',
    "torn {",
    '{"step": 2, "loss": "NaN", "speed": 9}',
    '{"step": 1, "loss": 5.0}',
    '{"step": 3, "loss": 1.0, "flag": true}',
]


class Open:
    """A gate that lets everything pass."""

    def pass_one(self) -> None:
        """Let it pass."""

    def passed(self) -> None:
        """Note nothing."""


def posted(
    identity: str, *, tries: int = 1, ok: bool = True, metrics: str | None = "m.jsonl", campaign: str = "pilot"
) -> Posted:
    """Return the letter of a run."""
    body: dict[str, Json] = {
        "id": identity,
        "name": identity,
        "group": "trial 3",
        "purpose": "look",
        "tags": ["pilot", "candidate"],
        "config": {"rate": 0.1, "net:width": 3},
        "summary": {"val_loss": 0.5, "diverged": "NaN", "outcome": "succeeded"},
        "ok": ok,
        "started_at": 1.0,
        "ended_at": 3.5,
    }
    if metrics is not None:
        body["metrics"] = metrics
    letter = Letter(product=ProductId("p"), campaign=campaign, channel="wandb", key=identity, kind=Kind.RUN, body=body)
    check_letter(letter)
    return Posted(
        number=1, letter=letter, revision=1, state=LetterState.WAITING, tries=tries, posted_at=NOW, not_before=NOW,
        last_error="", remote="", answer={}, ended_at=None,
    )  # fmt: skip


@contextmanager
def channel(
    home: Path,
    name: str = "wandb",
    *,
    options: Mapping[str, Json] = WANDB,
    others: Mapping[str, Mapping[str, Json] | None] | None = None,
    seconds: float = 20.0,
    interpreter: str = sys.executable,
    variables: Mapping[str, str] = OURS,
) -> Iterator[TrackerChannel]:
    """Return a channel whose home holds a metrics file; `others` are the options of other campaigns, by name."""
    (home / "m.jsonl").write_text("\n".join(CURVE) + "\n")
    known = {"pilot": options, **(others or {})}
    made = TrackerChannel(
        name=name,
        options=lambda letter: known[letter.campaign],
        home=home,
        folder=home / "trackers",
        environment=variables,
        interpreter=interpreter,
        answer_seconds=seconds,
    )
    try:
        yield made
    finally:
        made.close()


def deliver(to: TrackerChannel, identity: str, *, tries: int = 1, ok: bool = True) -> Outcome:
    """Deliver the letter of a run."""
    return to.deliver(posted(identity, tries=tries, ok=ok), about=None, gate=Open())


def told(home: Path) -> list[dict[str, Any]]:
    """Return what the fake was told, run by run."""
    return [json.loads(line) for line in (home / "trackers/told.jsonl").read_text().splitlines()]


def test_a_run_reaches_wandb_whole(tmp_path: Path) -> None:
    """Config, curve by step, summary and tags; and nothing of the machine is asked for."""
    with channel(tmp_path) as wandb:
        outcomes = [deliver(wandb, "good-1"), deliver(wandb, "good-2", ok=False)]

    first, second = told(tmp_path)
    assert outcomes == [Delivered(remote="good-1"), Delivered(remote="good-2")]
    assert (first["id"], first["project"], first["group"], first["job_type"]) == ("good-1", "nights", "trial 3", "look")
    assert first["config"] == {"rate": 0.1, "net:width": 3}
    assert first["history"] == [[1, {"loss": 2.0}], [2, {"speed": 9.0}], [3, {"loss": 1.0}]]
    assert first["summary"]["val_loss"] == 0.5
    assert first["tags"] == ["pilot", "candidate"]
    assert first["settings"]["disable_git"] is first["settings"]["x_disable_meta"] is True
    assert (first["exit_code"], second["exit_code"]) == (0, 1)


def test_a_run_goes_where_its_own_campaign_wants_it(tmp_path: Path) -> None:
    """What another campaign's loop has left in the outbox is not mixed into this one's project."""
    other = {**WANDB, "project": "days"}
    with channel(tmp_path, others={"other": other, "gone": None}) as wandb:
        outcomes = [
            wandb.deliver(posted(f"good-{place}", campaign=name), about=None, gate=Open())
            for place, name in enumerate(("pilot", "other", "pilot", "gone"))
        ]

    assert [(run["id"], run["project"]) for run in told(tmp_path)] == [
        ("good-0", "nights"),
        ("good-1", "days"),
        ("good-2", "nights"),
    ]
    assert outcomes[3] == Refused(why="campaign gone names no wandb any more")


def test_a_run_that_may_have_been_begun_takes_its_own_place(tmp_path: Path) -> None:
    """What an interrupted delivery left offline is gone, and that of every other run stays."""
    with channel(tmp_path) as wandb:
        for identity, tries in (("good-1", 1), ("other-1", 1), ("good-1", 2)):
            deliver(wandb, identity, tries=tries)

    assert sorted(path.name[-7:] for path in (tmp_path / "trackers/wandb").iterdir()) == ["-good-1", "other-1"]


@pytest.mark.parametrize(
    ("identity", "outcome", "words"),
    [("hang-1", Later, "no answer within"), ("die-1", Later, "process ended"), ("broken-1", Later, "cannot be taken")],
)
def test_what_goes_wrong_is_told_and_the_next_run_arrives(
    tmp_path: Path, identity: str, outcome: type[Later], words: str
) -> None:
    """A library that hangs or dies is ended, and started again for the next run."""
    with channel(tmp_path, seconds=3.0) as wandb:
        said = deliver(wandb, identity)
        after = deliver(wandb, "good-1")

    assert isinstance(said, outcome)
    assert words in said.why
    assert after == Delivered(remote="good-1")


def test_an_account_that_is_refused_closes_the_channel(tmp_path: Path) -> None:
    """Until a person has mended it and starts again; no run after it would fare better."""
    with channel(tmp_path) as wandb:
        said = deliver(wandb, "denied-1")

    assert said == Refused(why="wandb: AuthenticationError: the key is no key", channel=True)


def test_a_library_that_is_missing_closes_the_channel(tmp_path: Path) -> None:
    """It is said which."""
    (tmp_path / "wandb.py").write_text("raise ImportError('No module named wandb')\n")

    with channel(tmp_path, variables={**OURS, "PYTHONPATH": str(tmp_path)}) as wandb:
        said = deliver(wandb, "good-1")

    assert isinstance(said, Refused)
    assert said.channel
    assert "No module named wandb" in said.why


def test_a_letter_of_another_kind_is_refused_alone(tmp_path: Path) -> None:
    """A tracker has no issues."""
    letter = Letter(
        product=ProductId("p"), campaign="c", channel="wandb", key="k", kind=Kind.ISSUE, body={"title": "t", "text": ""}
    )
    one = posted("good-1")
    other = Posted(**{name: getattr(one, name) for name in one.__slots__} | {"letter": letter})

    with channel(tmp_path) as wandb:
        said = wandb.deliver(other, about=None, gate=Open())

    assert said == Refused(why="wandb takes runs, and no issue")


def test_mlflow_has_each_point_once(tmp_path: Path) -> None:
    """Also of a run that was told before; names are spelt as MLflow takes them."""
    server = tmp_path / "server.json"
    with channel(tmp_path, "mlflow", options={"uri": f"fake://{server}", "experiment": "nights"}) as mlflow:
        outcomes = [deliver(mlflow, "good-1"), deliver(mlflow, "good-1", tries=2), deliver(mlflow, "good-2", ok=False)]

    state = json.loads(server.read_text())
    first, second = state["runs"].values()
    assert outcomes == [Delivered(remote="run0"), Delivered(remote="run0"), Delivered(remote="run1")]
    assert state["experiments"] == ["nights"]
    assert first["tags"]["pilothouse.run_id"] == "good-1"
    assert first["params"] == {"rate": "0.1", "net_width": "3"}
    assert [(name, value, step) for name, value, _, step in first["points"]] == [
        ("loss", 2.0, 1),
        ("speed", 9.0, 2),
        ("loss", 1.0, 3),
        ("val_loss", 0.5, 4),
    ]
    assert (first["status"], second["status"]) == ("FINISHED", "FAILED")


def test_a_run_without_a_curve_has_none(tmp_path: Path) -> None:
    """And steps that are no whole numbers are no steps."""
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": true, "a": 1}\n{"step": 1.5, "a": 1}\n{"a": 1}\n[]\n{"step": 4, "a": 1}\n')

    assert list(curve_of(None)) == list(curve_of(tmp_path / "none")) == []
    assert list(curve_of(path)) == [(4, {"a": 1.0})]


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is an extra; install it to try the real one")
def test_the_real_wandb_takes_a_run_offline(tmp_path: Path) -> None:
    """Twice the same run is one folder, which `wandb sync` would send."""
    with channel(tmp_path, seconds=60.0, variables=environment()) as wandb:
        outcomes = [deliver(wandb, "good-1"), deliver(wandb, "good-1", tries=2)]

    left = [path.name for path in (tmp_path / "trackers/wandb").glob("offline-run-*")]
    assert outcomes == [Delivered(remote="good-1")] * 2
    assert len(left) == 1
    assert left[0].endswith("-good-1")


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is an extra; install it to try the real one")
def test_the_real_mlflow_takes_a_run_once(tmp_path: Path) -> None:
    """Into a folder."""
    uri = str(tmp_path / "mlruns")
    with channel(
        tmp_path, "mlflow", options={"uri": uri, "experiment": "nights"}, seconds=60.0, variables=environment()
    ) as mlflow:
        outcomes = [deliver(mlflow, "good-1"), deliver(mlflow, "good-1", tries=2)]

    (points,) = Path(uri).glob("*/*/metrics/loss")
    assert outcomes[0] == outcomes[1]
    assert isinstance(outcomes[0], Delivered)
    assert len(points.read_text().splitlines()) == 2


def test_the_process_ends_with_its_input() -> None:
    """A loop that was killed leaves none behind."""
    command = [sys.executable, "-m", "pilothouse.publish.tracker_process"]

    done = subprocess.run(
        command, input=b'{"tracker": "wandb", "options": {}, "folder": "."}\n', timeout=30, check=False
    )

    assert done.returncode == 0


SECRETS = {
    "PILOTHOUSE_GITHUB_TOKEN": "s3cret-github",
    "PILOTHOUSE_DISCORD_WEBHOOK": "s3cret-discord",
    "PILOTHOUSE_GITHUB_WEBHOOK_SECRET": "s3cret-hook",
    "PILOTHOUSE_TOKEN": "s3cret-server",
    "GITHUB_TOKEN": "s3cret-gh",
    "GH_TOKEN": "s3cret-gh",
    "DISCORD_TOKEN": "s3cret-bot",
    "ANTHROPIC_API_KEY": "s3cret-agent",
    "AWS_SECRET_ACCESS_KEY": "s3cret-aws",
    "PGPASSWORD": "s3cret-database",
}
NEEDED = {"LC_ALL": "C", "XDG_CACHE_HOME": "/nowhere", "https_proxy": "", "SSL_CERT_FILE": "/nowhere/ca.pem"}
ACCOUNTS = {"wandb": {"WANDB_API_KEY": "k"}, "mlflow": {"MLFLOW_TRACKING_TOKEN": "k", "DATABRICKS_HOST": "h"}}


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_sees_its_own_account_and_no_other_secret(tmp_path: Path, name: str) -> None:
    """By what the real process has: a library of a third party is trusted with one account, and with no more."""
    told, spy = tmp_path / "environment.json", tmp_path / "spy"
    spy.write_text(
        f"#!{sys.executable}\nimport json, os, pathlib\n"
        f"pathlib.Path({str(told)!r}).write_text(json.dumps(dict(os.environ)))\nprint('{{}}', flush=True)\ninput()\n"
    )
    spy.chmod(0o700)
    own, other = ACCOUNTS[name], ACCOUNTS["mlflow" if name == "wandb" else "wandb"]
    given = {**OURS, **NEEDED, **SECRETS, **own, **other}

    with channel(tmp_path, name, interpreter=str(spy), variables=given) as tracker:
        deliver(tracker, "good-1")

    seen = json.loads(told.read_text())
    assert "s3cret" not in told.read_text()
    assert seen.items() >= {**OURS, **NEEDED, **own}.items()
    assert not seen.keys() & (SECRETS.keys() | other.keys())
    assert passed_on("another", {**given}) == {**OURS, **NEEDED}


def test_a_process_that_reads_nothing_is_ended_in_time(tmp_path: Path) -> None:
    """However long what it is asked: neither the writing nor the closing waits for it without end."""
    deaf, born = tmp_path / "deaf", tmp_path / "pid"
    deaf.write_text(f"#!/bin/sh\necho $$ > {born}\nexec sleep 600\n")
    deaf.chmod(0o700)
    body = {**posted("good-1").letter.body, "config": {"net": "x" * 400_000}}
    letter = replace(posted("good-1").letter, body=body)

    with channel(tmp_path, seconds=1.0, interpreter=str(deaf)) as wandb:
        said = wandb.deliver(replace(posted("good-1"), letter=letter), about=None, gate=Open())

    assert isinstance(said, Later)
    assert "took in nothing within 1 s" in said.why
    with pytest.raises(ProcessLookupError):
        os.kill(int(born.read_text()), 0)


def test_a_process_that_hangs_ends_with_whoever_asked(tmp_path: Path) -> None:
    """A loop that was killed in the middle of a run leaves nothing behind, nor what the library has started."""
    order = {"tracker": "wandb", "options": dict(WANDB), "folder": str(tmp_path / "trackers")}
    body = dict(posted("hang-1").letter.body)
    asked = f"{json.dumps(order)}\n{json.dumps({'run': body, 'curve': None})}\n".encode()
    command = [sys.executable, "-m", "pilothouse.publish.tracker_process"]

    done = subprocess.run(command, input=asked, timeout=60, check=False, env=dict(OURS), start_new_session=True)

    assert done.returncode == -signal.SIGKILL
