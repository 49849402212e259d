"""What happened since the last ferry: the material from which the next one is proposed.

Everything in it was written by somebody else. It is shown and searched for the names of knobs, and never obeyed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pilothouse.canonical import Json
from pilothouse.evidence.verdict import Outcome
from pilothouse.knobs.delta import Change

SUBJECT_CHARACTERS = 200
SHOWN_MAX = 50
"""Commits, issues and incidents that are kept one by one; of more there is the count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit since the last ferry, newest first in its list."""

    sha: str
    subject: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Commits:
    """The commits that are in the code now and were not in the last ferry's, by ancestry and never by a clock.

    `note` says what a reader must know: that there is no repository, or that history was rewritten in between.
    """

    head: str
    since: str = ""
    listed: tuple[Commit, ...] = ()
    count: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueSeen:
    """An open issue with the campaign's label that was updated since the last ferry."""

    number: int
    title: str
    text: str
    url: str
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentSeen:
    """Something that went wrong since the last ferry."""

    run: str
    diagnosis: str
    detail: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LastFerry:
    """The ferry before: where its record is and what came out; `outcome` is None where it was compared with none."""

    number: int
    run: str
    commit: str
    changes: tuple[Change, ...]
    outcome: Outcome | None
    failure: str
    metrics: Mapping[str, float]
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Everything that a proposal was drafted from. `issues_from` names where issues were looked for, or says none."""

    last: LastFerry | None
    commits: Commits
    issues: tuple[IssueSeen, ...] = ()
    issues_from: str = "no forge is configured, so no issues were read"
    incidents: tuple[IncidentSeen, ...] = ()
    guidance: str = ""

    def as_json(self) -> dict[str, Json]:
        """Return what is kept of it."""
        return {
            "last": None if self.last is None else _last(self.last),
            "head": self.commits.head,
            "since": self.commits.since,
            "commits": [
                {"sha": each.sha, "subject": each.subject[:SUBJECT_CHARACTERS], "files": len(each.files)}
                for each in self.commits.listed[:SHOWN_MAX]
            ],
            "commits_count": self.commits.count,
            "commits_note": self.commits.note,
            "issues": [
                {"number": each.number, "title": each.title[:SUBJECT_CHARACTERS], "url": each.url}
                for each in self.issues[:SHOWN_MAX]
            ],
            "issues_from": self.issues_from,
            "incidents": [
                {"run": each.run, "diagnosis": each.diagnosis, "detail": each.detail[:SUBJECT_CHARACTERS]}
                for each in self.incidents[:SHOWN_MAX]
            ],
            "guidance": self.guidance,
        }


def _last(last: LastFerry) -> dict[str, Json]:
    return {
        "number": last.number,
        "run": last.run,
        "commit": last.commit,
        "outcome": None if last.outcome is None else last.outcome.value,
        "failure": last.failure,
        "changes": changes_json(last.changes),
        "links": dict(last.links),
    }


def changes_json(changes: Sequence[Change]) -> list[Json]:
    """Return exact changes as JSON values."""
    return [{"knob": each.knob, "before": each.before, "after": each.after} for each in changes]
