"""The forge as it is read: what people have said about a pull request, and where its head is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pilothouse.errors import OperationFailed
from pilothouse.proposals.forge_approval import Remark


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequestSeen:
    """A pull request as it is now; `is_open` and `is_merged` are never both true."""

    number: int
    head: str
    is_open: bool
    is_merged: bool
    remarks: tuple[Remark, ...]


class ForgeBusy(OperationFailed):
    """The forge asks for patience, for so many seconds; None where it does not say how many."""

    def __init__(self, message: str, *, fix: str, seconds: float | None) -> None:
        super().__init__(message, fix=fix)
        self.seconds = seconds


class Forge(Protocol):
    """Read anew whenever it is asked: nothing that a webhook said is believed."""

    @property
    def approvers(self) -> frozenset[str]:
        """The logins whose word counts, in lower case."""
        ...

    def pull_request(self, number: int, *, worth_reading: Sequence[str]) -> PullRequestSeen | None:
        """Return a pull request with those of its comments and reviews that hold one of these words.

        None where it is gone. `ForgeBusy` when nothing at all is to be asked for now, `OperationFailed` when the forge
        does not answer.
        """
        ...
