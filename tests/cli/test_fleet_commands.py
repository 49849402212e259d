"""The fleet's commands: against the app in this process, and against a server of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from pilothouse.cli import main as command_line
from pilothouse.engine.ownership import own_engine
from pilothouse.settings import Settings
from pilothouse.wiring.server import local_app
from pilothouse.wiring.server_file import SERVER_FILE, living_server

Spoken = tuple[int, str, str]
Say = Callable[..., Spoken]
START_SECONDS = 60.0
LOOK_SECONDS = 0.05
EVERYWHERE = "0.0.0.0"  # noqa: S104  it is refused


@pytest.fixture(name="say")
def _say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Say:
    """Return a way to speak to the command line in this process."""
    monkeypatch.chdir(tmp_path)

    def speak(*words: str) -> Spoken:
        monkeypatch.setattr(sys, "argv", ["pilothouse", *words])
        with pytest.raises(SystemExit) as left:
            command_line.main()
        said = capsys.readouterr()
        return int(str(left.value.code or 0)), said.out, said.err

    return speak


def told(say: Say, *words: str) -> Any:
    """Return what a command that must succeed prints as JSON."""
    at = words.index("--") if "--" in words else len(words)
    code, out, err = say(*words[:at], "--json", *words[at:])
    assert code == 0, err
    return json.loads(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server of its own home."""

    process: subprocess.Popen[bytes]
    home: Path
    url: str


