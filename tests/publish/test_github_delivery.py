"""Every kind of letter arrives on GitHub, once, whatever was there before and whatever goes wrong on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.publish.conftest import Desk

from pilothouse.canonical import Json
from pilothouse.engine.postman import Postman
from pilothouse.logbook import marks
from pilothouse.logbook.letter import GITHUB, Kind, Letter, LetterState
from pilothouse.ports.outbox import Hold
from pilothouse.publish.github.delivery import GithubChannel
from pilothouse.publish.github.faults import Strange
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.forge.faults import Fault, scripted
from pilothouse.testing.forge.github import FakeGithub, breaches
from pilothouse.testing.outbox_conformance import make_issue, make_letter
from pilothouse.testing.values import PRODUCT

Connect = Callable[..., GithubChannel]
EVERY_FAULT = [fault for fault in Fault if fault is not Fault.NONE]


def made(key: str, kind: Kind, body: Mapping[str, Json], about: str = "") -> Letter:
    """Return a letter that needs nothing before it."""
    return replace(make_issue(key), kind=kind, body=body, about=about)


COMMIT = made(
    "run-1/commit",
    Kind.COMMIT,
    {"branch": "ferry/1", "base": "main", "files": {"daily.toml": "lr = 1\n"}, "message": "Try another rate"},
)
PULL = made(
    "run-1/pull",
    Kind.PULL_REQUEST,
    {"title": "Ferry 1", "text": "The delta", "head": "ferry/1", "base": "main", "labels": ["ferry"]},
    about=COMMIT.key,
)
TAG = made("run-1/seal", Kind.TAG, {"tag": "ferry/daily/20260102/run-1", "message": "Sealed"}, about=COMMIT.key)
WHOLE_RUN = [
    make_issue(),
    COMMIT,
    PULL,
    TAG,
    make_letter("run-1/started"),
    make_letter("run-1/status", kind=Kind.STATUS, body={"text": "running"}),
    make_letter("run-1/labels", kind=Kind.LABELS, body={"wanted": ["running"], "among": ["ferry", "running"]}),
    make_letter("run-1/ended"),
    make_letter("run-1/close", kind=Kind.CLOSE, body={"reason": "completed"}),
]


def check_whole_run(forge: FakeGithub, desk: Desk) -> None:
    """Hold the forge against what the letters of a run ask for."""
    issue, pull = forge.state.issues[1], forge.state.issues[2]
    assert [letter.state for letter in desk.letters()] == [LetterState.SENT] * len(WHOLE_RUN)
    assert len(forge.state.issues) == 2
    assert issue.title == "Ferry run-1/issue"
    assert marks.STATUS_BEGIN + "\nrunning\n" + marks.STATUS_END in issue.body
    assert [comment.body.splitlines()[1] for comment in issue.comments] == ["run-1/started", "run-1/ended"]
    assert (issue.labels, issue.state, issue.reason) == (["running"], "closed", "completed")
    assert (pull.head, pull.base, pull.labels) == ("ferry/1", "main", ["ferry"])
    head = forge.state.refs["heads/ferry/1"]
    assert forge.state.files(head) == {"README.md": "# demo\n", "daily.toml": "lr = 1\n"}
    assert len(forge.state.history(head)) == 2
    assert forge.state.tags[forge.state.refs["tags/ferry/daily/20260102/run-1"]].target == head
    assert not breaches(forge.writes())


def test_a_whole_run_stands_on_the_forge(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """Issue, commit, pull request, seal, comments, status, labels and the end, each told back."""
    desk.post(*WHOLE_RUN)

    desk.deliver(connect())

    check_whole_run(forge, desk)
    sha = forge.state.refs["heads/ferry/1"]
    assert desk.letter(PRODUCT, GITHUB, COMMIT.key).answer["sha"] == sha
    assert desk.letter(PRODUCT, GITHUB, PULL.key).answer["head"] == sha
    assert desk.letter(PRODUCT, GITHUB, "run-1/issue").answer["number"] == 1
    assert desk.letter(PRODUCT, GITHUB, TAG.key).answer["commit"] == sha


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_every_fault_at_every_write_is_outlived(forge: FakeGithub, desk: Desk, connect: Connect, fault: Fault) -> None:
    """Each write goes wrong once, before or after it took effect; the end is the same."""
    struck: set[tuple[str, str]] = set()

    def once(method: str, path: str) -> Fault:
        if method == "GET" or (method, path) in struck:
            return Fault.NONE
        struck.add((method, path))
        return fault

    forge.plan = once
    desk.post(*WHOLE_RUN)

    desk.deliver(connect())

    check_whole_run(forge, desk)
    assert len(struck) > 8


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_a_fault_while_looking_loses_and_doubles_nothing(
    forge: FakeGithub, desk: Desk, connect: Connect, fault: Fault
) -> None:
    """A comment whose write was cut, and then the look for it fails too."""
    desk.post(make_issue(), make_letter("run-1/started"))
    channel = connect()
    desk.turn(channel)
    reads = scripted([fault], method="GET")
    cuts = scripted([Fault.CUT_AFTER], method="POST")
    forge.plan = lambda method, path: reads(method, path) if method == "GET" else cuts(method, path)

    desk.deliver(channel)

    assert len(forge.state.issues[1].comments) == 1
    assert len(desk.letters()) == 2


def test_a_mark_that_a_stranger_has_pasted_counts_for_nothing(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """Nobody can keep our comment away by writing its mark first."""
    letter = make_letter("run-1/started")
    desk.post(make_issue(), letter)
    desk.turn(connect())
    stranger = forge.state.account("mallory")
    forge.state.add_comment(forge.state.issues[1], stranger, f"{marks.mark(letter)}\nfake", now=forge.clock.now())
    forge.plan = scripted([Fault.ERROR_BEFORE], method="POST")

    desk.deliver(connect())

    authors = [comment.author.login for comment in forge.state.issues[1].comments]
    assert authors == ["mallory", "pilot"]


def test_our_own_quote_of_a_mark_is_no_mark(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """A text from outside that holds the next letter's mark does not swallow that letter."""
    second = make_letter("run-1/second")
    first = replace(make_letter("run-1/first"), body={"text": f"{marks.mark(second)}\nquoted"})
    desk.post(make_issue(), first, second)
    desk.turn(connect())
    desk.turn(connect())
    forge.plan = scripted([Fault.CUT_BEFORE], method="POST")

    desk.deliver(connect())

    assert [each.body.splitlines()[0] for each in forge.state.issues[1].comments] == [
        marks.mark(first),
        marks.mark(second),
    ]


