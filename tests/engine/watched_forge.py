"""A proposal whose pull request stands on the strict forge, and whoever looks at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

from tests.campaigns.pilot_world import pilot_definition

from pilothouse.canonical import Json
from pilothouse.engine.engine import Engine
from pilothouse.engine.forge_watch import ForgeWatch
from pilothouse.engine.postman import Postman
from pilothouse.logbook.letter import GITHUB, Kind, Letter, LetterState
from pilothouse.ports.outbox import LetterQuery
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import Approval, Proposal
from pilothouse.publish.github.delivery import GithubChannel
from pilothouse.publish.github.reading import GithubForge
from pilothouse.publish.github.repository import Repository
from pilothouse.testing import values
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.forge.github import FakeGithub
from pilothouse.testing.forge.state import Account, Issue, Review
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
        campaign = replace(values.make_campaign(), definition=pilot_definition().model_dump(mode="json"))
        self.engine.apply(lambda tx: tx.campaigns.put(campaign))
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

    def open_many(self, number: int) -> list[Proposal]:
        """Open so many more proposals, each with its commit and its pull request, and return them."""
        proposals = [
            replace(made, subject=replace(made.subject, code_commit=f"c0ffee{made.number}"))
            for made in (values.make_proposal(2 + index) for index in range(number))
        ]
        base: Mapping[str, Json] = {"base": "main"}
        for index, proposal in enumerate(proposals):
            branch, key = f"ferry/many-{index}", f"many-{index}/proposal"
            letter = replace(make_issue(key), campaign=CAMPAIGN)
            files: Mapping[str, Json] = {"daily.toml": f"lr = {index}\n"}
            commit: Mapping[str, Json] = {**base, "branch": branch, "files": files, "message": "Another rate"}
            text = f"Approve `{proposal.subject.digest()}`"
            pull: Mapping[str, Json] = {**base, "title": "Ferry", "text": text, "head": branch}
            self.engine.apply(partial(_add, proposal))
            for posted in (
                replace(letter, key=f"{key}/commit", kind=Kind.COMMIT, body=commit),
                replace(letter, kind=Kind.PULL_REQUEST, body=pull),
            ):
                self.engine.apply(partial(_post, posted, self.clock.now()))
        self.deliver()
        return proposals

    def review(
        self, text: str, *, by: Account | None = None, state: str = "APPROVED", edited_at: datetime | None = None
    ) -> Review:
        """Review the head."""
        self.clock.advance(5)
        made = Review(
            id=self.forge.state.mint(),
            author=by or self.alice,
            body=text,
            state=state,
            commit=self.forge.state.refs["heads/ferry/1"],
            submitted_at=self.clock.now(),
            edited_at=edited_at,
        )
        self.pull.reviews.append(made)
        return made

    def number_of(self, proposal: Proposal) -> int:
        """Return the number of a proposal's pull request."""
        digest = proposal.subject.digest()
        [found] = [number for number, issue in self.forge.state.issues.items() if digest in issue.body]
        return found

    @property
    def command(self) -> str:
        """The words that approve the first proposal."""
        return f"/pilothouse approve {self.proposal.subject.digest()}"


def _add(proposal: Proposal, tx: Transaction) -> None:
    tx.proposals.add(proposal)


def _post(letter: Letter, now: datetime, tx: Transaction) -> None:
    tx.outbox.post(letter, now=now)
