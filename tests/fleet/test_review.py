"""When what an attempt has made is approved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.errors import NotApproved
from pilothouse.fleet.job import Review
from pilothouse.fleet.review import Quorum, check_reviewer, quorum, standing
from pilothouse.ids import Epoch, JobNumber
from pilothouse.testing.clock import BEGIN

SAID = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=8)


def reviews(*said: tuple[str, bool]) -> list[Review]:
    return [
        Review(job=JobNumber(1), epoch=Epoch(2), reviewer=reviewer, approved=approved, reason="", at=BEGIN)
        for reviewer, approved in said
    ]


@pytest.mark.parametrize(
    ("said", "approvals", "reviewers", "expected"),
    [
        ([], 1, (), Quorum.WAITING),
        ([], 0, (), Quorum.APPROVED),
        ([("ada", True)], 1, (), Quorum.APPROVED),
        ([("ada", True)], 2, (), Quorum.WAITING),
        ([("ada", True), ("ada", True)], 2, (), Quorum.WAITING),
        ([("ada", True), ("bob", True)], 2, (), Quorum.APPROVED),
        ([("ada", True), ("bob", False)], 1, (), Quorum.REJECTED),
        ([("ada", False), ("ada", True)], 1, (), Quorum.APPROVED),
        ([("ada", True), ("ada", False)], 1, (), Quorum.REJECTED),
        ([("eve", True)], 1, ("ada",), Quorum.WAITING),
        ([("eve", False), ("ada", True)], 1, ("ada",), Quorum.APPROVED),
    ],
)
def test_examples(said: list[tuple[str, bool]], approvals: int, reviewers: tuple[str, ...], expected: Quorum) -> None:
    """One decision each, the last wins; a no is a veto; whoever is not named does not count."""
    assert quorum(reviews(*said), approvals=approvals, reviewers=reviewers) is expected


@given(said=SAID, approvals=st.integers(0, 4), named=st.sets(st.sampled_from("abcd")))
def test_the_answer_depends_on_the_last_words_that_count(
    said: list[tuple[str, bool]], approvals: int, named: set[str]
) -> None:
    """Whatever was said before, in whatever order, and by whomever else."""
    last = standing(reviews(*said), reviewers=named)

    expected = (
        Quorum.REJECTED if False in last.values() else Quorum.APPROVED if len(last) >= approvals else Quorum.WAITING
    )

    assert last == {name: ok for name, ok in dict(said).items() if not named or name in named}
    assert quorum(reviews(*sorted(last.items())), approvals=approvals, reviewers=named) is expected
    assert quorum(reviews(*said), approvals=approvals, reviewers=named) is expected


@given(said=SAID, approvals=st.integers(0, 4))
def test_one_more_veto_always_rejects(said: list[tuple[str, bool]], approvals: int) -> None:
    """However many have approved."""
    assert quorum(reviews(*said, ("e", False)), approvals=approvals) is Quorum.REJECTED


def test_whoever_is_not_named_is_turned_away() -> None:
    """With the names of those who may decide; without names everybody may."""
    check_reviewer("eve", reviewers=())
    check_reviewer("ada", reviewers=("bob", "ada"))
    with pytest.raises(NotApproved, match="eve is no reviewer") as caught:
        check_reviewer("eve", reviewers=("bob", "ada"))

    assert "one of ada, bob" in caught.value.fix
