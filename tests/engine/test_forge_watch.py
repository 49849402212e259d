"""What people say on the forge reaches the gate: read anew, recorded once, and answered where it does not count."""

from __future__ import annotations

from dataclasses import replace

from tests.engine.watched_forge import Watched

from pilothouse.engine.forge_watch import Bell, ForgeWatch
from pilothouse.logbook.letter import GITHUB, Kind
from pilothouse.ports.outbox import LetterQuery
from pilothouse.proposals.proposal import State
from pilothouse.publish.github.reading import GithubForge, GithubIssues
from pilothouse.testing.forge.state import Review
from pilothouse.testing.values import PRODUCT


def test_a_comment_of_a_listed_person_is_recorded_once(watched: Watched) -> None:
    """However often the forge is looked at, and whatever else is said."""
    watched.say("nice")
    watched.say(f"/pilothouse approve {watched.proposal.subject.digest()}")

    assert [watched.watch.look() for _ in range(3)] == [1, 0, 0]

    [approval] = watched.approvals()
    assert (approval.approver, approval.waiver) == ("alice@github", False)
    assert approval.subject_digest == watched.proposal.subject.digest()
    assert "issuecomment" in approval.reason


def test_a_review_of_the_head_is_recorded(watched: Watched) -> None:
    """One of another commit is not."""
    digest = watched.proposal.subject.digest()
    for commit in ("0" * 40, watched.forge.state.refs["heads/ferry/1"]):
        watched.pull.reviews.append(
            Review(
                id=watched.forge.state.mint(),
                author=watched.alice,
                body=f"/pilothouse approve {digest}",
                state="APPROVED",
                commit=commit,
                submitted_at=watched.clock.now(),
            )
        )

    assert watched.watch.look() == 1
    assert "pullrequestreview" in watched.approvals()[0].reason


def test_a_right_that_was_taken_away_counts_at_the_look(watched: Watched) -> None:
    """The permission is asked for anew, and is the forge's."""
    watched.say(f"/pilothouse approve {watched.proposal.subject.digest()}")
    watched.alice.permission = "read"

    assert watched.watch.look() == 0
    assert not watched.approvals()


def test_a_command_that_does_not_count_is_answered_once(watched: Watched) -> None:
    """For who may write there; a stranger is not talked to."""
    watched.say(f"/pilothouse approve {'f' * 64}")
    watched.say(f"/pilothouse approve {'f' * 64}", login="mallory")
    again = ForgeWatch(watched.engine, GithubForge(watched.repository, approvers=frozenset({"alice"})))

    for watch in (watched.watch, watched.watch, again):
        assert watch.look() == 0

    with watched.engine.read() as tx:
        answers = [each for each in tx.outbox.listed(LetterQuery(channel=GITHUB)) if "not-counted" in each.letter.key]
    assert len(answers) == 1
    assert "what is proposed now" in str(answers[0].letter.body["text"])


def test_a_push_by_somebody_else_voids_the_word(watched: Watched) -> None:
    """What was proposed is what may be approved."""
    watched.sneak()
    watched.say(f"/pilothouse approve {watched.proposal.subject.digest()}")

    assert watched.watch.look() == 0


def test_a_push_between_commit_and_pull_request_voids_the_word_too(watched: Watched) -> None:
    """What was proposed is the commit of ours, and not what the branch held when the pull request was opened."""
    watched.publish_another(meanwhile=watched.sneak)
    watched.forge.state.issues[1].state = "closed"
    number = max(watched.forge.state.issues)
    watched.say(f"/pilothouse approve {watched.proposal.subject.digest()}", on=number)

    assert watched.watch.look() == 0
    assert not watched.approvals()


def test_a_pull_request_that_is_gone_keeps_no_other_from_being_read(watched: Watched) -> None:
    """The word on the older one counts, and the missing one is told once."""
    watched.publish_another()
    newest = max(watched.forge.state.issues)
    watched.forge.state.issues[newest].deleted = True
    watched.say(f"/pilothouse approve {watched.proposal.subject.digest()}")

    assert [watched.watch.look() for _ in range(2)] == [1, 0]


def test_a_proposal_that_moved_on_is_not_looked_at(watched: Watched) -> None:
    """It costs no request."""
    watched.engine.apply(lambda tx: tx.proposals.move(PRODUCT, watched.proposal.id, state=State.REJECTED, refusal="no"))
    asked = len(watched.forge.log)

    assert watched.watch.look() == 0
    assert len(watched.forge.log) == asked


def test_a_bell_is_heard_once() -> None:
    """Two rings before a look are one look."""
    bell = Bell()
    bell.ring()
    bell.ring()

    assert [bell.heard(), bell.heard()] == [True, False]


def test_issues_are_read_by_label_and_time(watched: Watched) -> None:
    """Open ones that are no pull requests, newest first."""
    state, clock = watched.forge.state, watched.clock
    since = clock.now()
    for number in range(4):
        clock.advance(60)
        issue = state.add_issue(watched.alice, title=f"try {number}", body="please", now=clock.now())
        issue.labels = ["Experiment"] if number else ["bug"]
    state.issues[3].state = "closed"
    issues = GithubIssues(watched.repository)

    assert [each.title for each in issues.labelled("experiment", since=since)] == ["try 3", "try 2"]
    assert not issues.labelled("experiment", since=clock.now())


def test_a_yes_on_a_pull_request_whose_closing_is_on_its_way_counts_for_nothing(watched: Watched) -> None:
    """Its proposal gave way to another of the very same subject, which asks on a pull request of its own."""
    with watched.engine.read() as tx:
        posted = tx.outbox.by_key(PRODUCT, GITHUB, "run-1/pull")
    assert posted is not None
    close = replace(
        posted.letter,
        key="run-1/pull/close",
        kind=Kind.CLOSE,
        body={"reason": "not_planned"},
        about=posted.letter.key,
    )
    watched.say(f"/pilothouse approve {watched.proposal.subject.digest()}")
    watched.engine.apply(lambda tx: tx.outbox.post(close, now=watched.clock.now()))

    assert watched.watch.look() == 0
    assert watched.approvals() == []
