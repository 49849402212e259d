"""A yes that is taken back on the forge before the launch becomes a no, which is recorded; nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from tests.engine.watched_forge import Watched

from pilothouse.access.audit import Actor
from pilothouse.engine.forge_watch import APART_SECONDS, ForgeWatch
from pilothouse.operations.approve_proposal import ApprovalRequest, approve_proposal
from pilothouse.operations.reject_proposal import BY_A_PERSON
from pilothouse.ports.forge import ForgeBusy
from pilothouse.proposals.proposal import Proposal, State
from pilothouse.publish.github.reading import GithubForge
from pilothouse.testing.forge.faults import Fault
from pilothouse.testing.values import PRODUCT

Act = Callable[[Watched], None]


def kept(watched: Watched) -> Proposal:
    """Return the proposal as it is stored now."""
    with watched.engine.read() as tx:
        found = tx.proposals.get(PRODUCT, watched.proposal.id)
    assert found is not None
    return found


def delete(watched: Watched) -> None:
    """Take the words away."""
    watched.pull.comments.clear()
    watched.pull.reviews.clear()


def edit(watched: Watched) -> None:
    """Write something else in their place."""
    for comment in watched.pull.comments:
        comment.body, comment.updated_at = "wait", watched.clock.now() + timedelta(seconds=9)
    for review in watched.pull.reviews:
        review.body, review.edited_at = f"{review.body} ", watched.clock.now() + timedelta(seconds=9)


def dismiss(watched: Watched) -> None:
    """Dismiss the review."""
    watched.pull.reviews[0].state = "DISMISSED"


def take_the_right(watched: Watched) -> None:
    """Let the approver write no more."""
    watched.alice.permission = "read"


@pytest.mark.parametrize(
    ("by_review", "act", "why"),
    [
        (False, edit, "says it no more"),
        (True, edit, "edited"),
        (False, delete, "deleted"),
        (True, dismiss, "dismissed"),
        (False, take_the_right, "may not write"),
        (True, take_the_right, "may not write"),
    ],
)
def test_a_yes_that_was_taken_back_is_a_recorded_no(watched: Watched, *, by_review: bool, act: Act, why: str) -> None:
    """The approval stays on record, and opens nothing any more."""
    (watched.review if by_review else watched.say)(watched.command)
    assert watched.watch.look() == 1

    act(watched)
    for _ in range(2):
        watched.watch.look()

    proposal = kept(watched)
    assert proposal.state is State.REJECTED
    assert proposal.refusal.startswith(f"{BY_A_PERSON}github: the yes of alice@github")
    assert why in proposal.refusal
    assert len(watched.approvals()) == 1
    assert watched.watch.look() == 0


def test_a_yes_of_somebody_who_is_listed_no_more_is_taken_back(watched: Watched) -> None:
    """By another start, with other settings."""
    watched.say(watched.command)
    assert watched.watch.look() == 1

    ForgeWatch(watched.engine, GithubForge(watched.repository, approvers=frozenset({"bob"}))).look()

    assert "not among those" in kept(watched).refusal


def test_words_on_a_pull_request_that_was_closed_meanwhile_are_read_as_well(watched: Watched) -> None:
    """It takes no yes any more, but a no."""
    watched.review(watched.command)
    assert watched.watch.look() == 1
    watched.pull.state = "closed"

    dismiss(watched)
    watched.watch.look()

    assert kept(watched).state is State.REJECTED


def test_a_forge_that_lags_for_a_moment_takes_no_yes_back(watched: Watched) -> None:
    """What is missing is looked for again soon, and what cannot be read says nothing."""
    watched.say(watched.command)
    assert watched.watch.look() == 1
    said = list(watched.pull.comments)
    assert watched.watch.is_time()

    delete(watched)
    watched.watch.look()
    watched.clock.advance(APART_SECONDS)
    assert watched.watch.is_time()
    watched.pull.comments += said
    watched.watch.look()
    delete(watched)
    watched.watch.look()
    watched.forge.plan = lambda method, path: Fault.ERROR_BEFORE  # noqa: ARG005
    watched.watch.look()

    assert kept(watched).state is State.OPEN


@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.FORBIDDEN, Fault.CUT_BEFORE])
def test_a_forge_that_does_not_tell_of_edits_takes_no_yes_back(watched: Watched, fault: Fault) -> None:
    """A review that has counted still counts when the query language fails for once."""
    watched.review(watched.command)
    assert watched.watch.look() == 1
    watched.forge.plan = lambda method, path: fault if path == "/graphql" else Fault.NONE  # noqa: ARG005

    for _ in range(2):
        with suppress(ForgeBusy):
            watched.watch.look()

    assert kept(watched).state is State.OPEN


def test_whatever_else_happens_takes_no_yes_back(watched: Watched) -> None:
    """Talk, a push that comes afterwards, a word that was given elsewhere, and one that has run out."""
    request = ApprovalRequest(proposal=watched.proposal.id, approver=Actor(name="bob"), reason="seen", expires_in="1d")
    watched.engine.apply(lambda tx: approve_proposal(tx, request, product=PRODUCT, now=watched.clock.now()))
    watched.say(watched.command)
    assert watched.watch.look() == 1

    watched.say("nice", login="mallory")
    watched.sneak()
    for _ in range(3):
        watched.watch.look()
    watched.clock.advance(timedelta(days=2).total_seconds())
    delete(watched)
    for _ in range(3):
        watched.watch.look()

    assert kept(watched).state is State.OPEN


def test_what_was_launched_is_left_alone(watched: Watched) -> None:
    """A yes is taken back before the launch, or not at all."""
    watched.say(watched.command)
    assert watched.watch.look() == 1
    watched.engine.apply(lambda tx: tx.proposals.move(PRODUCT, watched.proposal.id, state=State.ADMITTED, refusal=""))

    delete(watched)
    for _ in range(3):
        watched.watch.look()

    assert kept(watched).state is State.ADMITTED
