"""The ledger never grants more than was promised, and gives back only what confirmed changes had spent."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.errors import BadValue
from pilothouse.evidence.stream import ledger


def test_a_night_of_a_hundred_spends_nine_tenths_of_the_promise() -> None:
    book = ledger()
    for _ in range(100):
        book = book.charged(book.grant())

    assert book.spent == pytest.approx(0.09)


@given(st.lists(st.booleans(), max_size=400), st.floats(0.01, 1.0))
def test_what_is_granted_never_exceeds_promise_and_refunds(confirmed: list[bool], promised: float) -> None:
    book = ledger(promised=promised)
    granted = refunded = 0.0
    for good in confirmed:
        level = book.grant()
        assert 0 < level <= book.left
        book = book.charged(level)
        granted += level
        if good:
            book = book.confirmed(level)
            refunded += level

        assert granted <= promised + refunded + 1e-9
        assert book.charged_in_all == pytest.approx(granted)
        assert book.given_back == pytest.approx(refunded)
        assert book.left >= -1e-12


def test_the_levels_never_rise_without_a_confirmed_change() -> None:
    book = ledger()
    levels = []
    for _ in range(350):
        levels.append(book.grant())
        book = book.charged(levels[-1])

    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(levels))
    assert sum(levels) <= 0.1


def test_more_than_is_left_cannot_be_spent() -> None:
    with pytest.raises(BadValue, match="never granted"):
        ledger().charged(0.2)
    with pytest.raises(BadValue, match="promised"):
        ledger(promised=0.0)
