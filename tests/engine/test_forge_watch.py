"""What people say on the forge reaches the gate: read anew, recorded once, and answered where it does not count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from pilothouse.canonical import Json
from pilothouse.engine.engine import Engine
from pilothouse.engine.forge_watch import Bell, ForgeWatch
from pilothouse.engine.postman import Postman
from pilothouse.logbook.letter import GITHUB, Kind, LetterState
from pilothouse.ports.outbox import LetterQuery
from pilothouse.proposals.proposal import Approval, Proposal, State
from pilothouse.publish.github.auth import TokenAuth
from pilothouse.publish.github.client import GithubClient
from pilothouse.publish.github.delivery import GithubChannel
from pilothouse.publish.github.reading import GithubForge, GithubIssues
from pilothouse.publish.github.repository import Repository
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.forge.github import FakeGithub
from pilothouse.testing.forge.state import Issue, Review
from pilothouse.testing.outbox_conformance import make_issue
from pilothouse.testing.values import CAMPAIGN, PRODUCT


class Watched:
    """A proposal whose pull request stands on the forge, and whoever looks at it."""

    def __init__(self, engine: Engine, forge: FakeGithub, repository: Repository, clock: FrozenClock) -> None:
        self.engine = engine
        self.forge = forge
        self.clock = clock
        self.repository = repository
        self.channel = GithubChannel(repository)
        self.proposal: Proposal = values.make_proposal(1)
        self.watch = ForgeWatch(engine, GithubForge(repository, approvers=frozenset({"alice"})))
        self.alice = forge.state.account("alice", permission="write")

    def publish(self) -> None:
        """Open the pull request."""
        digest = self.proposal.subject.digest()
        files: Mapping[str, Json] = {"daily.toml": "lr = 1\n"}
        commit: Mapping[str, Json] = {"branch": "ferry/1", "base": "main", "files": files, "message": "Another rate"}
        pull: Mapping[str, Json] = {"title": "Ferry", "text": f"Approve `{digest}`", "head": "ferry/1", "base": "main"}
        letter = replace(make_issue("run-1/commit"), campaign=CAMPAIGN)
        with self.engine.read() as tx:
            assert not tx.outbox.listed(LetterQuery())
        self.engine.apply(lambda tx: tx.campaigns.put(values.make_campaign()))
        self.engine.apply(lambda tx: tx.proposals.add(self.proposal))
        self.engine.apply(
            lambda tx: [
                tx.outbox.post(replace(letter, kind=Kind.COMMIT, body=commit), now=self.clock.now()),
                tx.outbox.post(
                    replace(letter, kind=Kind.PULL_REQUEST, body=pull, key="run-1/pull"), now=self.clock.now()
                ),
            ]
        )
        self.deliver()

    def publish_another(self, *, meanwhile: Callable[[str], None] = lambda _: None) -> None:
        """Open a newer pull request for the same proposal; `meanwhile` comes between it and its branch."""
        branch = "ferry/2"
        self.post_again("run-1/commit", {"branch": branch})
        meanwhile(branch)
        self.post_again("run-1/pull", {"head": branch})

    def post_again(self, key: str, other: Mapping[str, Json]) -> None:
        """Post a letter again under a key of its own, with another branch, and let it arrive."""
        with self.engine.read() as tx:
            posted = tx.outbox.by_key(PRODUCT, GITHUB, key)
        assert posted is not None
        letter = replace(posted.letter, key=f"{key}-2", body={**posted.letter.body, **other})
        self.engine.apply(lambda tx: tx.outbox.post(letter, now=self.clock.now()))
        self.deliver()

    def sneak(self, branch: str = "ferry/1") -> None:
        """Push to the branch as somebody else."""
        state = self.forge.state
        commit = state.add_commit(
            tree=state.add_tree({"daily.toml": "lr = 2\n"}),
            parent=state.refs[f"heads/{branch}"],
            message="Sneaky",
            at=self.clock.now(),
            author="mallory",
        )
        state.refs[f"heads/{branch}"] = commit.sha

    def deliver(self) -> None:
        """Let every letter arrive."""

        def wait(seconds: float) -> bool:
            self.clock.advance(seconds)
            return False

        postman = Postman(self.engine, self.channel, wait=wait)
        while self.waiting():
            wait(postman.turn())

    def waiting(self) -> bool:
        """Whether a letter waits."""
        with self.engine.read() as tx:
            return bool(tx.outbox.listed(LetterQuery(state=LetterState.WAITING)))

    @property
    def pull(self) -> Issue:
        """The pull request on the forge."""
        return self.forge.state.issues[1]

    def say(self, text: str, login: str = "alice", *, on: int = 1) -> None:
        """Comment on it."""
        self.clock.advance(5)
        account = self.forge.state.account(login)
        self.forge.state.add_comment(self.forge.state.issues[on], account, text, now=self.clock.now())

    def approvals(self) -> list[Approval]:
        """Return what was recorded."""
        with self.engine.read() as tx:
            return list(tx.proposals.approvals(PRODUCT, CAMPAIGN))


@pytest.fixture(name="watched")
def _watched() -> Iterator[Watched]:
    clock = FrozenClock()
    forge = FakeGithub(clock=clock)
    store = SqliteStore(":memory:")
    with forge.serving() as url, Engine(store, clock) as engine:
        client = GithubClient(url, TokenAuth(token="t0k"), clock)  # noqa: S106  the fake's
        watched = Watched(engine, forge, Repository(client, "octo/demo"), clock)
        watched.publish()
        yield watched
        client.close()
    store.close()


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
