"""Bring each applied config into the repository that holds the campaign file, one commit for each, exactly once.

What was committed is noted in the home afterwards; a kill in between leaves a commit without a note, which is found by
the trailer that it carries. What the repository does not take is told once and tried again, each time after longer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pilothouse.campaigns.applied import KEY_TRAILER, Applied, applied_file
from pilothouse.wiring.repository import NotCommitted, commit_file, find_commit
from pilothouse.wiring.workspace import write_text

FIRST_PAUSE_SECONDS = 2.0
PAUSE_SECONDS_MAX = 60.0
TOLD_AT_TRY = 2
"""A lock of another git is gone by the next try, and needs no word."""


@dataclass(kw_only=True)
class AppliedCommits:
    """The commits of one campaign. `folder` holds the campaign file, `notes` what was committed so far.

    `tell` is given what is in the way of a config, with why and the mend, at the second try and at the last one.
    """

    folder: Path
    campaign: str
    notes: Path
    opened: datetime
    tell: Callable[[Applied, NotCommitted], None]
    _committed: dict[str, str] | None = None
    _tries: int = 0
    _not_before: float = field(default=0.0)

    def bring(self, applied: Sequence[Applied], *, at: float, last: bool = False) -> int:
        """Commit what is missing, oldest first, and return how many commits were made.

        `at` is a clock that never goes back; before its time comes again nothing is tried, but for the `last` look.
        """
        committed = self._read()
        missing = [each for each in applied if each.key not in committed]
        if not missing or (at < self._not_before and not last):
            return 0
        made = 0
        for each in missing:
            try:
                made += self._commit(each, committed)
            except NotCommitted as trouble:
                self._put_off(each, trouble, at=at, last=last)
                break
            self._tries = 0
        return made

    def _commit(self, applied: Applied, committed: dict[str, str]) -> int:
        found = find_commit(self.folder, line=f"{KEY_TRAILER}: {applied.key}", since=self.opened)
        path = self.folder / applied_file(self.campaign)
        commit = found or commit_file(path, text=applied.text, message=applied.message)
        committed[applied.key] = commit
        write_text(self.notes, json.dumps(committed, indent=2) + "\n")
        return int(found is None)

    def _put_off(self, applied: Applied, trouble: NotCommitted, *, at: float, last: bool) -> None:
        self._tries += 1
        self._not_before = at + min(FIRST_PAUSE_SECONDS * 2 ** (self._tries - 1), PAUSE_SECONDS_MAX)
        if last or self._tries == TOLD_AT_TRY:
            self.tell(applied, trouble)

    def _read(self) -> dict[str, str]:
        """Return the commits by the keys of what they applied; notes that are lost are made up for by the trailers."""
        if self._committed is None:
            try:
                document = json.loads(self.notes.read_bytes())
            except (OSError, ValueError):
                document = None
            noted = document.items() if isinstance(document, dict) else ()
            self._committed = {str(key): str(commit) for key, commit in noted}
        return self._committed
