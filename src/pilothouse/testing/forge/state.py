"""What stands in a forge: accounts, issues, comments, pull requests, and the objects and refs of git."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pilothouse.canonical import Json, canonical


@dataclass(slots=True, kw_only=True)
class Account:
    """Somebody; `permission` is what they may do in the one repository."""

    id: int
    login: str
    kind: str = "User"
    permission: str = "none"


@dataclass(slots=True, kw_only=True)
class Comment:
    """A comment on an issue or pull request."""

    id: int
    author: Account
    body: str
    created_at: datetime
    updated_at: datetime
    via_app: int | None = None


@dataclass(slots=True, kw_only=True)
class Review:
    """A review of a pull request at one commit."""

    id: int
    author: Account
    body: str
    state: str
    commit: str
    submitted_at: datetime
    edited_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Issue:
    """An issue; one with a head is a pull request."""

    id: int
    number: int
    author: Account
    title: str
    body: str
    created_at: datetime
    updated_at: datetime
    state: str = "open"
    reason: str | None = None
    labels: list[str] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    locked: bool = False
    deleted: bool = False
    head: str | None = None
    base: str = ""
    reviews: list[Review] = field(default_factory=list)
    merged_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit: its tree's sha, its one parent, its message."""

    sha: str
    tree: str
    parent: str | None
    message: str
    at: datetime
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """An annotated tag object."""

    sha: str
    name: str
    message: str
    target: str
    at: datetime


@dataclass(slots=True)
class State:
    """Everything of one repository. `refs` are `heads/…` and `tags/…`; trees are their files' texts by path."""

    owner: str
    name: str
    now: datetime
    accounts: dict[str, Account] = field(default_factory=dict)
    issues: dict[int, Issue] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    trees: dict[str, Mapping[str, str]] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, Tag] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    minted: int = 1000

    def __post_init__(self) -> None:
        tree = self.add_tree({"README.md": "# demo\n"})
        commit = self.add_commit(tree=tree, parent=None, message="Begin", at=self.now, author="octocat")
        self.refs["heads/main"] = commit.sha

    @property
    def full_name(self) -> str:
        """The repository as `owner/name`."""
        return f"{self.owner}/{self.name}"

    def mint(self) -> int:
        """Return an id that nothing else has."""
        self.minted += 1
        return self.minted

    def account(self, login: str, *, permission: str = "none", kind: str = "User") -> Account:
        """Return the account of that login, made when there is none."""
        found = self.accounts.get(login.casefold())
        if found is None:
            found = Account(id=self.mint(), login=login, kind=kind, permission=permission)
            self.accounts[login.casefold()] = found
        return found

    def add_issue(self, author: Account, *, title: str, body: str, now: datetime) -> Issue:
        """Open an issue under the next number."""
        issue = Issue(
            id=self.mint(),
            number=len(self.issues) + 1,
            author=author,
            title=title,
            body=body,
            created_at=now,
            updated_at=now,
        )
        self.issues[issue.number] = issue
        return issue

    def add_comment(self, issue: Issue, author: Account, body: str, *, now: datetime) -> Comment:
        """Add a comment."""
        comment = Comment(id=self.mint(), author=author, body=body, created_at=now, updated_at=now)
        issue.comments.append(comment)
        issue.updated_at = now
        return comment

    def add_tree(self, files: Mapping[str, str]) -> str:
        """Return the sha of a tree with these files."""
        sha = _sha("tree", dict(files))
        self.trees[sha] = dict(files)
        return sha

    def add_commit(self, *, tree: str, parent: str | None, message: str, at: datetime, author: str) -> Commit:
        """Return a new commit, which no ref names yet."""
        sha = _sha("commit", {"tree": tree, "parent": parent, "message": message, "at": at.isoformat()})
        commit = Commit(sha=sha, tree=tree, parent=parent, message=message, at=at, author=author)
        self.commits[sha] = commit
        return commit

    def add_tag(self, *, name: str, message: str, target: str, at: datetime) -> Tag:
        """Return a new tag object, which no ref names yet."""
        sha = _sha("tag", {"name": name, "message": message, "target": target, "at": at.isoformat()})
        self.tags[sha] = Tag(sha=sha, name=name, message=message, target=target, at=at)
        return self.tags[sha]

    def history(self, sha: str) -> list[Commit]:
        """Return the commits that lead to this one, newest first."""
        found: list[Commit] = []
        at: str | None = sha
        while at is not None:
            found.append(self.commits[at])
            at = self.commits[at].parent
        return found

    def files(self, commit: str) -> Mapping[str, str]:
        """Return the files at a commit."""
        return self.trees[self.commits[commit].tree]


def _sha(kind: str, value: Json) -> str:
    return hashlib.sha1(f"{kind} {canonical(value)}".encode(), usedforsecurity=False).hexdigest()
