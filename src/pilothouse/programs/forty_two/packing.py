"""A position of one deal in 41 bits of an int64.

Bits 0-27 hold four 7-bit masks of the dominoes left in each hand (bit i is local index i of the sorted hand), 28-29 the
seat that led, 30-31 how many dominoes lie in the trick, and 32-40 three 3-bit local indices of those plays in order, 7
for none. A fourth play ends the trick at once, so it is never stored. A played domino is in no mask.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pilothouse.programs.forty_two.rules import HAND, SEATS, Bytes

States: TypeAlias = NDArray[np.int64]

FULL_MASK: Final = (1 << HAND) - 1
NO_PLAY: Final = 7
LEADER_SHIFT: Final = 28
LENGTH_SHIFT: Final = 30
PLAY_SHIFTS: Final = (32, 35, 38)
ROOT: Final = (1 << LEADER_SHIFT) - 1 | 0b111_111_111 << PLAY_SHIFTS[0]
"""The opening position: all hands full, seat 0 to lead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """Unpacked positions, one per row."""

    hands: Bytes
    """int8[n, 4]: masks of the dominoes left."""
    leader: Bytes
    """int8[n]: the seat that leads or led the trick."""
    trick_len: Bytes
    """int8[n]: 0 to 3 dominoes lie in the trick."""
    plays: Bytes
    """int8[n, 3]: local indices in the order of play, 7 for none."""

    @property
    def mover(self) -> Bytes:
        """int8[n]: the seat to play."""
        seat: Bytes = np.remainder(self.leader + self.trick_len, SEATS, dtype=np.int8)
        return seat

    @property
    def left(self) -> Bytes:
        """int8[n]: dominoes left in the four hands together."""
        left: Bytes = np.bitwise_count(self.hands).sum(axis=-1, dtype=np.int8)
        return left


def unpack(states: States) -> Positions:
    """Return the parts of packed states (int64[n])."""
    states = np.asarray(states, dtype=np.int64)
    hands = np.stack([states >> (HAND * seat) & FULL_MASK for seat in range(SEATS)], axis=-1)
    plays = np.stack([states >> shift & 7 for shift in PLAY_SHIFTS], axis=-1)
    return Positions(
        hands=hands.astype(np.int8),
        leader=(states >> LEADER_SHIFT & 3).astype(np.int8),
        trick_len=(states >> LENGTH_SHIFT & 3).astype(np.int8),
        plays=plays.astype(np.int8),
    )


def pack(positions: Positions) -> States:
    """Return the packed states (int64[n]) of positions."""
    hands = positions.hands.astype(np.int64)
    plays = positions.plays.astype(np.int64)
    states = positions.leader.astype(np.int64) << LEADER_SHIFT | positions.trick_len.astype(np.int64) << LENGTH_SHIFT
    for seat in range(SEATS):
        states |= hands[..., seat] << (HAND * seat)
    for place, shift in enumerate(PLAY_SHIFTS):
        states |= plays[..., place] << shift
    return states
