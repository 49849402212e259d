"""What GitHub does in practice, beyond what it promises: each of it loses no letter and doubles none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.publish.conftest import Desk
from tests.publish.test_github_delivery import COMMIT, PULL

from pilothouse.canonical import Json
from pilothouse.logbook import marks
from pilothouse.logbook.letter import GITHUB, Kind, LetterState
from pilothouse.publish.github.client import GithubClient
from pilothouse.publish.github.delivery import RENEWED_SECONDS, SHUT_SECONDS, GithubChannel
from pilothouse.publish.github.faults import fault
from pilothouse.publish.github.repository import Repository
from pilothouse.testing.clock import BEGIN, FrozenClock
from pilothouse.testing.forge.faults import Fault, scripted
from pilothouse.testing.forge.github import FakeGithub
from pilothouse.testing.forge.http import Answered
from pilothouse.testing.outbox_conformance import make_issue, make_letter
from pilothouse.testing.values import PRODUCT

Connect = Callable[..., GithubChannel]
ODD_LABELS = ["a/b", "50%", "fährt", "what?", "#1", "two words", "status:running", "+", "\U0001f6a2"]


class Hourly:
    """An installation whose tokens are taken back: the first is refused, the next is good."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    def header(self, ask: object, *, now: object) -> str:
        """Return the text of the Authorization header."""
        del ask, now
        return f"Bearer {self.tokens[0]}"

    def login(self, ask: object, *, now: object) -> str:
        """Return the login under which our words stand."""
        del ask, now
        return "pilot"

    def refused(self, *, now: object) -> bool:
        """Take the next token."""
        del now
        self.tokens = self.tokens[1:] or self.tokens
        return True


