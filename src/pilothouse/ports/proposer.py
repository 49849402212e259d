"""Where a campaign's proposals come from."""

from __future__ import annotations

from typing import Protocol

from pilothouse.proposals.search import Search, Suggestion


class Proposer(Protocol):
    """A source of proposals: a rule, an optimiser or an agent."""

    def propose(self, search: Search) -> Suggestion | None:
        """Return the next change to try, or None when nothing is left to try.

        The same search gives the same suggestion where the source allows it, so a loop that was killed goes on alike.
        """
        ...
