"""GitHub's answers, with every field that its published schema asks for."""

from __future__ import annotations

from datetime import UTC, datetime

from pilothouse.canonical import Json
from pilothouse.testing.forge.state import Account, Comment, Commit, Issue, Review, State, Tag

Table = dict[str, Json]
_ACCOUNT_LINKS = (
    "followers", "following", "gists", "starred", "subscriptions", "organizations", "repos", "events",
    "received_events",
)  # fmt: skip
_REPOSITORY_LINKS = (
    "archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits", "compare", "contents",
    "contributors", "deployments", "downloads", "events", "forks", "git_commits", "git_refs", "git_tags", "hooks",
    "issue_comment", "issue_events", "issues", "keys", "labels", "languages", "merges", "milestones", "notifications",
    "pulls", "releases", "stargazers", "statuses", "subscribers", "subscription", "tags", "teams", "trees",
)  # fmt: skip


def stamped(when: datetime) -> str:
    """Return a time as GitHub writes it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def node(kind: str, number: int) -> str:
    """Return an opaque node id."""
    return f"{kind}_{number}"


class Shapes:
    """Draws what stands in a forge as its API does; `url` is where the fake listens."""

    def __init__(self, state: State, url: str) -> None:
        self._state = state
        self._url = url
        self._repo = f"{url}/repos/{state.full_name}"
        self._page = f"https://github.test/{state.full_name}"

    def account(self, account: Account) -> Table:
        """Return somebody, as they stand beside what they have written."""
        at = f"{self._url}/users/{account.login}"
        return {
            "login": account.login,
            "id": account.id,
            "node_id": node("U", account.id),
            "avatar_url": f"https://avatars.github.test/u/{account.id}",
            "gravatar_id": "",
            "url": at,
            "html_url": f"https://github.test/{account.login}",
            "type": account.kind,
            "site_admin": False,
            **{f"{name}_url": f"{at}/{name}" for name in _ACCOUNT_LINKS},
        }

    def owner(self, account: Account) -> Table:
        """Return the owner of the token, with what only they see."""
        begun = stamped(self._state.now)
        return {
            **self.account(account),
            "name": account.login,
            "company": None,
            "blog": None,
            "location": None,
            "email": None,
            "hireable": None,
            "bio": None,
            "public_repos": 1,
            "public_gists": 0,
            "followers": 0,
            "following": 0,
            "created_at": begun,
            "updated_at": begun,
        }

    def label(self, name: str) -> Table:
        """Return a label."""
        identity = self._state.labels.setdefault(name, self._state.mint())
        return {
            "id": identity,
            "node_id": node("LA", identity),
            "url": f"{self._repo}/labels/{name}",
            "name": name,
            "description": None,
            "color": "ededed",
            "default": False,
            "archived_at": None,
            "archived_by": None,
        }

    def issue(self, issue: Issue) -> Table:
        """Return an issue, or the issue that a pull request is."""
        at = f"{self._repo}/issues/{issue.number}"
        closed = stamped(issue.updated_at) if issue.state == "closed" else None
        told: Table = {
            "id": issue.id,
            "node_id": node("I", issue.id),
            "url": at,
            "repository_url": self._repo,
            "labels_url": f"{at}/labels{{/name}}",
            "comments_url": f"{at}/comments",
            "events_url": f"{at}/events",
            "html_url": f"{self._page}/issues/{issue.number}",
            "number": issue.number,
            "state": issue.state,
            "state_reason": issue.reason,
            "title": issue.title,
            "body": issue.body,
            "user": self.account(issue.author),
            "labels": [self.label(name) for name in issue.labels],
            "assignee": None,
            "assignees": [],
            "milestone": None,
            "locked": issue.locked,
            "active_lock_reason": None,
            "comments": len(issue.comments),
            "closed_at": closed,
            "created_at": stamped(issue.created_at),
            "updated_at": stamped(issue.updated_at),
            "author_association": "MEMBER",
        }
        if issue.head is not None:
            pull = f"{self._repo}/pulls/{issue.number}"
            page = f"{self._page}/pull/{issue.number}"
            told["pull_request"] = {
                "url": pull,
                "html_url": page,
                "diff_url": f"{page}.diff",
                "patch_url": f"{page}.patch",
                "merged_at": None if issue.merged_at is None else stamped(issue.merged_at),
            }
        return told

    def comment(self, issue: Issue, comment: Comment) -> Table:
        """Return a comment."""
        return {
            "id": comment.id,
            "node_id": node("IC", comment.id),
            "url": f"{self._repo}/issues/comments/{comment.id}",
            "html_url": f"{self._page}/issues/{issue.number}#issuecomment-{comment.id}",
            "issue_url": f"{self._repo}/issues/{issue.number}",
            "body": comment.body,
            "user": self.account(comment.author),
            "created_at": stamped(comment.created_at),
            "updated_at": stamped(comment.updated_at),
            "author_association": "MEMBER",
            "performed_via_github_app": None if comment.via_app is None else {"id": comment.via_app, "slug": "app"},
        }

    def pull_request(self, issue: Issue) -> Table:
        """Return a pull request."""
        at, page = f"{self._repo}/pulls/{issue.number}", f"{self._page}/pull/{issue.number}"
        merged = issue.merged_at is not None
        inherited = self.issue(issue)
        told: Table = {
            name: inherited[name]
            for name in (
                "id", "number", "state", "locked", "title", "user", "body", "labels", "milestone",
                "active_lock_reason", "created_at", "updated_at", "closed_at", "assignee", "assignees",
                "author_association", "comments",
            )
        }  # fmt: skip
        links = {
            "self": at, "html": page, "issue": f"{self._repo}/issues/{issue.number}",
            "comments": f"{self._repo}/issues/{issue.number}/comments", "review_comments": f"{at}/comments",
            "review_comment": f"{self._repo}/pulls/comments{{/number}}", "commits": f"{at}/commits",
            "statuses": f"{self._repo}/statuses/{self._head(issue)}",
        }  # fmt: skip
        return told | {
            "node_id": node("PR", issue.id),
            "url": at,
            "html_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            "issue_url": links["issue"],
            "commits_url": links["commits"],
            "review_comments_url": links["review_comments"],
            "review_comment_url": links["review_comment"],
            "comments_url": links["comments"],
            "statuses_url": links["statuses"],
            "_links": {name: {"href": link} for name, link in links.items()},
            "head": self._end(issue.head or "", self._head(issue)),
            "base": self._end(issue.base, self._state.refs[f"heads/{issue.base}"]),
            "merged_at": stamped(issue.merged_at) if issue.merged_at is not None else None,
            "merge_commit_sha": None,
            "merged": merged,
            "mergeable": None if merged else True,
            "mergeable_state": "unknown" if merged else "clean",
            "merged_by": None,
            "auto_merge": None,
            "draft": False,
            "review_comments": 0,
            "maintainer_can_modify": False,
            "commits": 1,
            "additions": 1,
            "deletions": 0,
            "changed_files": 1,
        }

    def _head(self, issue: Issue) -> str:
        return self._state.refs.get(f"heads/{issue.head}", "0" * 40)

    def _end(self, branch: str, sha: str) -> Table:
        owner = self._state.account(self._state.owner)
        return {
            "label": f"{owner.login}:{branch}",
            "ref": branch,
            "sha": sha,
            "user": self.account(owner),
            "repo": self.repository(),
        }

    def review(self, issue: Issue, review: Review) -> Table:
        """Return a review."""
        page = f"{self._page}/pull/{issue.number}#pullrequestreview-{review.id}"
        pull = f"{self._repo}/pulls/{issue.number}"
        return {
            "id": review.id,
            "node_id": node("PRR", review.id),
            "user": self.account(review.author),
            "body": review.body,
            "state": review.state,
            "html_url": page,
            "pull_request_url": pull,
            "_links": {"html": {"href": page}, "pull_request": {"href": pull}},
            "submitted_at": stamped(review.submitted_at),
            "commit_id": review.commit,
            "author_association": "MEMBER",
        }

    def repository(self) -> Table:
        """Return the repository."""
        owner = self._state.account(self._state.owner)
        begun = stamped(self._state.now)
        flags: Table = dict.fromkeys(
            ("fork", "private", "archived", "disabled", "has_pages", "has_wiki", "is_template"), False
        )
        return {
            "id": 1,
            "node_id": node("R", 1),
            "name": self._state.name,
            "full_name": self._state.full_name,
            "owner": self.account(owner),
            "html_url": self._page,
            "description": None,
            "url": self._repo,
            **{f"{name}_url": f"{self._repo}/{name}" for name in _REPOSITORY_LINKS},
            "git_url": "git://github.test/demo.git",
            "ssh_url": "git@github.test:demo.git",
            "clone_url": f"{self._page}.git",
            "svn_url": self._page,
            "mirror_url": None,
            "homepage": None,
            "language": None,
            "default_branch": "main",
            **flags,
            "has_issues": True,
            "has_projects": False,
            "has_downloads": False,
            "has_discussions": False,
            "forks": 0,
            "forks_count": 0,
            "stargazers_count": 0,
            "watchers": 0,
            "watchers_count": 0,
            "subscribers_count": 0,
            "network_count": 0,
            "size": 1,
            "open_issues": 0,
            "open_issues_count": 0,
            "license": None,
            "visibility": "public",
            "pushed_at": begun,
            "created_at": begun,
            "updated_at": begun,
        }

    def permission(self, account: Account) -> Table:
        """Return what somebody may do here."""
        role = account.permission
        basic = {"maintain": "write", "triage": "read"}.get(role, role)
        return {"permission": basic, "role_name": role, "user": {**self.account(account), "role_name": role}}

    # --- git

    def ref(self, name: str) -> Table:
        """Return a ref and the object that it names."""
        sha = self._state.refs[name]
        kind = "tag" if sha in self._state.tags else "commit"
        return {
            "ref": f"refs/{name}",
            "node_id": "REF_1",
            "url": f"{self._repo}/git/refs/{name}",
            "object": {"type": kind, "sha": sha, "url": f"{self._repo}/git/{kind}s/{sha}"},
        }

    def git_commit(self, commit: Commit) -> Table:
        """Return a commit of the git data."""
        who: Table = {"name": commit.author, "email": f"{commit.author}@github.test", "date": stamped(commit.at)}
        return {
            "sha": commit.sha,
            "node_id": node("C", 1),
            "url": f"{self._repo}/git/commits/{commit.sha}",
            "html_url": f"{self._page}/commit/{commit.sha}",
            "author": who,
            "committer": who,
            "message": commit.message,
            "tree": {"sha": commit.tree, "url": f"{self._repo}/git/trees/{commit.tree}"},
            "parents": [self._parent(commit.parent)] if commit.parent is not None else [],
            "verification": {
                "verified": False,
                "reason": "unsigned",
                "signature": None,
                "payload": None,
                "verified_at": None,
            },
        }

    def commit(self, commit: Commit) -> Table:
        """Return a commit as listings do."""
        inner = self.git_commit(commit)
        return {
            "sha": commit.sha,
            "node_id": node("C", 1),
            "url": f"{self._repo}/commits/{commit.sha}",
            "html_url": inner["html_url"],
            "comments_url": f"{self._repo}/commits/{commit.sha}/comments",
            "commit": {
                **{name: inner[name] for name in ("author", "committer", "message", "tree", "verification")},
                "url": inner["url"],
                "comment_count": 0,
            },
            "author": None,
            "committer": None,
            "parents": inner["parents"],
        }

    def _parent(self, sha: str) -> Table:
        return {"sha": sha, "url": f"{self._repo}/git/commits/{sha}", "html_url": f"{self._page}/commit/{sha}"}

    def tree(self, sha: str) -> Table:
        """Return a tree."""
        entries: list[Json] = [
            {"path": path, "mode": "100644", "type": "blob", "sha": "0" * 40, "size": len(content)}
            for path, content in sorted(self._state.trees[sha].items())
        ]
        return {"sha": sha, "url": f"{self._repo}/git/trees/{sha}", "tree": entries, "truncated": False}

    def tag(self, tag: Tag) -> Table:
        """Return an annotated tag."""
        return {
            "node_id": "TA_1",
            "tag": tag.name,
            "sha": tag.sha,
            "url": f"{self._repo}/git/tags/{tag.sha}",
            "message": tag.message,
            "tagger": {"date": stamped(tag.at), "email": "octocat@github.test", "name": "octocat"},
            "object": {"type": "commit", "sha": tag.target, "url": f"{self._repo}/git/commits/{tag.target}"},
        }
