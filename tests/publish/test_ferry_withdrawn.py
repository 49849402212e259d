"""A proposal that is no longer open has no open pull request, on the forge and on the pages of the home."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.campaigns.ferry_world import definition_of
from tests.publish.conftest import Desk

from pilothouse.campaigns.ferry_letters import Sender, withdrawal_letters
from pilothouse.canonical import Json
from pilothouse.logbook.letter import LOCAL, Kind, Letter
from pilothouse.publish.github.delivery import GithubChannel
from pilothouse.publish.local import LocalChannel
from pilothouse.testing.forge.faults import Fault
from pilothouse.testing.forge.github import FakeGithub, breaches
from pilothouse.testing.values import PRODUCT

Connect = Callable[..., GithubChannel]
SENDER = Sender(product=PRODUCT, definition=definition_of(), run="daily-125m-2026-11-22")
WHY = "superseded by the tick 2026-11-23 06:00Z, for which proposal-2 is proposed"
WITHDRAWN = withdrawal_letters(SENDER, revision=1, proposal="proposal-1", why=WHY)


def opened() -> list[Letter]:
    """Return the pull request of a proposal with its branch."""
    branch = f"ferry/{SENDER.run}"
    commit: Mapping[str, Json] = {
        "branch": branch,
        "base": "main",
        "files": {"daily.toml": "lr = 1\n"},
        "message": "Another rate",
    }
    request: Mapping[str, Json] = {"title": "Ferry", "text": "Proposal `proposal-1`", "head": branch, "base": "main"}
    return [
        SENDER.letter("proposal/commit", Kind.COMMIT, commit),
        SENDER.letter("proposal", Kind.PULL_REQUEST, request),
    ]


@pytest.mark.parametrize("fault", list(Fault))
def test_the_pull_request_is_closed_once_with_its_reason(
    forge: FakeGithub, desk: Desk, connect: Connect, fault: Fault
) -> None:
    """One comment, then the closing; whatever goes wrong with a write, it is found and not said twice."""
    struck: set[tuple[str, str]] = set()

    def once(method: str, path: str) -> Fault:
        if method == "GET" or (method, path) in struck:
            return Fault.NONE
        struck.add((method, path))
        return fault

    forge.plan = once
    desk.post(*opened(), *WITHDRAWN)

    desk.deliver(connect())

    (pull,) = forge.state.issues.values()
    assert pull.state == "closed"
    assert [comment.body.splitlines()[-1] for comment in pull.comments] == [
        f"Proposal `proposal-1` is closed, and a yes to it no longer counts: {WHY}."
    ]
    assert not breaches(forge.writes())


def test_one_that_somebody_closed_already_is_told_the_reason_and_left_closed(
    forge: FakeGithub, desk: Desk, connect: Connect
) -> None:
    """By hand or by merging it; nothing is opened again."""
    desk.post(*opened())
    desk.deliver(connect())
    forge.state.issues[1].state = "closed"

    desk.post(*WITHDRAWN)
    desk.deliver(connect())

    assert forge.state.issues[1].state == "closed"
    assert len(forge.state.issues[1].comments) == 1


def test_the_local_page_says_that_it_is_closed_and_why(desk: Desk, tmp_path: Path) -> None:
    """Below what was proposed, once, however often it is delivered."""
    local = [replace(each, channel=LOCAL) for each in (*opened(), *WITHDRAWN)]
    desk.post(*local)

    desk.deliver(LocalChannel(tmp_path))

    (page,) = [page for page in tmp_path.rglob("*proposal.md") if "commit" not in page.name]
    text = page.read_text(encoding="utf-8")
    assert text.index("Proposal `proposal-1`\n") < text.index(WHY) < text.index("closed: not_planned")
    assert text.count(WHY) == 1
