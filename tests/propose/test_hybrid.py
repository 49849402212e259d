"""Two sources take turns by the seed, and the base stands in with the reason kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from tests.proposals.searches import TRAINING, search_of

from pilothouse.errors import BadValue, OperationFailed, StorageFailed
from pilothouse.proposals.one_axis import OneAxis
from pilothouse.proposals.random_search import RandomSearch
from pilothouse.proposals.search import Search, Suggestion
from pilothouse.propose.hybrid import SHARE, Hybrid


@dataclass(frozen=True)
class Silent:
    """A source with nothing to say."""

    def propose(self, search: Search) -> Suggestion | None:
        """Return nothing."""
        return None if search.knobs else RandomSearch().propose(search)


@dataclass(frozen=True)
class Broken:
    """A source that fails."""

    problem: Exception

    def propose(self, search: Search) -> Suggestion | None:
        """Raise what is wrong with it."""
        assert search.knobs
        raise self.problem


def test_about_three_of_ten_are_overridden() -> None:
    """Drawn by the seed: the same search asks the same source again."""
    hybrid = Hybrid(base=OneAxis(), overriding=RandomSearch())
    sources = []
    for seed in range(400):
        suggestion = hybrid.propose(search_of(TRAINING, seed=seed))
        assert suggestion is not None
        assert hybrid.propose(search_of(TRAINING, seed=seed)) == suggestion
        sources.append(suggestion.source)

    assert set(sources) == {"agent", "one-axis"}
    assert SHARE - 0.08 < sources.count("agent") / len(sources) < SHARE + 0.08


@pytest.mark.parametrize(("share", "source"), [(0.0, "one-axis"), (1.0, "agent")])
def test_a_share_may_be_all_or_nothing(share: float, source: str) -> None:
    """And anything in between."""
    hybrid = Hybrid(base=OneAxis(), overriding=RandomSearch(), share=share)
    found = [hybrid.propose(search_of(TRAINING, seed=seed)) for seed in range(20)]
    assert {suggestion.source for suggestion in found if suggestion is not None} == {source}


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    """When the campaign is opened."""
    with pytest.raises(BadValue, match="no share"):
        Hybrid(base=OneAxis(), overriding=RandomSearch(), share=share)


@pytest.mark.parametrize(
    ("overriding", "reason"),
    [
        (Silent(), "had nothing to propose"),
        (Broken(OperationFailed("the agent ended with code 3", fix="read its log")), "ended with code 3"),
        (Broken(FileNotFoundError(2, "No such file", "codex")), "No such file"),
        (Broken(TimeoutError("it said\n nothing   in 600 s")), "it said nothing in 600 s"),
    ],
    ids=["silent", "failed", "missing", "late"],
)
def test_the_base_stands_in_and_the_reason_is_kept(overriding: Silent | Broken, reason: str) -> None:
    """The loop goes on, and a person can read why the agent's turn was the optimiser's."""
    search = search_of(TRAINING)
    suggestion = Hybrid(base=OneAxis(), overriding=overriding, share=1).propose(search)
    plain = OneAxis().propose(search)

    assert suggestion is not None
    assert plain is not None
    assert suggestion == replace(plain, rationale=suggestion.rationale)
    assert suggestion.source == "one-axis"
    assert "agent was asked first" in suggestion.rationale
    assert reason in suggestion.rationale


def test_a_disk_that_fails_is_no_answer_of_the_agent() -> None:
    """What the agent has cost could not be kept: the base does not stand in, or nobody would be charged for it."""
    full = StorageFailed("the record cannot be written", fix="free space")
    hybrid = Hybrid(base=OneAxis(), overriding=Broken(full), share=1)

    with pytest.raises(StorageFailed):
        hybrid.answer(search_of(TRAINING))


def test_nothing_from_both_is_nothing() -> None:
    """The campaign is searched out."""
    assert Hybrid(base=Silent(), overriding=Silent(), share=1).propose(search_of(TRAINING)) is None
