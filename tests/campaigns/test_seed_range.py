"""Golden seeds never train, and an iteration always has the same seeds."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.campaigns.seed_range import SeedRange, parse_seed_range, training_range

ranges = st.builds(lambda start, length: SeedRange(start, start + length), st.integers(0, 300), st.integers(1, 50))


@given(
    first=st.integers(0, 300),
    length=st.integers(1, 40),
    reserved=st.lists(ranges, max_size=4),
    count=st.integers(2, 12),
)
def test_chunks_avoid_every_reserved_range_and_each_other(
    first: int, length: int, reserved: list[SeedRange], count: int
) -> None:
    """Whatever is reserved, the chunks are whole, ordered, apart, and free of it."""
    chunks = [training_range(number, first=first, length=length, reserved=reserved) for number in range(1, count)]

    assert all(chunk.stop - chunk.start == length for chunk in chunks)
    assert all(not chunk.overlaps(held) for chunk in chunks for held in reserved)
    assert all(before.stop <= after.start for before, after in itertools.pairwise(chunks))
    assert chunks[0].start >= first


def test_without_reservations_the_chunks_follow_each_other() -> None:
    """The seeds of the runbook: ten an iteration, from 200 on."""
    assert str(training_range(1, first=200, length=10, reserved=())) == "200:210"
    assert str(training_range(3, first=200, length=10, reserved=())) == "220:230"


def test_a_chunk_steps_over_the_golden_seeds() -> None:
    """The iteration that would reach the golden seeds begins behind them."""
    golden = (SeedRange(900, 903),)

    assert str(training_range(1, first=895, length=10, reserved=golden)) == "903:913"


@pytest.mark.parametrize("text", ["", "5", "5:", "5:5", "9:3", "-1:4", "1:2:3", "a:b"])
def test_a_bad_range_is_named(text: str) -> None:
    """The refused text stands in the message."""
    with pytest.raises(ValueError, match=r"seed") as caught:
        parse_seed_range(text)

    assert repr(text) in str(caught.value)