def test_a_label_may_hold_whatever_github_lets_it(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """It is one part of a path when it is taken away."""
    desk.post(make_issue())
    desk.deliver(connect())
    forge.state.issues[1].labels = [*ODD_LABELS, "urgent"]
    body: Mapping[str, Json] = {"wanted": [], "among": list(ODD_LABELS)}
    desk.post(make_letter("l", kind=Kind.LABELS, body=body))

    desk.deliver(connect())

    assert forge.state.issues[1].labels == ["urgent"]


@pytest.mark.parametrize("label", [".", ".."])
def test_a_label_that_no_path_can_name_takes_no_other_with_it(
    forge: FakeGithub, desk: Desk, connect: Connect, label: str
) -> None:
    """The path without its last part is that of all labels."""
    desk.post(make_issue())
    desk.deliver(connect())
    forge.state.issues[1].labels = [label, "urgent"]
    desk.post(make_letter("l", kind=Kind.LABELS, body={"wanted": [], "among": [label]}))
    forge.log.clear()

    desk.deliver(connect())

    assert not forge.writes()


def test_a_title_names_nobody_and_closes_nothing(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """It becomes the words of a commit when a pull request is merged."""
    title = "Thanks @octo and @octo/team, fixes #7"
    desk.post(COMMIT, replace(PULL, body={**PULL.body, "title": title}))

    desk.deliver(connect())

    told = forge.state.issues[1].title
    assert "@octo" not in told
    assert "fixes #7" not in told
    assert told.replace(marks.NOTHING, "") == title


def test_a_repository_that_was_renamed_holds_the_channel(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """Its answers lead elsewhere and are not followed; the reason names the mend, and nothing is lost."""
    desk.post(make_issue(), make_letter("c"))
    forge.moved = True

    assert desk.turn(connect()) == SHUT_SECONDS

    with desk.books.read() as tx:
        hold = tx.outbox.hold(GITHUB)
    assert hold is not None
    assert "another name" in hold.why
    forge.moved = False
    desk.deliver(connect())
    assert {each.state for each in desk.letters()} == {LetterState.SENT}


def test_a_token_that_ends_in_the_middle_costs_a_second(forge: FakeGithub, desk: Desk, clock: FrozenClock) -> None:
    """An installation has the next one at once, and needs no person."""
    client = GithubClient(forge.url, Hourly("ended", "t0k"), clock)
    channel = GithubChannel(Repository(client, "octo/demo"))
    desk.post(make_issue())

    assert desk.turn(channel) == RENEWED_SECONDS
    desk.deliver(channel)

    channel.close()
    assert len(forge.state.issues) == 1


def test_haste_is_a_limit_and_no_fault_of_the_letter() -> None:
    """GitHub says it in the words of a form that was filled in wrongly."""
    body: Json = {"message": "Validation Failed", "errors": [{"message": "was submitted too quickly"}]}
    found = fault(422, {}, body, what="POST /issues", now=BEGIN)

    assert type(found).__name__ == "Limited"


@pytest.mark.parametrize("ahead", [timedelta(days=9), timedelta(days=-9)])
@pytest.mark.parametrize("key", ["run-2/issue", "c"])
def test_what_was_posted_by_a_wrong_clock_is_found_again(
    forge: FakeGithub, desk: Desk, connect: Connect, ahead: timedelta, key: str
) -> None:
    """The forge's own clock was right all the while; looking by ours would double what was written."""
    clock, forge_clock = desk.books.clock, FrozenClock()
    forge.clock = forge_clock
    desk.post(make_issue())
    desk.deliver(connect())
    clock.set_wall(clock.now() + ahead)
    desk.post(make_issue(key) if "/" in key else make_letter(key))
    forge.plan = scripted([Fault.CUT_AFTER], method="POST")

    desk.deliver(connect())

    assert desk.letter(PRODUCT, GITHUB, key).tries > 1
    assert (len(forge.state.issues), len(forge.state.issues[1].comments)) == ((2, 0) if "/" in key else (1, 1))


def test_a_pull_request_stands_without_a_label_that_is_refused(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """It was made, so the letters about it go on."""
    forge.refuse = lambda asked: (
        Answered(status=422, body={"message": "Validation Failed"})
        if asked.method == "POST" and asked.path.endswith("/labels")
        else None
    )
    desk.post(COMMIT, PULL, replace(make_letter("said"), about=PULL.key))

    desk.deliver(connect())

    assert {each.state for each in desk.letters()} == {LetterState.SENT}
    assert [each.body.splitlines()[1] for each in forge.state.issues[1].comments] == ["said"]


@pytest.mark.parametrize(
    ("status", "said", "state"),
    [
        (301, "Moved Permanently", LetterState.WAITING),
        (400, "Problems parsing JSON", LetterState.DROPPED),
        (403, "Repository was archived so is read-only.", LetterState.WAITING),
        (403, "Unable to create comment because issue is locked.", LetterState.DROPPED),
        (407, "Proxy Authentication Required", LetterState.WAITING),
        (408, "", LetterState.WAITING),
        (409, "Conflict", LetterState.WAITING),
        (410, "Issues are disabled for this repo", LetterState.WAITING),
        (413, "Payload too large", LetterState.DROPPED),
        (422, "Validation Failed", LetterState.DROPPED),
        (451, "Repository access blocked", LetterState.WAITING),
        (503, "No server is currently available", LetterState.WAITING),
    ],
)
def test_an_answer_is_treated_as_the_table_says(
    forge: FakeGithub, desk: Desk, connect: Connect, status: int, said: str, state: LetterState
) -> None:
    """Only what speaks of this very letter drops it."""
    desk.post(make_issue(), make_letter("c"))
    desk.turn(connect())
    forge.refuse = lambda asked: Answered(status=status, body={"message": said}) if asked.method == "POST" else None

    desk.books.wait(1)
    desk.turn(connect())

    letter = desk.letter(PRODUCT, GITHUB, "c")
    assert (letter.state, letter.tries) == (state, 1)
    assert str(status) in letter.last_error
