"""Where a proposal's material comes from: the history of the code, and the issues of a forge."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from pilothouse.proposals.window import Commits, IssueSeen


class History(Protocol):
    """The history of the working folder's code; a folder without one has none, which is said."""

    def since(self, commit: str) -> Commits:
        """Return what is in the code now and was not in that commit, by ancestry; an empty one asks for the head."""
        ...

    def read(self, path: str) -> str | None:
        """Return the text of a file of the repository as it is in the working folder, None where there is none."""
        ...


class Issues(Protocol):
    """The issues of a forge; where none is configured there are none, which is said."""

    @property
    def name(self) -> str:
        """Where issues are looked for, or why nowhere, in words."""
        ...

    def labelled(self, label: str, *, since: datetime | None) -> tuple[IssueSeen, ...]:
        """Return the open issues with the label that were updated since, newest first."""
        ...
