"""Where a campaign's proposals come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pilothouse.errors import PilothouseError
from pilothouse.proposals.agent_run import AgentTold
from pilothouse.proposals.search import Search, Suggestion

Stopped = Callable[[], bool]
"""Whether whoever is asked shall end at once."""


def never() -> bool:
    """Return that nobody wants an end."""
    return False


class AskingStopped(Exception):
    """Whoever was asked has ended without an answer, as it was told to; it is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A suggestion, where there is one, and what an agent did that was asked on the way.

    `told` is that agent's, `source` its name, and `refusal` says why its answer was not taken: then the suggestion, if
    there is one, is another's.
    """

    suggestion: Suggestion | None = None
    source: str = ""
    refusal: PilothouseError | None = None
    told: AgentTold | None = None


class Proposer(Protocol):
    """A source of proposals: a rule, an optimiser or an agent."""

    def propose(self, search: Search) -> Suggestion | None:
        """Return the next change to try, or None when nothing is left to try.

        The same search gives the same suggestion where the source allows it, so a loop that was killed goes on alike.
        """
        ...


@runtime_checkable
class Answering(Protocol):
    """A proposer that tells more than its suggestion."""

    def answer(self, search: Search, stopped: Stopped = never) -> Answered:
        """Return what came of asking; `stopped` is looked at all the while."""
        ...


def answer_of(proposer: Proposer, search: Search, stopped: Stopped = never) -> Answered:
    """Return what came of asking this proposer; one that was stopped raises `AskingStopped`."""
    if isinstance(proposer, Answering):
        return proposer.answer(search, stopped)
    return Answered(suggestion=proposer.propose(search))
