"""The routes that the fake of GitHub knows, and what each takes; anything else is refused."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from pilothouse.canonical import Json
from pilothouse.testing.forge.http import Answered
from pilothouse.testing.forge.shapes import Shapes, node, stamped
from pilothouse.testing.forge.state import Account, Issue, State

BODY_MAX = 65_536
Table: TypeAlias = Mapping[str, Json]


class Refusal(Exception):
    """A request that GitHub refuses."""

    def __init__(self, status: int, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that was let in: who asks, the variables of its path, its query and its body."""

    state: State
    shapes: Shapes
    who: Account
    at: Mapping[str, str]
    query: Mapping[str, str]
    body: Table
    now: datetime

    def text(self, name: str, *, most: int = 1 << 30, least: int = 0) -> str:
        """Return a text of the body; 422 for anything else, or for one that is too long or too short."""
        value = self.body.get(name)
        if not isinstance(value, str) or not least <= len(value) <= most:
            short = isinstance(value, str) and len(value) > most
            raise Refusal(422, f"{name} is too long (maximum is {most} characters)" if short else "Invalid", field=name)
        return value

    def issue(self) -> Issue:
        """Return the issue that the path names; 404 where there is none, 410 where it was deleted."""
        found = self.state.issues.get(int(self.at["number"])) if self.at["number"].isdigit() else None
        if found is None:
            raise Refusal(404, "Not Found")
        if found.deleted:
            raise Refusal(410, "This issue was deleted")
        return found

    def pull_request(self) -> Issue:
        """Return the pull request that the path names."""
        found = self.issue()
        if found.head is None:
            raise Refusal(404, "Not Found")
        return found

    def writer(self) -> None:
        """Refuse who may not write."""
        if self.who.permission not in {"admin", "maintain", "write"}:
            raise Refusal(403, "Resource not accessible by personal access token")


