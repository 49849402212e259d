"""Where a ferry's proposals find their material: the git repository of the working folder, and perhaps no forge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pilothouse.proposals.window import SHOWN_MAX, Commit, Commits, IssueSeen
from pilothouse.wiring.repository import git

_FIELD, _RECORD = "\x1f", "\x1e"
_SHA_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class GitHistory:
    """The history of the repository that a folder is part of; a folder of none has no history, which is said."""

    folder: Path

    def since(self, commit: str) -> Commits:
        """Return what is in the code now and was not in that commit, by ancestry and never by a date."""
        head = self._git("rev-parse", "--verify", "HEAD")
        if head is None:
            return Commits(head="unversioned", note="the working folder is in no git repository")
        base = commit[:_SHA_CHARACTERS]
        if not base:
            return Commits(head=head, note="there is no ferry before")
        if self._git("rev-parse", "--verify", f"{base}^{{commit}}") is None:
            return Commits(head=head, since=base, note=f"the last ferry's commit {base[:10]} is not in this repository")
        note = ""
        if git("merge-base", "--is-ancestor", base, head, folder=self.folder).code != 0:
            note = "the last ferry's commit is no ancestor of this one: history was rewritten, or a branch was changed"
        listed = self._listed(f"{base}..{head}")
        count = self._git("rev-list", "--count", f"{base}..{head}")
        return Commits(head=head, since=base, listed=listed, count=int(count or 0), note=note)

    def read(self, path: str) -> str | None:
        """Return the text of a file of the working folder's repository, None where it is none or lies outside."""
        top = self._git("rev-parse", "--show-toplevel")
        if top is None:
            return None
        try:
            found = (Path(top) / path).resolve()
            # As bytes, since a file that is published with other line endings has changed in every line.
            return found.read_bytes().decode("utf-8") if found.is_relative_to(Path(top).resolve()) else None
        except (OSError, UnicodeDecodeError):
            return None

    def _listed(self, span: str) -> tuple[Commit, ...]:
        out = self._git(
            "log", f"--max-count={SHOWN_MAX}", f"--format={_RECORD}%H{_FIELD}%s{_FIELD}", "--name-only", span
        )
        records = [record.split(_FIELD) for record in (out or "").split(_RECORD) if record]
        return tuple(Commit(sha=sha, subject=subject, files=tuple(files.split())) for sha, subject, files in records)

    def _git(self, *words: str) -> str | None:
        ended = git(*words, folder=self.folder)
        return ended.out if ended.code == 0 else None


@dataclass(frozen=True, slots=True)
class NoIssues:
    """No forge is configured, so there are no issues to read."""

    name: str = "no forge is configured, so no issues were read"

    def labelled(self, label: str, *, since: datetime | None) -> tuple[IssueSeen, ...]:
        """Return none."""
        del label, since
        return ()
