"""Packed states."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.programs.forty_two import reference
from pilothouse.programs.forty_two.packing import ROOT, pack, unpack


@given(st.lists(st.integers(min_value=0, max_value=2**41 - 1), min_size=1, max_size=50))
def test_pack_inverts_unpack(states: list[int]) -> None:
    """All 41 bits come back."""
    packed = np.array(states, dtype=np.int64)
    assert np.array_equal(pack(unpack(packed)), packed)


def test_the_opening() -> None:
    """Full hands, seat 0 to lead, nothing played."""
    parts = unpack(np.array([ROOT]))
    assert reference.OPENING.packed() == ROOT
    assert parts.hands.tolist() == [[127] * 4]
    assert (parts.leader[0], parts.trick_len[0], parts.mover[0], parts.left[0]) == (0, 0, 0, 28)
    assert parts.plays.tolist() == [[7, 7, 7]]


def test_mover_follows_the_leader_around_the_table() -> None:
    """Seat 3 led and two have played, so seat 1 is to move with 26 dominoes left."""
    _, position = reference.Reference(hands=[[(6, 6)] * 7] * 4, declaration=9).play(
        reference.Position(hands=reference.OPENING.hands, trick=(), leader=3), 2
    )
    hands = (position.hands[0] - {5}, *position.hands[1:])
    after = reference.Position(hands=hands, trick=(*position.trick, (0, 5)), leader=3)
    parts = unpack(np.array([after.packed()]))
    assert (parts.mover[0], parts.left[0], parts.trick_len[0]) == (1, 26, 2)
    assert parts.plays.tolist() == [[2, 5, 7]]
    assert parts.hands.tolist() == [[127 - 32, 127, 127, 127 - 4]]