Handler: TypeAlias = Callable[[Call], Answered]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route: what its query and its body may hold."""

    method: str
    path: str
    handler: Handler
    query: frozenset[str] = frozenset()
    body: frozenset[str] = frozenset()

    def match(self, method: str, parts: tuple[str, ...]) -> Mapping[str, str] | None:
        """Return the variables of the path, None when this is another route; `{x...}` takes all that is left."""
        pattern = self.path.strip("/").split("/")
        rest = pattern[-1].endswith("...}")
        if method != self.method or (len(parts) < len(pattern) if rest else len(parts) != len(pattern)):
            return None
        at: dict[str, str] = {}
        for index, (want, have) in enumerate(zip(pattern, parts, strict=False)):
            if want.endswith("...}"):
                at[want[1:-4]] = "/".join(parts[index:])
            elif want.startswith("{"):
                at[want[1:-1]] = have
            elif want != have:
                return None
        return at


def _ok(body: Json, status: int = 200) -> Answered:
    return Answered(status=status, body=body)


def _listed(call: Call, found: list[Json]) -> Answered:
    """Return one page of a listing, with the links to the next."""
    size = min(int(call.query.get("per_page", "30")), 100)
    page = int(call.query.get("page", "1"))
    shown = found[(page - 1) * size : page * size]
    more = len(found) > page * size
    return Answered(status=200, body=shown, headers={"x-more": "1"} if more else {})


def _since(call: Call) -> datetime:
    told = call.query.get("since", "1970-01-01T00:00:00Z")
    return datetime.fromisoformat(told).astimezone(UTC)


# --- issues


def _issues(call: Call) -> Answered:
    state, creator = call.query.get("state", "open"), call.query.get("creator", "").casefold()
    wanted = {label.casefold() for label in call.query.get("labels", "").split(",") if label}
    found = [
        issue
        for issue in call.state.issues.values()
        if not issue.deleted
        and state in {"all", issue.state}
        and creator in {"", issue.author.login.casefold()}
        and wanted <= {label.casefold() for label in issue.labels}
        and issue.updated_at.replace(microsecond=0) >= _since(call)
    ]
    found.sort(key=lambda issue: issue.number, reverse=True)
    return _listed(call, [call.shapes.issue(issue) for issue in found])


def _labels_of(call: Call) -> list[str]:
    told = call.body.get("labels", [])
    if isinstance(told, str) or not isinstance(told, list) or not all(isinstance(each, str) for each in told):
        raise Refusal(422, "Invalid", field="labels")
    return [str(each) for each in told]


def _create_issue(call: Call) -> Answered:
    labels = _labels_of(call)
    title, body = call.text("title", least=1, most=256), call.text("body", most=BODY_MAX)
    issue = call.state.add_issue(call.who, title=title, body=body, now=call.now)
    if call.who.permission in {"admin", "maintain", "write"}:
        issue.labels = _known(call.state, labels)
    return _ok(call.shapes.issue(issue), 201)


def _edit_issue(call: Call) -> Answered:
    issue = call.issue()
    call.writer()
    _edit(call, issue, states={"open", "closed"})
    if call.body.get("state_reason") not in {None, "completed", "not_planned", "reopened"}:
        raise Refusal(422, "Invalid", field="state_reason")
    reason = call.body.get("state_reason")
    issue.reason = str(reason) if reason is not None else issue.reason
    return _ok(call.shapes.issue(issue))


def _edit(call: Call, issue: Issue, *, states: set[str]) -> None:
    if "state" in call.body and call.body["state"] not in states:
        raise Refusal(422, "Invalid", field="state")
    if "title" in call.body:
        issue.title = call.text("title", least=1, most=256)
    if "body" in call.body:
        issue.body = call.text("body", most=BODY_MAX)
    if "state" in call.body:
        issue.state = str(call.body["state"])
    issue.updated_at = call.now


def _comments(call: Call) -> Answered:
    issue = call.issue()
    found = [each for each in issue.comments if each.updated_at.replace(microsecond=0) >= _since(call)]
    return _listed(call, [call.shapes.comment(issue, each) for each in found])


def _create_comment(call: Call) -> Answered:
    issue = call.issue()
    if issue.locked:
        raise Refusal(403, "Unable to create comment because issue is locked.")
    comment = call.state.add_comment(issue, call.who, call.text("body", least=1, most=BODY_MAX), now=call.now)
    return _ok(call.shapes.comment(issue, comment), 201)


def _issue_labels(call: Call) -> Answered:
    return _listed(call, [call.shapes.label(name) for name in call.issue().labels])


def _add_labels(call: Call) -> Answered:
    issue = call.issue()
    call.writer()
    there = {label.casefold() for label in issue.labels}
    issue.labels += [name for name in _known(call.state, _labels_of(call)) if name.casefold() not in there]
    issue.updated_at = call.now
    return _ok([call.shapes.label(name) for name in issue.labels])


def _known(state: State, labels: list[str]) -> list[str]:
    """Return the labels as the repository spells them: it tells no case apart."""
    spelt = {name.casefold(): name for name in state.labels}
    return [spelt.get(name.casefold(), name) for name in labels]


def _remove_label(call: Call) -> Answered:
    issue = call.issue()
    call.writer()
    kept = [label for label in issue.labels if label.casefold() != call.at["label"].casefold()]
    if len(kept) == len(issue.labels):
        raise Refusal(404, "Label does not exist")
    issue.labels = kept
    issue.updated_at = call.now
    return _ok([call.shapes.label(name) for name in kept])


# --- pull requests


def _pulls(call: Call) -> Answered:
    state, head = call.query.get("state", "open"), call.query.get("head", "")
    found = [
        issue
        for issue in call.state.issues.values()
        if issue.head is not None
        and state in {"all", issue.state}
        and head in {"", f"{call.state.owner}:{issue.head}"}
        and call.query.get("base", issue.base) == issue.base
    ]
    return _listed(call, [call.shapes.pull_request(issue) for issue in reversed(found)])


def _create_pull(call: Call) -> Answered:
    head, base = call.text("head"), call.text("base")
    for name, branch in (("head", head), ("base", base)):
        if f"heads/{branch}" not in call.state.refs:
            raise Refusal(422, "Validation Failed", field=name)
    if any(each.head == head and each.state == "open" for each in call.state.issues.values()):
        raise Refusal(422, f"A pull request already exists for {call.state.owner}:{head}.")
    if call.state.refs[f"heads/{head}"] == call.state.refs[f"heads/{base}"]:
        raise Refusal(422, f"No commits between {base} and {head}")
    title, body = call.text("title", least=1, most=256), call.text("body", most=BODY_MAX)
    issue = call.state.add_issue(call.who, title=title, body=body, now=call.now)
    issue.head, issue.base = head, base
    return _ok(call.shapes.pull_request(issue), 201)


def _edit_pull(call: Call) -> Answered:
    issue = call.pull_request()
    call.writer()
    _edit(call, issue, states={"open", "closed"})
    return _ok(call.shapes.pull_request(issue))


def _reviews(call: Call) -> Answered:
    issue = call.pull_request()
    return _listed(call, [call.shapes.review(issue, each) for each in issue.reviews])


def _permission(call: Call) -> Answered:
    found = call.state.accounts.get(call.at["login"].casefold())
    if found is None:
        raise Refusal(404, f"{call.at['login']} is not a user")
    return _ok(call.shapes.permission(found))


def _graphql(call: Call) -> Answered:
    """Answer the one question that is asked in the query language: when a review was edited."""
    if "lastEditedAt" not in call.text("query"):
        raise Refusal(400, "A query attribute must be specified and must be a string.")
    variables = call.body.get("variables")
    wanted = variables.get("node") if isinstance(variables, Mapping) else None
    for issue in call.state.issues.values():
        for each in issue.reviews:
            if node("PRR", each.id) == wanted:
                edited = None if each.edited_at is None else stamped(each.edited_at)
                return _ok({"data": {"node": {"id": str(wanted), "lastEditedAt": edited}}})
    return _ok({"data": {"node": None}, "errors": [{"type": "NOT_FOUND", "path": ["node"]}]})


# --- git


def _ref(call: Call) -> Answered:
    if call.at["ref"] not in call.state.refs:
        raise Refusal(404, "Not Found")
    return _ok(call.shapes.ref(call.at["ref"]))


def _object(call: Call) -> str:
    sha = call.text("sha")
    if sha not in call.state.commits and sha not in call.state.tags:
        raise Refusal(422, "Object does not exist")
    return sha


def _create_ref(call: Call) -> Answered:
    call.writer()
    name = call.text("ref")
    if not name.startswith(("refs/heads/", "refs/tags/")):
        raise Refusal(422, "Reference name must start with 'refs/heads/' or 'refs/tags/'")
    short, sha = name.removeprefix("refs/"), _object(call)
    if short in call.state.refs:
        raise Refusal(422, "Reference already exists")
    call.state.refs[short] = sha
    return _ok(call.shapes.ref(short), 201)


def _move_ref(call: Call) -> Answered:
    call.writer()
    name, sha = call.at["ref"], _object(call)
    if name not in call.state.refs:
        raise Refusal(422, "Reference does not exist")
    if name in call.state.protected:
        raise Refusal(422, "Changes must be made through a pull request.")
    known = {commit.sha for commit in call.state.history(sha)} if sha in call.state.commits else set()
    if call.state.refs[name] not in known and call.body.get("force") is not True:
        raise Refusal(422, "Update is not a fast forward")
    call.state.refs[name] = sha
    return _ok(call.shapes.ref(name))


def _git_commit(call: Call) -> Answered:
    found = call.state.commits.get(call.at["sha"])
    if found is None:
        raise Refusal(404, "Not Found")
    return _ok(call.shapes.git_commit(found))


def _create_commit(call: Call) -> Answered:
    call.writer()
    tree, parents = call.text("tree"), call.body.get("parents")
    if tree not in call.state.trees:
        raise Refusal(422, "Tree SHA does not exist")
    if not isinstance(parents, list) or len(parents) != 1 or parents[0] not in call.state.commits:
        raise Refusal(422, "Parent SHA does not exist or is not a commit object")
    message = call.text("message", least=1)
    commit = call.state.add_commit(
        tree=tree, parent=str(parents[0]), message=message, at=call.now, author=call.who.login
    )
    return _ok(call.shapes.git_commit(commit), 201)


def _create_tree(call: Call) -> Answered:
    call.writer()
    base, entries = call.text("base_tree"), call.body.get("tree")
    if base not in call.state.trees:
        raise Refusal(404, "Not Found")
    files = dict(call.state.trees[base])
    if not isinstance(entries, list) or not entries:
        raise Refusal(422, "Invalid tree info")
    for entry in entries:
        _apply(files, entry)
    return _ok(call.shapes.tree(call.state.add_tree(files)), 201)


def _apply(files: dict[str, str], entry: Json) -> None:
    match entry:
        case {"path": str(path), "mode": "100644", "type": "blob", "content": str(content), **rest} if not rest:
            files[path] = content
        case {"path": str(path), "mode": "100644", "type": "blob", "sha": None, **rest} if not rest:
            if path not in files:
                raise Refusal(422, "GitRPC::BadObjectState")
            del files[path]
        case _:
            raise Refusal(422, "Must supply either tree.sha or tree.content")


def _tag(call: Call) -> Answered:
    found = call.state.tags.get(call.at["sha"])
    if found is None:
        raise Refusal(404, "Not Found")
    return _ok(call.shapes.tag(found))


def _create_tag(call: Call) -> Answered:
    call.writer()
    target = call.text("object")
    if target not in call.state.commits or call.text("type") != "commit":
        raise Refusal(422, "Could not verify object")
    tag = call.state.add_tag(name=call.text("tag"), message=call.text("message"), target=target, at=call.now)
    return _ok(call.shapes.tag(tag), 201)


def _commits(call: Call) -> Answered:
    start = call.query.get("sha", "main")
    sha = call.state.refs.get(f"heads/{start}", start)
    if sha not in call.state.commits:
        raise Refusal(404, f"No commit found for SHA: {start}")
    found = [each for each in call.state.history(sha) if each.at.replace(microsecond=0) >= _since(call)]
    return _listed(call, [call.shapes.commit(each) for each in found])


def _contents(call: Call) -> Answered:
    ref = call.query.get("ref", "main")
    sha = call.state.refs.get(f"heads/{ref}", ref)
    content = call.state.files(sha).get(call.at["path"]) if sha in call.state.commits else None
    if content is None:
        raise Refusal(404, "Not Found")
    raw = content.encode()
    told: dict[str, Json] = {
        "type": "file",
        "encoding": "base64",
        "size": len(raw),
        "path": call.at["path"],
        "sha": "0" * 40,
    }
    return _ok({**told, "content": base64.b64encode(raw).decode()})


_AT = "/repos/{owner}/{repo}"
_PAGES = frozenset({"per_page", "page"})
_ISSUE_QUERY = _PAGES | {"state", "creator", "since", "labels", "sort", "direction"}


def _route(method: str, path: str, handler: Handler, *, query: frozenset[str] = frozenset(), body: str = "") -> Route:
    full = path if path.startswith(("/user", "/graphql")) else f"{_AT}{path}"
    return Route(method=method, path=full, handler=handler, query=query, body=frozenset(body.split()))


ROUTES = (
    _route("GET", "/user", lambda call: _ok(call.shapes.owner(call.who))),
    _route("POST", "/graphql", _graphql, body="query variables"),
    _route("GET", "", lambda call: _ok(call.shapes.repository())),
    _route("GET", "/issues", _issues, query=_ISSUE_QUERY),
    _route("POST", "/issues", _create_issue, body="title body labels"),
    _route("GET", "/issues/{number}", lambda call: _ok(call.shapes.issue(call.issue()))),
    _route("PATCH", "/issues/{number}", _edit_issue, body="title body state state_reason"),
    _route("GET", "/issues/{number}/comments", _comments, query=_PAGES | {"since"}),
    _route("POST", "/issues/{number}/comments", _create_comment, body="body"),
    _route("GET", "/issues/{number}/labels", _issue_labels, query=_PAGES),
    _route("POST", "/issues/{number}/labels", _add_labels, body="labels"),
    _route("DELETE", "/issues/{number}/labels/{label}", _remove_label),
    _route("GET", "/pulls", _pulls, query=_PAGES | {"state", "head", "base"}),
    _route("POST", "/pulls", _create_pull, body="title body head base"),
    _route("GET", "/pulls/{number}", lambda call: _ok(call.shapes.pull_request(call.pull_request()))),
    _route("PATCH", "/pulls/{number}", _edit_pull, body="title body state base"),
    _route("GET", "/pulls/{number}/reviews", _reviews, query=_PAGES),
    _route("GET", "/collaborators/{login}/permission", _permission),
    _route("GET", "/git/ref/{ref...}", _ref),
    _route("POST", "/git/refs", _create_ref, body="ref sha"),
    _route("PATCH", "/git/refs/{ref...}", _move_ref, body="sha force"),
    _route("GET", "/git/commits/{sha}", _git_commit),
    _route("POST", "/git/commits", _create_commit, body="message tree parents"),
    _route("POST", "/git/trees", _create_tree, body="base_tree tree"),
    _route("GET", "/git/tags/{sha}", _tag),
    _route("POST", "/git/tags", _create_tag, body="tag message object type"),
    _route("GET", "/commits", _commits, query=_PAGES | {"sha", "since", "until", "path"}),
    _route("GET", "/contents/{path...}", _contents, query=frozenset({"ref"})),
)