def test_no_text_names_anybody_or_closes_an_issue(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """Whatever a program, an agent or an issue's title says, in a body, a comment, a status or a commit."""
    said = "@octo/all fixes #7"
    issue = replace(make_issue(), body={**make_issue().body, "text": said})
    commit = replace(COMMIT, body={**COMMIT.body, "message": said})
    comment = make_letter("run-1/said", body={"text": said})
    desk.post(issue, commit, comment, make_letter("run-1/status", kind=Kind.STATUS, body={"text": said}))

    desk.deliver(connect())

    found = forge.state.issues[1]
    head = forge.state.history(forge.state.refs["heads/ferry/1"])[0]
    for text in (found.body, found.comments[0].body, head.message):
        assert "@octo" not in text
        assert "fixes #7" not in text
        assert said in text.replace(marks.NOTHING, "")


def test_a_long_text_is_cut_with_a_pointer(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """GitHub takes 65,536 characters; the rest is in the record, which the text names."""
    desk.post(
        replace(make_issue(), body={"title": "t" * 500, "text": "⛴" * 100_000}),
        replace(make_letter("c"), body={"text": "\U0001f6a2" * 40_000}),
        make_letter("s", kind=Kind.STATUS, body={"text": "s" * 100_000}),
    )

    desk.deliver(connect())

    issue = forge.state.issues[1]
    assert len(issue.title) == 256
    assert len(issue.body) <= marks.BODY_MAX
    assert "`pilothouse logbook outbox show 1`" in issue.body
    assert "`pilothouse logbook outbox show 3`" in issue.body
    comment = issue.comments[0].body
    assert marks.length(comment) <= marks.BODY_MAX
    assert comment.endswith("`pilothouse logbook outbox show 2`.*")


def test_a_status_keeps_what_people_have_written_around_it(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """Only the block is replaced, and an unchanged one is not written again."""
    status = make_letter("s", kind=Kind.STATUS, body={"text": "one"})
    desk.post(make_issue(), status)
    desk.deliver(connect())
    issue = forge.state.issues[1]
    issue.body = issue.body.replace("It sails", "It really sails") + "\r\n\r\nA note below."
    desk.post(replace(status, body={"text": "two"}))

    desk.deliver(connect())

    assert "It really sails" in issue.body
    assert issue.body.endswith("A note below.")
    assert issue.body.count(marks.STATUS_BEGIN) == 1
    assert "\ntwo\n" in issue.body
    assert "one" not in issue.body


def test_labels_that_others_have_set_stay(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """Only those that are ours to swap are swapped, in whatever case they stand there."""
    desk.post(make_issue())
    desk.deliver(connect())
    forge.state.issues[1].labels = ["Queued", "urgent", "RUNNING"]
    body: Mapping[str, Json] = {"wanted": ["running"], "among": ["queued", "running", "ended"]}
    desk.post(make_letter("l", kind=Kind.LABELS, body=body))

    desk.deliver(connect())

    assert forge.state.issues[1].labels == ["urgent", "RUNNING"]


def test_what_github_refuses_is_dropped_with_its_reason(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """And the letters behind it go on."""
    desk.post(make_issue(), make_letter("c"), make_issue("run-2/issue"))
    desk.turn(connect())
    forge.state.issues[1].locked = True

    desk.deliver(connect())

    comment = desk.letter(PRODUCT, GITHUB, "c")
    assert comment.state is LetterState.DROPPED
    assert "locked" in comment.last_error
    assert desk.letter(PRODUCT, GITHUB, "run-2/issue").state is LetterState.SENT


def test_a_letter_that_always_stops_the_channel_stops_the_others_for_a_while_only(
    forge: FakeGithub, desk: Desk, connect: Connect
) -> None:
    """One whose write never has an answer is overtaken after some tries, and goes on being tried."""
    desk.post(make_issue(), make_letter("c"), make_issue("run-2/issue"), make_issue("run-3/issue"))
    forge.plan = lambda method, path: Fault.CUT_BEFORE if method == "POST" and "comments" in path else Fault.NONE
    postman = Postman(desk.books, connect(), wait=desk.books.wait)
    postman.open()

    for _ in range(90):
        desk.books.wait(postman.turn())

    states = [desk.letter(PRODUCT, GITHUB, key).state for key in ("c", "run-2/issue", "run-3/issue")]
    assert states == [LetterState.WAITING, LetterState.SENT, LetterState.SENT]
    assert desk.letter(PRODUCT, GITHUB, "c").tries > 3


def test_an_issue_that_was_deleted_is_told(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """410 for the one issue drops the letter about it."""
    desk.post(make_issue(), make_letter("c"))
    desk.turn(connect())
    forge.state.issues[1].deleted = True

    desk.deliver(connect())

    assert "deleted" in desk.letter(PRODUCT, GITHUB, "c").last_error


def test_a_repository_that_the_token_does_not_see_drops_nothing(
    forge: FakeGithub, desk: Desk, connect: Connect
) -> None:
    """A wrong name or a missing permission is mended in the settings, and then everything is published."""
    desk.post(*WHOLE_RUN)
    desk.turn(connect(repository="octo/other"))
    assert {letter.state for letter in desk.letters()} == {LetterState.WAITING}
    assert "sees no repository octo/other" in desk.letters()[0].last_error

    desk.deliver(connect())

    check_whole_run(forge, desk)


def test_a_token_that_is_refused_drops_nothing(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """401 holds the whole channel; with a good token everything goes out."""
    desk.post(*WHOLE_RUN)
    assert desk.turn(connect(token="wrong")) == 300  # noqa: S106  it is wrong
    asked = len(forge.log)
    assert desk.turn(connect(token="wrong")) == 300  # noqa: S106  it is wrong
    assert len(forge.log) == asked

    desk.deliver(connect())

    check_whole_run(forge, desk)


def test_a_tag_never_moves(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """A seal that is there for another commit is a refusal."""
    forge.state.refs["tags/ferry/daily/20260102/run-1"] = forge.state.refs["heads/main"]
    desk.post(COMMIT, TAG)

    desk.deliver(connect())

    tag = desk.letter(PRODUCT, GITHUB, TAG.key)
    assert tag.state is LetterState.DROPPED
    assert "seals" in tag.last_error


def test_a_seal_waits_for_its_commit_to_be_pushed(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """The launch commit is pushed by people; until it is, the seal waits and says so."""
    state = forge.state
    launched = state.add_commit(
        tree=state.add_tree({"a": "b"}), parent=None, message="Launched", at=forge.clock.now(), author="octo"
    )
    del state.commits[launched.sha]
    desk.post(replace(TAG, about="", body={**TAG.body, "commit": launched.sha}))
    desk.turn(connect())
    [letter] = desk.letters()
    assert letter.state is LetterState.WAITING
    assert "push it" in letter.last_error
    state.commits[launched.sha] = launched

    desk.deliver(connect())

    assert state.tags[state.refs["tags/ferry/daily/20260102/run-1"]].target == launched.sha


def test_a_branch_that_somebody_moves_meanwhile_is_built_upon(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """Nothing of theirs is lost, since a branch is only ever moved forward."""
    state = forge.state
    theirs = state.add_commit(
        tree=state.add_tree({"README.md": "theirs\n"}),
        parent=state.refs["heads/main"],
        message="Theirs",
        at=forge.clock.now(),
        author="octo",
    )
    state.refs["heads/ferry/1"] = state.refs["heads/main"]

    def push_first(method: str, path: str) -> Fault:
        if method == "POST" and path.endswith("/git/commits"):
            state.refs["heads/ferry/1"] = theirs.sha
        return Fault.NONE

    forge.plan = push_first
    desk.post(COMMIT)
    desk.deliver(connect())

    assert state.files(state.refs["heads/ferry/1"]) == {"README.md": "theirs\n", "daily.toml": "lr = 1\n"}


def test_limits_are_waited_for_as_long_as_they_say(
    forge: FakeGithub, desk: Desk, connect: Connect, clock: FrozenClock
) -> None:
    """`retry-after` and the reset to the second; one that says nothing doubles from a minute on."""
    desk.post(make_issue())
    forge.plan = scripted(
        [Fault.SECONDARY, Fault.PRIMARY, Fault.SECONDARY_BARE, Fault.SECONDARY_BARE, Fault.TOO_MANY], method="POST"
    )
    pauses = []
    for _ in range(5):
        pauses.append(desk.turn(connect()))
        clock.advance(pauses[-1])
    desk.deliver(connect())

    assert pauses == [pytest.approx(31), pytest.approx(61, abs=1.1), 60, 120, 240]
    assert len(forge.state.issues) == 1


def test_what_has_not_changed_is_not_sent_again(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """A read that GitHub knows to be unchanged costs nothing of the limit."""
    status = make_letter("s", kind=Kind.STATUS, body={"text": "one"})
    desk.post(make_issue(), status)
    channel = connect()
    desk.deliver(channel)
    repository = channel._repository

    before = repository.issue(1)
    assert repository.issue(1) == before

    assert [line.status for line in forge.log if line.path.endswith("/issues/1")][-2:] == [200, 304]


def test_pages_are_followed_and_never_to_another_server(forge: FakeGithub, connect: Connect) -> None:
    """A listing is whole; a link that leads away would take the token along."""
    author = forge.state.account("octo")
    for number in range(230):
        forge.state.add_issue(author, title=f"{number}", body="", now=forge.clock.now())
    repository, fresh = connect()._repository, connect()._repository

    assert len(list(repository.issues(state="all"))) == 230

    forge.url = "http://evil.test"
    with pytest.raises(Strange, match="evil"):
        list(fresh.issues(state="all"))


@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_that_is_set_back_holds_nothing_up(desk: Desk, connect: Connect, *, restarts: bool) -> None:
    """Nobody waits until it has caught up: a hold of five minutes is five minutes, and none for a new process."""
    clock, channel = desk.books.clock, connect()
    begin = clock.now()
    clock.set_wall(begin + timedelta(days=9))
    desk.post(make_issue("before"))
    desk.deliver(channel)
    postman = Postman(desk.books, channel, wait=desk.books.wait)
    postman.open()
    with desk.books.store.write() as tx:
        tx.outbox.put_hold(Hold(channel=GITHUB, until=clock.now() + timedelta(minutes=5), why="limit"))

    clock.set_wall(begin)
    desk.post(*(make_issue(f"after-{number}") for number in range(3)))
    since = clock.monotonic()
    if restarts:
        desk.deliver(connect())
    for _ in range(20):
        desk.books.wait(postman.turn())

    assert not desk.waiting(GITHUB)
    waited = clock.monotonic() - since
    assert 3 <= waited < 300 if restarts else 300 <= waited < 330
