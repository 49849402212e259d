"""Who chooses a ferry's change, where the file lets somebody else than the rules do so."""

from __future__ import annotations

from typing import Protocol

from pilothouse.ports.proposer import Answered, Stopped, never
from pilothouse.proposals.ferry_question import FerryQuestion


class Drafter(Protocol):
    """Somebody who is given what the rules are given, and answers with a change; the rules judge the answer."""

    @property
    def source(self) -> str:
        """How its suggestions are named."""
        ...

    def draft(self, question: FerryQuestion, stopped: Stopped = never) -> Answered:
        """Return what came of asking; one that was stopped raises `AskingStopped`.

        Raises `Refused` or `OperationFailed` where nothing could be asked, and nothing was spent.
        """
        ...
