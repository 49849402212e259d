"""What one repository of GitHub can be asked for, and told to do; one request each, but for listings."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from pilothouse.canonical import Json
from pilothouse.ports.channel import Gate
from pilothouse.publish import fields
from pilothouse.publish.github.client import GithubClient, checked_repository
from pilothouse.publish.github.faults import Missing, Strange

Table = Mapping[str, Json]
_FAR = datetime(9999, 1, 1, tzinfo=UTC)
_REVIEW_EDITED = "query($node: ID!) { node(id: $node) { id ... on PullRequestReview { lastEditedAt } } }"


class Repository:
    """The verbs of one repository over a client."""

    def __init__(self, client: GithubClient, name: str) -> None:
        self.client = client
        self.name = checked_repository(name)
        self._at = f"/repos/{self.name}"

    # --- reading

    def itself(self) -> Table:
        """Return the repository."""
        return fields.table(self.client.read(self._at))

    def issue(self, number: int) -> Table:
        """Return an issue, or the issue that a pull request is."""
        return fields.table(self.client.read(f"{self._at}/issues/{number}"))

    def issues(self, **query: str) -> Iterator[Table]:
        """Give the issues, and with them the pull requests, as the query wants them."""
        return self.client.pages(f"{self._at}/issues", **query)

    def comments(self, number: int) -> Iterator[Table]:
        """Give the comments of an issue or pull request, oldest first; GitHub takes no more than 2,500 on one."""
        return self.client.pages(f"{self._at}/issues/{number}/comments")

    def labels_of(self, number: int) -> Sequence[str]:
        """Return the labels of an issue."""
        return [fields.text(each, "name") for each in self.client.pages(f"{self._at}/issues/{number}/labels")]

    def pull_request(self, number: int) -> Table:
        """Return a pull request, with its head and whether it is merged."""
        return fields.table(self.client.read(f"{self._at}/pulls/{number}"))

    def pull_requests(self, **query: str) -> Iterator[Table]:
        """Give the pull requests."""
        return self.client.pages(f"{self._at}/pulls", **query)

    def reviews(self, number: int) -> Iterator[Table]:
        """Give the reviews of a pull request, oldest first."""
        return self.client.pages(f"{self._at}/pulls/{number}/reviews")

    def review_edited_at(self, node: str) -> datetime | None:
        """Return when a review was edited last, None where it never was: only the query language tells it.

        Raises `Strange` where that cannot be told, so that nobody takes silence for an answer.
        """
        told = fields.table(self.client.query(_REVIEW_EDITED, {"node": node}), "data", "node")
        if "lastEditedAt" not in told or fields.text(told, "id") != node:
            raise Strange(f"GitHub does not tell whether review {node!r:.80} was edited", fix="use a comment instead")
        found = told["lastEditedAt"]
        return None if found is None else fields.when(told, "lastEditedAt") or _FAR

    def permission(self, login: str) -> str:
        """Return what a person may do here: admin, write, read or none."""
        try:
            told = self.client.read(f"{self._at}/collaborators/{quote(login, safe='')}/permission")
        except Missing:
            return "none"
        return fields.text(told, "permission")

    def ref(self, name: str) -> Table | None:
        """Return the object of `heads/…` or `tags/…`, None where there is no such ref."""
        try:
            told = self.client.read(f"{self._at}/git/ref/{quote(name)}")
        except Missing:
            return None
        return fields.table(told, "object") if isinstance(told, Mapping) else None

    def commit(self, sha: str) -> Table:
        """Return a commit of the git data, with its tree."""
        return fields.table(self.client.read(f"{self._at}/git/commits/{quote(sha, safe='')}"))

    def commits(self, **query: str) -> Iterator[Table]:
        """Give the commits, newest first."""
        return self.client.pages(f"{self._at}/commits", **query)

    def tag(self, sha: str) -> Table:
        """Return an annotated tag by its own sha."""
        return fields.table(self.client.read(f"{self._at}/git/tags/{quote(sha, safe='')}"))

    def file(self, path: str, *, ref: str) -> str | None:
        """Return a file's text on a branch or at a commit, None where there is none."""
        try:
            told = fields.table(self.client.read(f"{self._at}/contents/{quote(path)}", ref=ref))
        except Missing:
            return None
        if fields.text(told, "encoding") != "base64":
            return None
        return base64.b64decode(fields.text(told, "content")).decode("utf-8", errors="replace")

    # --- writing

    def create_issue(self, body: Table, gate: Gate) -> Table:
        """Create an issue: `title`, `body`, `labels`."""
        return fields.table(self.client.write("POST", f"{self._at}/issues", body, gate))

    def edit_issue(self, number: int, change: Table, gate: Gate) -> Table:
        """Change `title`, `body`, `state` or `state_reason` of an issue."""
        return fields.table(self.client.write("PATCH", f"{self._at}/issues/{number}", change, gate))

    def create_comment(self, number: int, text: str, gate: Gate) -> Table:
        """Add a comment to an issue or a pull request."""
        return fields.table(self.client.write("POST", f"{self._at}/issues/{number}/comments", {"body": text}, gate))

    def add_labels(self, number: int, labels: Sequence[str], gate: Gate) -> None:
        """Add labels and leave those that are there."""
        self.client.write("POST", f"{self._at}/issues/{number}/labels", {"labels": list(labels)}, gate)

    def remove_label(self, number: int, label: str, gate: Gate) -> None:
        """Take one label away; one that is not there is fine, and one that no path can name stays."""
        if label in {"", ".", ".."}:
            # As a part of a path these are others, and without its last part this one takes every label away.
            return
        try:
            self.client.write("DELETE", f"{self._at}/issues/{number}/labels/{quote(label, safe='')}", None, gate)
        except Missing:
            return

    def create_pull_request(self, body: Table, gate: Gate) -> Table:
        """Open a pull request: `title`, `body`, `head`, `base`."""
        return fields.table(self.client.write("POST", f"{self._at}/pulls", body, gate))

    def edit_pull_request(self, number: int, change: Table, gate: Gate) -> Table:
        """Change `title`, `body`, `state` or `base` of a pull request."""
        return fields.table(self.client.write("PATCH", f"{self._at}/pulls/{number}", change, gate))

    def create_tree(self, base_tree: str, files: Mapping[str, str | None], gate: Gate) -> str:
        """Return the sha of a new tree: the base with these files, those of None taken away."""
        tree: list[Json] = []
        for path, content in files.items():
            entry: dict[str, Json] = {"path": path, "mode": "100644", "type": "blob"}
            tree.append(entry | ({"sha": None} if content is None else {"content": content}))
        told = self.client.write("POST", f"{self._at}/git/trees", {"base_tree": base_tree, "tree": tree}, gate)
        return fields.text(told, "sha")

    def create_commit(self, message: str, *, tree: str, parent: str, gate: Gate) -> Table:
        """Return a new commit, which is on no branch yet."""
        body: Table = {"message": message, "tree": tree, "parents": [parent]}
        return fields.table(self.client.write("POST", f"{self._at}/git/commits", body, gate))

    def create_ref(self, name: str, sha: str, gate: Gate) -> None:
        """Create `heads/…` or `tags/…` at a commit or tag."""
        self.client.write("POST", f"{self._at}/git/refs", {"ref": f"refs/{name}", "sha": sha}, gate)

    def move_ref(self, name: str, sha: str, gate: Gate) -> None:
        """Move a branch forward; GitHub refuses whatever would lose a commit."""
        self.client.write("PATCH", f"{self._at}/git/refs/{quote(name)}", {"sha": sha, "force": False}, gate)

    def create_tag(self, name: str, *, message: str, commit: str, gate: Gate) -> str:
        """Return the sha of a new annotated tag, which no ref names yet."""
        body: Table = {"tag": name, "message": message, "object": commit, "type": "commit"}
        return fields.text(self.client.write("POST", f"{self._at}/git/tags", body, gate), "sha")


def stamp(when: datetime) -> str:
    """Return a time as GitHub writes it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
