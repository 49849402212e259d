"""A patch that an agent proposes for a small bug: what it may touch, and what is kept of it.

The bounds are few on purpose. A patch changes lines of text in files that are there, below paths that the campaign's
file names; it creates, removes, renames and links nothing, and changes no mode. What decides how code is run, tested or
published is never its own: whatever begins with a dot, the files of build services, and the campaign's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.proposals.answer import clean, read_reasons
from pilothouse.proposals.proposal import Risk

BRANCH = "pilothouse/patch/"
"""How the name of a patch's branch begins; the failed run's follows."""

SERVICES = frozenset(
    {
        *("jenkinsfile", "azure-pipelines.yml", "azure-pipelines.yaml", "appveyor.yml", "bitbucket-pipelines.yml"),
        *("cloudbuild.yaml", "cloudbuild.yml", "codefresh.yml", "wercker.yml", "buildspec.yml"),
    }
)
"""Files by which build services are told what to run, where their names begin with no dot."""

SHOWN = 5


class Deed(StrEnum):
    """What was done to one file of the copy."""

    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    NO_PLAIN_FILE = "replaced by a link, a folder or something else"
    MADE_EXECUTABLE = "made executable"
    NO_TEXT = "changed and is no text"
    TOO_LARGE = "made too large"
    UNSEEN = "given characters that a reader cannot see"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file that is not what it was; `executable` says that it is a program of the repository.

    `text` is the new one and `lines` counts lines added and taken away, for `CHANGED` alone.
    """

    path: str
    deed: Deed
    text: str = ""
    lines: int = 0
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Which files may change, at most by how many lines together; `kept` are files that never do."""

    paths: tuple[str, ...]
    lines: int
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """New texts by path, for the commit that they were made from, with the reasons that were given."""

    base: str
    files: Mapping[str, str]
    lines: int
    rationale: str
    risk: Risk


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchQuestion:
    """What an agent is asked that shall mend a small bug; `run` is the launch that failed, `log` the end of its log.

    `file` and `line` are where the trace ends, as far as it can be read.
    """

    run: str
    commit: str
    signature: str
    detail: str
    log: str
    bounds: Bounds
    file: str = ""
    line: int = 0


def check_changes(changes: Sequence[FileChange], bounds: Bounds) -> None:
    """Raise `BadValue` for a patch that changes nothing, or anything that it may not."""
    if not changes:
        raise BadValue("the agent's patch changes nothing", fix="mend the bug in the copy of the code")
    refused = [f"{clean(each.path)!r} {why}" for each in changes if (why := _why_not(each, bounds))]
    if refused:
        more = f", and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
        raise BadValue(
            f"the agent's patch goes beyond what it may change: {'; '.join(refused[:SHOWN])}{more}",
            fix="let a person mend it, or widen [ferry.patch] paths where that is meant",
        )
    lines = sum(each.lines for each in changes)
    if lines > bounds.lines:
        raise BadValue(
            f"the agent's patch changes {lines} lines, {bounds.lines} are allowed",
            fix="let a person mend it, or raise [ferry.patch] lines",
        )


def patch_bytes(answer: bytes, changes: Sequence[FileChange], *, base: str) -> bytes:
    """Return what is kept of a patch: the agent's reasons, and the texts that were found in its copy."""
    files: dict[str, Json] = {each.path: each.text for each in changes}
    kept: dict[str, Json] = {
        "answer": answer.decode("utf-8", "replace"),
        "base": base,
        "files": files,
        "lines": sum(each.lines for each in changes),
    }
    return json.dumps(kept, sort_keys=True).encode("ascii")


def read_patch(kept: bytes) -> Patch:
    """Return what `patch_bytes` kept; reasons that are none raise `BadValue`."""
    values = json.loads(kept)
    rationale, risk = read_reasons(values["answer"].encode("utf-8"))
    return Patch(base=values["base"], files=values["files"], lines=values["lines"], rationale=rationale, risk=risk)


def branch_of_patch(run: str) -> str:
    """Return the branch that holds the patch after this launch has failed."""
    return f"{BRANCH}{run}"


def _why_not(change: FileChange, bounds: Bounds) -> str:
    """Return why a change may not be, empty if it may."""
    if change.deed is not Deed.CHANGED:
        return f"was {change.deed}"
    if clean(change.path) != change.path:
        return "has a name that cannot be shown"
    parts = change.path.casefold().split("/")
    if any(part.startswith(".") for part in parts) or parts[-1] in SERVICES:
        return "says how code is run, tested or published"
    if change.path in bounds.kept:
        return "is the campaign's own"
    if not any(change.path == each or change.path.startswith(f"{each}/") for each in bounds.paths):
        return "is not among the paths that may change"
    return "is executable, which a commit by a forge would not keep" if change.executable else ""
