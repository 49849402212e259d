"""The same happy path against an implementation of GitHub that is not ours; it says why it was not run.

`emulate` is an independent emulator for Node: `npm install emulate@0.11.2`, and name its folder in `EMULATE_FOLDER`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from tests.publish.conftest import Desk
from tests.publish.test_github_delivery import PULL, TAG, WHOLE_RUN

from pilothouse.logbook import marks
from pilothouse.logbook.letter import GITHUB, LetterState
from pilothouse.publish import fields
from pilothouse.publish.github.auth import TokenAuth
from pilothouse.publish.github.client import GithubClient
from pilothouse.publish.github.delivery import GithubChannel
from pilothouse.publish.github.repository import Repository
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.values import PRODUCT

START_SECONDS = 30.0
SEED = """\
tokens:
  t0k: {login: octocat, scopes: [repo, user]}
github:
  users: [{login: octocat}]
  repos: [{owner: octocat, name: demo, auto_init: true}]
"""


@pytest.fixture(name="emulated")
def _emulated(tmp_path: Path, clock: FrozenClock) -> Iterator[Repository]:
    folder = os.environ.get("EMULATE_FOLDER")  # noqa: TID251  where the emulator is, which is no setting
    node = shutil.which("node")
    if folder is None or node is None:
        pytest.skip("not run: EMULATE_FOLDER names no folder with emulate@0.11.2, or there is no Node")
    (tmp_path / "seed.yaml").write_text(SEED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(folder) / "node_modules" / "emulate" / "dist" / "index.js"
    command = [node, str(program), "--service", "github", "--port", str(port), "--seed", str(tmp_path / "seed.yaml")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://localhost:{port}"
            _until_it_answers(url)
            client = GithubClient(url, TokenAuth(token="t0k"), clock)  # noqa: S106  the emulator's
            yield Repository(client, "octocat/demo")
            client.close()
        finally:
            process.terminate()
            process.wait(START_SECONDS)


def _until_it_answers(url: str) -> None:
    pause = threading.Event()
    for _ in range(int(START_SECONDS * 10)):
        try:
            httpx2.get(f"{url}/rate_limit", trust_env=False)
        except httpx2.TransportError:
            pause.wait(0.1)
        else:
            return
    pytest.fail(f"the emulator does not answer at {url}")


def test_a_whole_run_stands_on_the_emulator(emulated: Repository, desk: Desk) -> None:
    """Issue, commit, pull request, seal, comments, status, labels and the end."""
    repository = emulated
    desk.post(*WHOLE_RUN)

    desk.deliver(GithubChannel(repository))

    letters = {letter.letter.key: letter for letter in desk.letters()}
    assert {key: letter.last_error for key, letter in letters.items() if letter.state is not LetterState.SENT} == {}
    number = fields.number(letters["run-1/issue"].answer, "number")
    issue = repository.issue(number)
    assert f"{marks.STATUS_BEGIN}\nrunning\n{marks.STATUS_END}" in fields.text(issue, "body")
    assert fields.text(issue, "state") == "closed"
    assert [label.casefold() for label in repository.labels_of(number)] == ["running"]
    bodies = [fields.text(each, "body") for each in repository.comments(number)]
    assert [body.splitlines()[1] for body in bodies] == ["run-1/started", "run-1/ended"]
    assert repository.file("daily.toml", ref="ferry/1") == "lr = 1\n"
    head = letters["run-1/commit"].answer["sha"]
    assert letters[PULL.key].answer["head"] == head
    sealed = repository.ref(f"tags/{TAG.body['tag']}")
    assert sealed is not None
    assert fields.text(repository.tag(fields.text(sealed, "sha")), "object", "sha") == head


def test_what_has_arrived_is_found_again_on_the_emulator(emulated: Repository, desk: Desk) -> None:
    """A postman that forgot the outcome of every try makes nothing twice."""
    repository = emulated
    desk.post(*WHOLE_RUN[:5])
    channel = GithubChannel(repository)
    desk.deliver(channel)
    first = [letter.remote for letter in desk.letters()]

    class Open:
        """A gate that lets everything through."""

        def pass_one(self) -> None:
            """Let it pass."""

        def passed(self) -> None:
            """Nothing is noted."""

    again = []
    for letter in desk.letters():
        about = desk.letter(PRODUCT, GITHUB, letter.letter.about) if letter.letter.about else None
        again.append(channel.deliver(replace(letter, tries=2), about=about, gate=Open()))

    assert [getattr(outcome, "remote", outcome) for outcome in again] == first
