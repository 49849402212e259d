"""A real process that sends letters is killed again and again; on the forge stands everything, once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pilothouse.logbook.letter import GITHUB, LetterState
from pilothouse.operations.post_letter import post_letter
from pilothouse.ports.outbox import LetterQuery
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.forge.faults import Fault
from pilothouse.testing.forge.github import FakeGithub, breaches
from pilothouse.testing.outbox_conformance import make_issue, make_letter
from pilothouse.wiring.workspace import SystemClock

COMMENTS = 15
KILLS = 12
PROCESSES_MAX = 60


def letters_left(home: Path) -> int:
    """Return how many letters to the forge have not arrived."""
    store = SqliteStore(home / "pilothouse.db")
    with store.read() as tx:
        found = tx.outbox.listed(LetterQuery(channel=GITHUB, limit=1000))
    store.close()
    return sum(each.state is not LetterState.SENT for each in found)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_sender_that_is_killed_doubles_and_loses_nothing(tmp_path: Path) -> None:
    """At a random moment of its work: before, in the middle of and after a request."""
    home, clock, rng, pause = tmp_path / "home", SystemClock(), random.Random(5), threading.Event()
    store = SqliteStore(home / "pilothouse.db")
    with store.write() as tx:
        tx.campaigns.put(values.make_campaign())
        for letter in (make_issue(), *(make_letter(f"comment-{number}") for number in range(COMMENTS))):
            post_letter(tx, letter, now=clock.now())
    store.close()
    slow = threading.Event()

    def slowly(method: str, path: str) -> Fault:
        del path
        if method == "POST":
            slow.wait(rng.random() * 0.4)
        return Fault.NONE

    forge = FakeGithub(clock=clock, plan=slowly)
    with forge.serving() as url:
        (tmp_path / "pilothouse.toml").write_text(
            f'home = "{home}"\ngithub_repository = "octo/demo"\ngithub_url = "{url}"\n'
        )
        command = [sys.executable, "-m", "pilothouse", "logbook", "outbox", "send"]
        kills = 0
        for _ in range(PROCESSES_MAX):
            if not letters_left(home):
                break
            with subprocess.Popen(
                command, cwd=tmp_path, env={"PILOTHOUSE_GITHUB_TOKEN": "t0k"}, stdout=subprocess.DEVNULL
            ) as process:
                if kills < KILLS:
                    pause.wait(2.5 + rng.random() * 3)
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                process.wait(120)

    assert letters_left(home) == 0
    [issue] = forge.state.issues.values()
    said = [comment.body.splitlines()[1] for comment in issue.comments]
    assert said == [f"comment-{number}" for number in range(COMMENTS)]
    assert kills == KILLS
    assert not breaches(forge.writes())
