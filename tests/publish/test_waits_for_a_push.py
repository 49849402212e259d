"""What people have to push first is waited for, is told meanwhile, and is not waited for without end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.publish.conftest import Desk
from tests.publish.test_github_delivery import COMMIT, PULL, TAG

from pilothouse.logbook.letter import GITHUB, Letter, LetterState
from pilothouse.ports.outbox import PUT_OFF_MAX
from pilothouse.publish.github.commits import WAITED_TRIES_MAX
from pilothouse.publish.github.delivery import GithubChannel
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.forge.github import FakeGithub
from pilothouse.testing.forge.http import Answered
from pilothouse.testing.forge.state import Commit
from pilothouse.testing.values import PRODUCT

Connect = Callable[..., GithubChannel]


def unpushed(forge: FakeGithub) -> Commit:
    """Return a commit that GitHub has not."""
    state = forge.state
    tree = state.add_tree({"a": "b"})
    made = state.add_commit(tree=tree, parent=None, message="Launched", at=forge.clock.now(), author="octo")
    del state.commits[made.sha]
    return made


def waiting_for(sha: str) -> list[Letter]:
    """Return the letters that need this commit, each by itself."""
    return [
        replace(TAG, about="", body={**TAG.body, "commit": sha}),
        replace(COMMIT, body={**COMMIT.body, "base": sha}),
        replace(PULL, about="", body={**PULL.body, "head": COMMIT.body["branch"]}),
    ]


def test_a_commit_and_a_seal_wait_for_their_base_to_be_pushed(forge: FakeGithub, desk: Desk, connect: Connect) -> None:
    """A patch is made on the commit that failed, which may be on one machine only so far."""
    base = unpushed(forge)
    desk.post(*waiting_for(base.sha))
    for _ in range(3):
        desk.turn(connect())
    letters = desk.letters()
    assert {letter.state for letter in letters} == {LetterState.WAITING}
    assert ["push it" in letter.last_error for letter in letters] == [True, True, False]
    forge.state.commits[base.sha] = base

    desk.deliver(connect())

    assert {letter.state for letter in desk.letters()} == {LetterState.SENT}
    head = forge.state.refs[f"heads/{COMMIT.body['branch']}"]
    assert [each.sha for each in forge.state.history(head)] == [head, base.sha]
    assert forge.state.issues[1].head == COMMIT.body["branch"]


def test_what_is_never_pushed_is_dropped_after_days_and_can_be_tried_again(
    forge: FakeGithub, desk: Desk, connect: Connect, clock: FrozenClock
) -> None:
    """With the reason, and with the pull request that would have had no branch."""
    base, channel = unpushed(forge), connect()
    desk.post(*waiting_for(base.sha))
    letters = desk.letters()
    with desk.books.store.write() as tx:
        for letter in letters:
            for _ in range(WAITED_TRIES_MAX - 1):
                tx.outbox.begin(letter)

    states = []
    for _ in range(2):
        for _ in range(3):
            desk.turn(channel)
        states.append([letter.state for letter in desk.letters()])
        clock.advance(PUT_OFF_MAX.total_seconds())

    assert states == [[LetterState.WAITING] * 3, [LetterState.DROPPED] * 3]
    assert all("given up after" in letter.last_error for letter in desk.letters())
    forge.state.commits[base.sha] = base
    letters = desk.letters()
    with desk.books.store.write() as tx:
        for letter in letters:
            tx.outbox.retry(letter, now=clock.now())
    desk.deliver(channel)
    assert {letter.state for letter in desk.letters()} == {LetterState.SENT}


@pytest.mark.parametrize("letter", [COMMIT, replace(TAG, about="", body={**TAG.body, "commit": "1" * 40})])
def test_a_repository_that_is_not_seen_tells_nothing_of_what_is_in_it(
    desk: Desk, connect: Connect, letter: Letter
) -> None:
    """To a token without the right every branch is missing; no letter is given up for that."""
    desk.post(letter)

    desk.turn(connect(repository="octo/other"))

    kept = desk.letter(PRODUCT, GITHUB, letter.key)
    assert kept.state is LetterState.WAITING
    assert "sees no repository octo/other" in kept.last_error


def test_a_base_that_is_no_branch_is_dropped(desk: Desk, connect: Connect) -> None:
    """Where the repository is seen, a branch that is not there was misspelt."""
    desk.post(replace(COMMIT, body={**COMMIT.body, "base": "mian"}))

    desk.turn(connect())

    kept = desk.letter(PRODUCT, GITHUB, COMMIT.key)
    assert kept.state is LetterState.DROPPED
    assert "there is no mian" in kept.last_error


@pytest.mark.parametrize(
    ("said", "status", "state"),
    [
        ("Update is not a fast forward", 422, LetterState.WAITING),
        ("Reference already exists", 422, LetterState.WAITING),
        ("Git Repository is locked for a moment", 409, LetterState.WAITING),
        ("Changes must be made through a pull request.", 422, LetterState.DROPPED),
        ("Reference update failed", 422, LetterState.DROPPED),
    ],
)
def test_a_branch_that_takes_no_commit_is_waited_for_only_where_somebody_was_faster(
    forge: FakeGithub, desk: Desk, connect: Connect, said: str, status: int, state: LetterState
) -> None:
    """A rule of the repository is mended by people, and each try would write three times in vain."""
    forge.refuse = lambda asked: (
        Answered(status=status, body={"message": said}) if asked.method == "POST" and "/refs" in asked.path else None
    )
    desk.post(COMMIT)

    desk.turn(connect())

    kept = desk.letter(PRODUCT, GITHUB, COMMIT.key)
    assert kept.state is state
    assert said in kept.last_error