def start(home: Path, *words: str, log: Path) -> Running:
    """Start a server and wait until it has said that it serves."""
    command = [sys.executable, "-m", "pilothouse", "--home", str(home), "server", "--port", "0", *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PILOTHOUSE_")}  # noqa: TID251
    with log.open("wb") as file:
        process = subprocess.Popen(command, stderr=file, cwd=home.parent, env=environment)
    pause = threading.Event()
    while (note := living_server(home)) is None or note.pid != process.pid:
        assert process.poll() is None, log.read_text()
        pause.wait(LOOK_SECONDS)
    return Running(process=process, home=home, url=note.url)


@pytest.fixture(name="locked", scope="module")
def _locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve with tokens."""
    folder = tmp_path_factory.mktemp("locked")
    running = start(folder / "home", "--auth", log=folder / "log")
    yield running
    running.process.terminate()
    running.process.wait(START_SECONDS)


# --- in this process


def test_a_job_is_submitted_explained_and_cancelled(say: Say) -> None:
    code, out, err = say("job", "submit", "--key", "k", "--need", "cuda>=12", "--", "python", "-V")
    job = out.strip()
    again = say("job", "submit", "--key", "k", "--need", "cuda>=12", "--", "python", "-V")

    assert (code, again[1].strip()) == (0, job)
    assert f"job explain {job}" in err
    assert told(say, "job", "explain", job)["reasons"][0]["code"] == "no_factory"
    assert "No factory serves this product" in say("job", "explain", job)[1]
    assert told(say, "job", "cancel", job, "--reason", "wrong one")["stage"] == "cancelled"
    assert told(say, "job", "events", job)[-1]["why"].endswith("wrong one")
    assert say("job", "ship", job)[0] == 6


def test_a_manifest_in_a_file_may_have_children(say: Say, tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text(
        'command = ["true"]\n[[children]]\nname = "a"\ncommand = ["true"]\n'
        '[[children]]\nname = "b"\ncommand = ["true"]\ndepends_on = ["a"]\n'
    )
    job = told(say, "job", "submit", "--file", str(file), "--key", "tree")
    assert [row["key"] for row in told(say, "job", "children", job["id"])] == ["tree/a", "tree/b"]
    shown = say("job", "dag", job["id"])[1].splitlines()
    assert shown[0].startswith("tree  blocked")
    assert any(line.startswith("  tree/b  blocked") and line.endswith("waits for tree/a") for line in shown)
    file.write_text('[[children]]\nname = "c"\ncommand = ["true"]\n')
    assert [row["stage"] for row in told(say, "job", "children", job["id"], "--file", str(file))] == ["queued"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("job", "submit"), 2, "command"),
        (("job", "submit", "--priority", "normal", "--", "true"), 2, "medium"),
        (("job", "submit", "--need", "cuda >> 1", "--", "true"), 2, "capabilities"),
        (("job", "list", "--stage", "nonsense"), 2, "dead_letter"),
        (("job", "submit", "--dep", "nothing", "--", "true"), 5, "nothing"),
        (("job", "submit", "--file", "gone.toml"), 1, "gone.toml"),
        (("budget", "set", "demo", "--usd", "-1"), 2, "usd"),
        (("budget", "set", "demo", "--window", "soon"), 2, "--window"),
        (("budget", "pause", "no such product"), 2, "product"),
        (("token", "create", "no name", "--role", "viewer"), 2, "name"),
        (("token", "create", "ada", "--role", "worker"), 2, "worker"),
        (("token", "create", "ada", "--role", "viewer", "--expires", "soon"), 2, "--expires"),
        (("token", "revoke", "a" * 16), 5, "token"),
        (("factory", "drain", "f1"), 5, "f1"),
        (("factory", "deregister", "f1", "--force"), 5, "f1"),
        (("server", "--host", EVERYWHERE, "--no-auth"), 3, "outside"),
        (("server", "--host", EVERYWHERE, "--port", "0"), 3, "token create"),
        (("server", "--host", "no.such.host.invalid", "--port", "0"), 1, "no address"),
        (("server", "--store", "postgres"), 2, "PILOTHOUSE_DATABASE"),
    ],
)
def test_what_is_wrong_is_refused_with_its_code(say: Say, words: tuple[str, ...], code: int, said: str) -> None:
    found, out, err = say(*words)

    assert (found, out) == (code, ""), err
    assert said in err
    assert "mend:" in err
    assert "Traceback" not in err


def test_a_workspace_that_is_not_there_is_told(say: Say) -> None:
    for words in (("job", "explain", "x"), ("budget", "list"), ("token", "list"), ("factory", "list")):
        assert say(*words)[0] == 5


def test_a_stale_epoch_is_a_conflict(say: Say) -> None:
    job = told(say, "job", "submit", "--", "true")["id"]
    told(say, "job", "cancel", job)

    assert say("job", "requeue", job, "--epoch", "0")[0] == 6


def test_fleet_settings_change_by_what_is_named(say: Say) -> None:
    told(say, "fleet", "configure", "demo", "--preemption", "--weights", "age=2")
    changed = told(say, "fleet", "configure", "demo", "--stop-grace", "90s")
    assert (changed["preemption"], changed["weights"], changed["stop_grace_seconds"]) == (True, {"age": 2.0}, 90.0)
    assert told(say, "fleet", "settings", "demo") == changed
    assert "preemption on" in say("fleet", "settings", "demo")[1]
    for words, why in ((("--weights", "age"), "no weight"), (("--min-running", "soon"), "--min-running")):
        code, _, err = say("fleet", "configure", "demo", *words)
        assert (code, why in err) == (2, True)


def test_a_budget_is_set_paused_and_resumed(say: Say) -> None:
    told(say, "budget", "set", "demo", "--usd", "5", "--enforce")
    paused = told(say, "budget", "pause", "demo", "--reason", "stop")
    assert (paused["state"], paused["paused"]["why"]) == ("paused", "stop")
    assert "paused by owner: stop" in say("budget", "show", "demo")[1]
    assert told(say, "budget", "resume", "demo")["state"] == "active"
    assert [row["enforced"] for row in told(say, "budget", "list")] == [True]


def test_a_token_is_made_shown_once_and_revoked(say: Say) -> None:
    code, out, err = say("token", "create", "ada", "--role", "viewer", "--product", "demo")
    name = out.split("_")[2]
    rows = told(say, "token", "list")

    assert code == 0
    assert out.startswith("ph_user_")
    assert "only time" in err
    assert [(row["id"], row["name"], row["product"]) for row in rows] == [(name, "ada", "demo")]
    assert out.strip().rsplit("_", 1)[1] not in say("token", "list")[1]
    assert "revoked" in say("token", "revoke", name)[1]
    assert told(say, "token", "list")[0]["revoked_at"] is not None


def test_a_preemption_that_is_not_allowed_is_refused(say: Say) -> None:
    job = told(say, "job", "submit", "--priority", "critical", "--", "true")["id"]

    assert told(say, "job", "preempt", job, "--dry-run")["victims"] == []
    assert say("job", "preempt", job)[0] == 3


def test_who_only_looks_may_look_while_another_process_writes(say: Say, tmp_path: Path) -> None:
    job = told(say, "job", "submit", "--", "true")["id"]
    with own_engine(tmp_path / ".pilothouse", boot="another"):
        assert told(say, "job", "explain", job)["stage"] == "queued"
        assert told(say, "factory", "list") == []
        assert say("job", "cancel", job)[0] == 6
    assert told(say, "job", "cancel", job)["stage"] == "cancelled"


def test_the_audit_log_tells_who_did_what(say: Say) -> None:
    told(say, "budget", "set", "demo", "--usd", "5")
    job = told(say, "job", "submit", "--", "true")["id"]
    told(say, "job", "cancel", job, "--reason", "wrong one")

    assert [line["act"] for line in told(say, "token", "audit")] == ["job.cancel", "budget.set"]
    assert [line["object"] for line in told(say, "token", "audit", "--object", job)] == [job]
    assert told(say, "token", "audit", "--actor", "nobody") == []
    shown = say("token", "audit", "--limit", "1")[1]
    assert "queued at epoch 0 to cancelled at epoch 1" in shown
    assert "wrong one" not in shown


# --- a server


def test_commands_find_the_homes_own_server_and_are_let_in(say: Say, locked: Running) -> None:
    note = living_server(locked.home)
    assert note is not None
    assert note.token is not None
    assert (locked.home / SERVER_FILE).stat().st_mode & 0o777 == 0o600
    job = told(say, "--home", str(locked.home), "job", "submit", "--", "true")

    assert told(say, "--home", str(locked.home), "job", "explain", job["id"])["stage"] == "queued"


def test_a_server_that_asks_for_tokens_refuses_who_has_none(
    say: Say, locked: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = ("--home", str(locked.home))
    viewer = say(*home, "token", "create", "ada", "--role", "viewer", "--product", "default")[1].strip()
    elsewhere = ("--server", locked.url)

    assert say(*elsewhere, "job", "list")[0] == 4
    monkeypatch.setenv("PILOTHOUSE_TOKEN", viewer)
    assert say(*elsewhere, "job", "list")[0] == 0
    assert say(*elsewhere, "job", "submit", "--", "true")[0] == 3
    monkeypatch.delenv("PILOTHOUSE_TOKEN")
    file = tmp_path / "token"
    file.write_text(viewer)
    file.chmod(0o644)
    monkeypatch.setenv("PILOTHOUSE_TOKEN_FILE", str(file))
    assert say(*elsewhere, "job", "list")[0] == 3
    file.chmod(0o600)
    assert say(*elsewhere, "job", "list")[0] == 0
    monkeypatch.delenv("PILOTHOUSE_TOKEN_FILE")
    monkeypatch.setenv("PILOTHOUSE_SERVER", locked.url)
    assert say("job", "list")[0] == 4


def test_a_server_and_its_home_tell_the_same_of_jobs(
    say: Say, locked: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`told_here` reads the database as one does where no server runs; the rest goes over the socket."""
    note = living_server(locked.home)
    assert note is not None
    assert note.token is not None
    job = told(say, "--home", str(locked.home), "job", "submit", "--key", "same", "--", "true")["id"]
    questions = (("job", "list"), ("job", "show", job), ("job", "logs", job), ("job", "events", job))
    monkeypatch.setenv("PILOTHOUSE_TOKEN", note.token)
    over_socket = [say("--server", locked.url, *words, "--json") for words in questions]
    note_file = locked.home / SERVER_FILE
    hidden = note_file.rename(tmp_path / SERVER_FILE)
    told_here = [say("--home", str(locked.home), *words, "--json") for words in questions]
    hidden.rename(note_file)

    assert over_socket == told_here
    assert [code for code, _, _ in over_socket] == [0, 0, 5, 0]
    assert json.loads(over_socket[0][1])[0].keys() >= {"job", "key", "kind", "stage", "attempts", "outcome", "priority"}
    assert "no log yet" in over_socket[2][2]
    assert say("--server", locked.url, "job", "show", "none")[0] == 5


def test_whoever_only_looks_keeps_nobody_from_writing(say: Say, tmp_path: Path) -> None:
    job = told(say, "job", "submit", "--", "true")["id"]
    home = tmp_path / ".pilothouse"
    with local_app(Settings(home=home, product=None), create=False):
        assert told(say, "job", "cancel", job)["stage"] == "cancelled"


def test_a_server_that_does_not_answer_is_unreachable(say: Say) -> None:
    code, _, err = say("--server", "http://127.0.0.1:1", "job", "list")

    assert code == 7
    assert "127.0.0.1:1" in err


@pytest.mark.parametrize("url", ["127.0.0.1:8750", "ftp://x", "http://[bad", ""])
def test_a_url_that_is_none_is_refused(say: Say, url: str) -> None:
    assert say("--server", url, "factory", "list")[0] in {2, 5, 7}


def test_a_port_that_is_taken_is_told(say: Say, locked: Running) -> None:
    port = locked.url.rsplit(":", 1)[1]
    code, _, err = say("server", "--port", port)

    assert code == 6
    assert "--port" in err


def test_one_home_has_one_server(say: Say, locked: Running) -> None:
    assert say("--home", str(locked.home), "server", "--port", "0")[0] == 6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_takes_its_note_away(tmp_path: Path, number: signal.Signals) -> None:
    running = start(tmp_path / "home", log=tmp_path / "log")
    assert living_server(running.home) is not None
    running.process.send_signal(number)

    assert running.process.wait(START_SECONDS) == 128 + number
    assert not (running.home / SERVER_FILE).exists()


def test_a_server_that_was_killed_is_not_taken_for_living(tmp_path: Path, say: Say) -> None:
    running = start(tmp_path / "home", log=tmp_path / "log")
    running.process.kill()
    running.process.wait(START_SECONDS)

    assert (running.home / SERVER_FILE).exists()
    assert living_server(running.home) is None
    assert say("--home", str(running.home), "job", "submit", "--", "true")[0] == 0


def test_a_server_runs_jobs_on_a_factory_of_its_own(tmp_path: Path, say: Say) -> None:
    running = start(tmp_path / "home", "--factory", "2", log=tmp_path / "log")
    home = ("--home", str(running.home))
    try:
        job = told(say, *home, "job", "submit", "--", sys.executable, "-c", "print(42)")["id"]
        seen = 0
        while told(say, *home, "job", "explain", job)["stage"] not in {"shipped", "failed"}:
            seen += 1
            assert seen < 500
        factory = told(say, *home, "factory", "list")[0]
        below = psutil.Process(running.process.pid).children(recursive=True)
    finally:
        running.process.terminate()
        running.process.wait(START_SECONDS)

    assert told(say, *home, "job", "explain", job)["stage"] == "shipped"
    assert (factory["alive"], factory["seats"]) == (True, 2)
    assert below
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in below)
