"""Two sources that take turns: an optimiser, and somebody who may speak over it for a share of the proposals.

The share is small on purpose. Published comparisons found a model that overrides about three of ten proposals of an
optimiser better than either alone, and more overriding worse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pilothouse.errors import BadValue, PilothouseError, StorageFailed
from pilothouse.ports.proposer import Answered, Proposer, Stopped, answer_of, never
from pilothouse.proposals.draws import Draws
from pilothouse.proposals.search import Search, Suggestion

SHARE = 0.3
"""The share of the proposals that the overriding source is asked for."""

REASON_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Hybrid:
    """Asks `overriding` for a share of the proposals and `base` for the rest.

    Which of them is asked is drawn by the search's seed, so the same proposal asks the same one again. `source` is what
    the overriding one's proposals are recorded under.
    """

    base: Proposer
    overriding: Proposer
    share: float = SHARE
    source: str = "agent"

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise BadValue(f"a share of {self.share!r} is no share", fix="give a number from 0 to 1, such as 0.3")

    def propose(self, search: Search) -> Suggestion | None:
        """Return a suggestion; where the overriding source has none, the base's, with the reason kept beside it."""
        return self.answer(search).suggestion

    def answer(self, search: Search, stopped: Stopped = never) -> Answered:
        """Return the suggestion with what came of asking the overriding source, if it was asked.

        Where its run could not be kept, `StorageFailed` says so: nobody would be charged for it, and it is asked again.
        """
        if not overrides(search.seed, self.share):
            return Answered(suggestion=self.base.propose(search))
        try:
            asked = answer_of(self.overriding, search, stopped)
        except StorageFailed:
            raise
        except (PilothouseError, OSError) as problem:
            return Answered(suggestion=self._instead(search, f"failed: {_words(problem)}"))
        if asked.refusal is not None:
            return replace(asked, suggestion=self._instead(search, f"failed: {_words(asked.refusal)}"))
        if asked.suggestion is None:
            return replace(asked, suggestion=self._instead(search, "had nothing to propose"))
        return replace(asked, suggestion=replace(asked.suggestion, source=self.source))

    def _instead(self, search: Search, why: str) -> Suggestion | None:
        """Return the base's suggestion, which says why it is not the other's."""
        suggestion = self.base.propose(search)
        if suggestion is None:
            return None
        told = f"{suggestion.rationale}; {self.source} was asked first and {why}"
        return replace(suggestion, rationale=told)


def overrides(seed: int, share: float) -> bool:
    """Whether the proposal of this seed is the overriding source's."""
    return Draws(seed, "hybrid").fraction() < share


def _words(problem: PilothouseError | OSError) -> str:
    text = problem.message if isinstance(problem, PilothouseError) else str(problem)
    return " ".join(text.split())[:REASON_CHARACTERS]
