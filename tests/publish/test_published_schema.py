"""What the fake forge answers is what GitHub's published schema says, by the models that are made from it.

The models come with githubkit, which is installed for this test alone: `pip install githubkit 'hishel>=1,<2'`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pilothouse.canonical import Json
from pilothouse.testing.clock import BEGIN, FrozenClock
from pilothouse.testing.forge.github import FakeGithub
from pilothouse.testing.forge.state import Review

Shape = Callable[[FakeGithub], Json]


def forge_with_everything() -> FakeGithub:
    """Return a forge with one of each thing."""
    forge = FakeGithub(clock=FrozenClock())
    state = forge.state
    pilot = state.account("pilot")
    issue = state.add_issue(pilot, title="t", body="b", now=BEGIN)
    issue.labels, issue.state, issue.reason = ["ferry"], "closed", "completed"
    state.add_comment(issue, pilot, "said", now=BEGIN)
    tree = state.add_tree({"a.txt": "a"})
    commit = state.add_commit(tree=tree, parent=state.refs["heads/main"], message="m", at=BEGIN, author="pilot")
    state.refs["heads/ferry/1"] = commit.sha
    tag = state.add_tag(name="v1", message="m", target=commit.sha, at=BEGIN)
    state.refs["tags/v1"] = tag.sha
    pull = state.add_issue(pilot, title="p", body="b", now=BEGIN)
    pull.head, pull.base = "ferry/1", "main"
    review = Review(id=state.mint(), author=pilot, body="r", state="APPROVED", commit=commit.sha, submitted_at=BEGIN)
    pull.reviews.append(review)
    return forge


SHAPES: dict[str, tuple[str, Shape]] = {
    "issue": ("Issue", lambda forge: forge.shapes.issue(forge.state.issues[1])),
    "issue of a pull request": ("Issue", lambda forge: forge.shapes.issue(forge.state.issues[2])),
    "comment": (
        "IssueComment",
        lambda forge: forge.shapes.comment(forge.state.issues[1], forge.state.issues[1].comments[0]),
    ),
    "label": ("Label", lambda forge: forge.shapes.label("ferry")),
    "pull request": ("PullRequest", lambda forge: forge.shapes.pull_request(forge.state.issues[2])),
    "review": (
        "PullRequestReview",
        lambda forge: forge.shapes.review(forge.state.issues[2], forge.state.issues[2].reviews[0]),
    ),
    "repository": ("FullRepository", lambda forge: forge.shapes.repository()),
    "permission": (
        "RepositoryCollaboratorPermission",
        lambda forge: forge.shapes.permission(forge.state.account("pilot")),
    ),
    "ref": ("GitRef", lambda forge: forge.shapes.ref("heads/ferry/1")),
    "ref of a tag": ("GitRef", lambda forge: forge.shapes.ref("tags/v1")),
    "git commit": (
        "GitCommit",
        lambda forge: forge.shapes.git_commit(forge.state.commits[forge.state.refs["heads/ferry/1"]]),
    ),
    "commit": ("Commit", lambda forge: forge.shapes.commit(forge.state.commits[forge.state.refs["heads/ferry/1"]])),
    "tree": ("GitTree", lambda forge: forge.shapes.tree(next(iter(forge.state.trees)))),
    "tag": ("GitTag", lambda forge: forge.shapes.tag(forge.state.tags[forge.state.refs["tags/v1"]])),
    "account": ("SimpleUser", lambda forge: forge.shapes.account(forge.state.account("pilot"))),
    "owner of the token": ("PublicUser", lambda forge: forge.shapes.owner(forge.state.account("pilot"))),
}


@pytest.mark.parametrize("name", SHAPES)
def test_an_answer_of_the_fake_follows_the_published_schema(name: str) -> None:
    """Every field that is asked for is there, in the right form."""
    models: Any = pytest.importorskip(
        "githubkit.versions.latest.models", reason="not run: githubkit is installed by hand for this"
    )
    model, shape = SHAPES[name]

    getattr(models, model).model_validate(shape(forge_with_everything()), strict=False)
