"""Commits on a branch, and the tags that seal them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from pilothouse.logbook import marks
from pilothouse.logbook.letter import Posted
from pilothouse.ports.channel import Delivered, Gate, Later, Outcome, Refused
from pilothouse.publish import fields
from pilothouse.publish.github.faults import Missing, Unacceptable
from pilothouse.publish.github.repository import Repository

SHA = re.compile(r"^[0-9a-f]{40}$")
LOOKED_AT = 50
"""So many of a branch's newest commits may be younger than one of ours whose outcome is not known."""
OVERTAKEN = re.compile(r"fast.?forward|already exists", re.IGNORECASE)
"""GitHub's words where a branch has moved or was made meanwhile."""
OVERTAKEN_SECONDS = 5.0
UNPUSHED_SECONDS = 60.0
"""How soon it is looked again whether somebody has pushed a commit that is built on or sealed."""
WAITED_TRIES_MAX = 174
"""So often a letter waits for what people have to push, at last once an hour: for about a week."""


def commit(repository: Repository, posted: Posted, gate: Gate) -> Outcome:
    """Put one commit on a branch, which is made from `base` where there is none; one that is there counts."""
    body = posted.letter.body
    branch, base = fields.text(body, "branch"), fields.text(body, "base")
    head = repository.ref(f"heads/{branch}")
    if head is not None and posted.tries > 1 and (found := _ours(repository, posted, branch)):
        return _committed(repository, found, branch)
    parent = fields.text(head, "sha") if head is not None else _base(repository, base)
    if not parent:
        # To a token that does not see the repository every branch is missing; this raises then.
        repository.itself()
        return Refused(why=f"the branch {branch} has no base: there is no {base}")
    try:
        tree_there = fields.text(repository.commit(parent), "tree", "sha")
    except Missing:
        repository.itself()
        return waited(posted, why=f"GitHub has no commit {parent[:12]} to build {branch} on: push it")
    tree = repository.create_tree(tree_there, _files(fields.table(body, "files")), gate)
    message = _message(posted)
    made = fields.text(repository.create_commit(message, tree=tree, parent=parent, gate=gate), "sha")
    try:
        if head is None:
            repository.create_ref(f"heads/{branch}", made, gate)
        else:
            repository.move_ref(f"heads/{branch}", made, gate)
    except Unacceptable as fault:
        if fault.status != HTTPStatus.CONFLICT and not OVERTAKEN.search(fault.message):
            # A rule of the repository, in whatever words: a branch that is protected, a name that is not allowed.
            return Refused(why=fault.message)
        # Somebody was faster: the next try builds on what stands there then.
        return waited(posted, why=fault.message, seconds=OVERTAKEN_SECONDS)
    return _committed(repository, made, branch)


def tag(repository: Repository, posted: Posted, about: Posted | None, gate: Gate) -> Outcome:
    """Seal a commit by an annotated tag; a tag never moves, so one that seals another commit is a refusal."""
    body = posted.letter.body
    name = fields.text(body, "tag")
    target = fields.text(body, "commit") or (fields.text(about.answer, "sha") if about is not None else "")
    if not SHA.match(target):
        return Refused(why=f"the tag {name} seals no commit: {target[:60]!r}")
    there = repository.ref(f"tags/{name}")
    if there is None:
        try:
            repository.commit(target)
        except Missing:
            repository.itself()
            return waited(posted, why=f"GitHub has no commit {target[:12]} to seal with {name}: push it")
        made = repository.create_tag(name, message=_message(posted), commit=target, gate=gate)
        repository.create_ref(f"tags/{name}", made, gate)
        return _sealed(name, made, target)
    sha = fields.text(there, "sha")
    annotated = fields.text(there, "type") == "tag"
    sealed = fields.text(repository.tag(sha), "object", "sha") if annotated else sha
    if sealed != target or not annotated:
        return Refused(why=f"the tag {name} is there already, and seals {sealed[:12]} instead of {target[:12]}")
    return _sealed(name, sha, target)


def waited(posted: Posted, *, why: str, seconds: float = UNPUSHED_SECONDS) -> Outcome:
    """Return that a letter waits for what somebody else has to bring, or that nobody has brought it for a week."""
    if posted.tries > WAITED_TRIES_MAX:
        return Refused(why=f"{why}; given up after {posted.tries} tries")
    return Later(seconds=seconds, why=why, alone=True)


def _sealed(name: str, made: str, target: str) -> Delivered:
    return Delivered(remote=name, answer={"tag": name, "object": made, "commit": target})


def _message(posted: Posted) -> str:
    """Return the message of a commit or a tag, which names nobody and closes nothing, with the letter's trailer."""
    text = marks.quiet(marks.unmarked(fields.text(posted.letter.body, "message")))
    return f"{text.rstrip()}\n\n{marks.trailer(posted.letter)}"


def _ours(repository: Repository, posted: Posted, branch: str) -> str:
    """Return the sha of the commit that carries the letter's trailer, "" where there is none."""
    line = marks.trailer(posted.letter)
    for count, each in enumerate(repository.commits(sha=branch)):
        if count >= LOOKED_AT:
            break
        if fields.text(each, "commit", "message").rstrip().endswith(line):
            return fields.text(each, "sha")
    return ""


def _base(repository: Repository, base: str) -> str:
    if SHA.match(base):
        return base
    found = repository.ref(f"heads/{base}")
    return "" if found is None else fields.text(found, "sha")


def _files(told: Mapping[str, object]) -> Mapping[str, str | None]:
    return {path: content if isinstance(content, str) else None for path, content in told.items()}


def _committed(repository: Repository, sha: str, branch: str) -> Delivered:
    url = fields.text(repository.itself(), "html_url")
    return Delivered(remote=sha, answer={"sha": sha, "branch": branch, "url": f"{url}/commit/{sha}" if url else ""})
