"""`pilothouse logbook outbox` and the doctor's lines: what waits, why, and how it goes on; secrets are never shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilothouse.cli import main as command_line
from pilothouse.errors import OperationFailed, Refused
from pilothouse.logbook.letter import DISCORD, GITHUB
from pilothouse.operations.post_letter import post_letter
from pilothouse.settings import resolve
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN, FrozenClock
from pilothouse.testing.forge.github import FakeGithub
from pilothouse.testing.outbox_conformance import make_issue, make_letter
from pilothouse.wiring.publishing import approvers_of, secret

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(name="say")
def _say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Say:
    monkeypatch.chdir(tmp_path)

    def speak(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pilothouse", *words])
        with pytest.raises(SystemExit) as left:
            command_line.main()
        said = capsys.readouterr()
        return int(str(left.value.code or 0)), said.out, said.err

    return speak


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Path:
    """Return a home with an issue, a comment on it, and a message for the chat."""
    store = SqliteStore(tmp_path / ".pilothouse" / "pilothouse.db")
    with store.write() as tx:
        tx.campaigns.put(values.make_campaign())
        for letter in (make_issue(), make_letter("run-1/started"), make_issue(channel=DISCORD)):
            post_letter(tx, letter, now=BEGIN)
    store.close()
    return tmp_path


@pytest.fixture(name="forge")
def _forge() -> Iterator[FakeGithub]:
    forge = FakeGithub(clock=FrozenClock())
    with forge.serving():
        yield forge


def configure(home: Path, forge: FakeGithub, *, token: str = "t0k") -> None:  # noqa: S107  the fake's
    """Write the settings of a forge."""
    file = home / "token"
    file.write_text(f"{token}\n")
    file.chmod(0o600)
    (home / "pilothouse.toml").write_text(
        f'github_repository = "octo/demo"\ngithub_url = "{forge.url}"\ngithub_token_file = "{file}"\n'
    )


@pytest.mark.usefixtures("home")
def test_without_a_forge_letters_wait_and_the_pages_are_written(say: Say, tmp_path: Path) -> None:
    """Nothing is lost, and what waits is told."""
    code, out, err = say("logbook", "outbox", "send")

    assert (code, out) == (0, "1 wait on discord; 2 wait on github\n")
    assert "github is not configured" in err
    pages = {page.name for page in (tmp_path / ".pilothouse" / "publications").rglob("*.md")}
    assert pages == {"github~run-1~issue.md", "discord~run-1~issue.md"}
    assert say("doctor", "--json")[0] == 0
    reasons = json.loads(say("logbook", "outbox", "why", "--json")[1])["reasons"]
    assert {each["why"] for each in reasons} >= {"github is not configured", "discord is not configured"}
    assert "None" not in say("logbook", "outbox", "show", "2")[1]


def test_what_waited_is_published_once_a_forge_is_set(say: Say, home: Path, forge: FakeGithub) -> None:
    """By the same command, from the same records."""
    say("logbook", "outbox", "send")
    configure(home, forge)

    code, out, _ = say("logbook", "outbox", "send")

    assert (code, out) == (0, "1 wait on discord\n")
    [issue] = forge.state.issues.values()
    assert len(issue.comments) == 1
    listed = json.loads(say("logbook", "outbox", "list", "--channel", GITHUB, "--json")[1])
    assert [(each["key"], each["state"]) for each in listed["letters"]] == [
        ("run-1/started", "sent"),
        ("run-1/issue", "sent"),
    ]
    found = [each for each in json.loads(say("doctor", "--json")[1])["checks"] if each["check"] == "forge"]
    assert found[0]["level"] == "ok"
    assert "octo/demo as pilot" in found[0]["detail"]


def test_many_letters_are_announced_before_they_leave(say: Say, home: Path, forge: FakeGithub) -> None:
    """A second apart takes its time, and silence would look like a hang."""
    configure(home, forge, token="wrong")  # noqa: S106  so that it is over at once
    store = SqliteStore(home / ".pilothouse" / "pilothouse.db")
    with store.write() as tx:
        for number in range(40):
            tx.outbox.post(make_issue(f"many-{number}/issue"), now=BEGIN)
    store.close()

    _, _, err = say("logbook", "outbox", "send", "--seconds", "1")

    assert "42 letters wait for github" in err


def test_a_token_that_is_refused_is_told_and_never_shown(say: Say, home: Path, forge: FakeGithub) -> None:
    """The channel waits; `retry` lets it go on."""
    configure(home, forge, token="s3cret-token")  # noqa: S106  it is wrong
    everything = ""
    for words in (("logbook", "outbox", "send"), ("logbook", "outbox", "list"), ("doctor",)):
        _, out, err = say(*words)
        everything += out + err
    assert "401" in everything
    assert "s3cret" not in everything
    configure(home, forge)
    number = str(
        json.loads(say("logbook", "outbox", "list", "--channel", GITHUB, "--json")[1])["letters"][-1]["number"]
    )

    assert say("logbook", "outbox", "retry", number)[0] == 0
    assert say("logbook", "outbox", "send")[1] == "1 wait on discord\n"


@pytest.mark.usefixtures("home")
def test_a_letter_is_shown_dropped_and_taken_up_again(say: Say) -> None:
    """It stays listed all the while."""
    shown = json.loads(say("logbook", "outbox", "show", "2", "--json")[1])
    assert (shown["key"], shown["body"]["text"]) == ("run-1/issue", "It sails — ⛴")
    assert "It sails" in say("logbook", "outbox", "show", "2")[1]

    assert say("logbook", "outbox", "drop", "2", "--reason", "not this one")[0] == 0
    assert say("logbook", "outbox", "drop", "2")[0] == 6
    waiting = json.loads(say("logbook", "outbox", "list", "--channel", GITHUB, "--state", "waiting", "--json")[1])
    assert [each["last_error"] for each in waiting["letters"]] == ["waits for run-1/issue, which was dropped"]
    assert "not this one" in say("logbook", "outbox", "list", "--state", "dropped")[1]
    assert say("logbook", "outbox", "retry", "2")[0] == 0
    assert json.loads(say("logbook", "outbox", "show", "2", "--json")[1])["state"] == "waiting"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("show", "99"), 5),
        (("retry", "99"), 5),
        (("list", "--state", "lost"), 2),
        (("list", "--channel", "pigeon"), 2),
        (("show", "0"), 2),
    ],
)
def test_what_is_not_there_is_refused(say: Say, words: tuple[str, ...], code: int) -> None:
    """With the right exit code, and without a traceback."""
    left, out, err = say("logbook", "outbox", *words)

    assert (left, out) == (code, "")
    assert "Traceback" not in err


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """And so are a file that is empty, missing or no text."""
    file = tmp_path / "secret"
    file.write_text("s3cret")
    file.chmod(0o644)
    with pytest.raises(Refused, match="0644") as caught:
        secret(None, str(file), name="github_token")
    assert "s3cret" not in str(caught.value)
    file.chmod(0o600)
    assert secret(None, str(file), name="github_token") == "s3cret"
    assert secret("mine\n", str(file), name="github_token") == "mine"
    for content in (b"", b" \n", b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(OperationFailed, match=r"no text|empty"):
            secret(None, str(file), name="github_token")
    with pytest.raises(OperationFailed):
        secret(None, str(tmp_path / "none"), name="github_token")


def test_secrets_come_from_the_environment_and_no_project_file(tmp_path: Path) -> None:
    """Approvers are names, however they are written."""
    told = {"PILOTHOUSE_GITHUB_TOKEN": "s3cret", "PILOTHOUSE_GITHUB_APPROVERS": "@Alice, bob"}
    settings = resolve(told, {"github_repository": "octo/demo"}, folder=tmp_path, home=None)

    assert settings.publishing.github_token == told["PILOTHOUSE_GITHUB_TOKEN"]
    assert "s3cret" not in repr(settings)
    assert settings.publishing.github_repository == "octo/demo"
    assert approvers_of(settings.publishing) == {"alice", "bob"}
    for name in ("github_token", "github_webhook_secret", "discord_webhook"):
        with pytest.raises(Exception, match="not known"):
            resolve({}, {name: "s3cret"}, folder=tmp_path, home=None)


@pytest.mark.usefixtures("home")
def test_many_letters_are_explained_by_few_reasons(say: Say, tmp_path: Path) -> None:
    """Each reason once, what keeps the most letters first, with the number of the first of them."""
    store = SqliteStore(tmp_path / ".pilothouse" / "pilothouse.db")
    with store.write() as tx:
        for number in range(30):
            issue = tx.outbox.post(make_issue(f"run-{number}/issue"), now=BEGIN)
            for reply in range(3):
                tx.outbox.post(make_letter(f"run-{number}/c{reply}", about=issue.letter.key), now=BEGIN)
            if number % 2:
                tx.outbox.put_off(issue, until=BEGIN, why=f"GitHub answered 403 to POST /issues/{number}/comments")
            else:
                tx.outbox.drop(issue, why=f"GitHub answered 410 to POST /issues/{number}/comments", now=BEGIN)
    store.close()

    told = json.loads(say("logbook", "outbox", "why", "--json")[1])["reasons"]

    mine = [(each["letters"], each["state"], each["why"].partition(" to ")[0]) for each in told]
    assert (46, "waiting", "waits for run-1/issue") in mine
    assert (45, "waiting", "waits for run-0/issue, which was dropped") in mine
    assert (15, "waiting", "GitHub answered 403") in mine
    assert (15, "dropped", "GitHub answered 410") in mine
    assert len(told) < 8
    assert "GitHub answered 410" in say("logbook", "outbox", "why")[1]


@pytest.mark.usefixtures("home")
def test_letters_are_dropped_with_what_speaks_of_them(say: Say) -> None:
    """Else these would wait for ever, which is said; and a whole channel is taken up again at once."""
    _, _, err = say("logbook", "outbox", "drop", "2", "--reason", "no")
    assert "--with-replies" in err
    assert say("logbook", "outbox", "drop", "2", "--with-replies")[1] == "dropped letter 4 (run-1/started)\n"
    assert say("logbook", "outbox", "retry", "4")[0] == 0
    assert say("logbook", "outbox", "retry", "2")[0] == 0
    code, out, err = say("logbook", "outbox", "drop", "2", "--with-replies", "--reason", "nobody needs it")
    assert (code, len(out.splitlines()), err) == (0, 2, "")
    listed = json.loads(say("logbook", "outbox", "list", "--channel", GITHUB, "--json")[1])["letters"]
    assert {(each["state"], each["last_error"]) for each in listed} == {("dropped", "nobody needs it")}

    code, out, _ = say("logbook", "outbox", "retry", "--all", GITHUB)

    assert (code, len(out.splitlines())) == (0, 2)
    listed = json.loads(say("logbook", "outbox", "list", "--channel", GITHUB, "--json")[1])["letters"]
    assert {each["state"] for each in listed} == {"waiting"}


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("retry",), 2),
        (("drop",), 2),
        (("retry", "2", "--all", "github"), 2),
        (("drop", "--all", "pigeon"), 2),
        (("drop", "2", "99"), 5),
        (("retry", "2", "two"), 2),
    ],
)
def test_what_is_not_said_clearly_changes_nothing(say: Say, words: tuple[str, ...], code: int) -> None:
    """Neither none nor both, and not the first of two of which the second is not there."""
    before = say("logbook", "outbox", "list", "--json")[1]

    assert say("logbook", "outbox", *words)[0] == code

    assert say("logbook", "outbox", "list", "--json")[1] == before
