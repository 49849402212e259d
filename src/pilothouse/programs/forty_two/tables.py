"""The small tables of one deal that the compiled kernels index: combinations, moves, plays and places in a level.

A *level* k holds the positions between tricks in which each hand has k dominoes. A hand of level k is one of C(7, k)
seven-bit masks, numbered in ascending order, so a level is dense. Its *rows* are the hands of seats 0-2 and the leader,
and a row's 64 *lanes* are the hands of seat 3: the low six bits of a mask name the lane, since the level tells whether
the seventh is set. Taking a domino below the seventh from seat 3 is then a step of 2**d lanes, and taking the seventh
is none.
"""

from dataclasses import dataclass
from itertools import accumulate
from math import comb
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pilothouse.programs.forty_two.rules import (
    COUNTERS,
    FOLLOWS,
    HAND,
    LED_SUIT,
    SEATS,
    SUITS,
    TRICK_RANK,
    Bytes,
)

Ints: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[np.uint64]

Words32: TypeAlias = NDArray[np.uint32]
Small: TypeAlias = NDArray[np.uint8]

MASKS: Final = 1 << HAND
LANES: Final = 64
ON_LEAD: Final = 8
"""The suit index that stands for being on lead."""

LEVELS: Final = HAND + 1

CHOICES: Final = np.array([comb(HAND, level) for level in range(LEVELS)], dtype=np.int64)
"""int64[8]: hands per seat at each level."""


def _offsets(sizes: list[int]) -> Ints:
    return np.array([0, *accumulate(sizes)], dtype=np.int64)


ROW_OFFSETS: Final = _offsets([SEATS * comb(HAND, level) ** 3 for level in range(LEVELS)])
"""int64[9]: where each level's rows begin; 419,840 rows in all."""


def _level_masks() -> Ints:
    masks = np.zeros((LEVELS, 35), dtype=np.int64)
    for level in range(LEVELS):
        members = [mask for mask in range(MASKS) if mask.bit_count() == level]
        masks[level, : len(members)] = members
    return masks


def _hand_numbers() -> Ints:
    numbers = np.zeros(MASKS, dtype=np.int64)
    for level in range(LEVELS):
        numbers[LEVEL_MASKS[level, : CHOICES[level]]] = np.arange(CHOICES[level])
    return numbers


LEVEL_MASKS: Final = _level_masks()
"""int64[8, 35]: the hands of a level, ascending, padded with 0."""

HAND_NUMBERS: Final = _hand_numbers()
"""int64[128]: the number of a hand within its level."""


def _strides() -> Words32:
    strides = np.zeros((LEVELS, 3, MASKS), dtype=np.uint32)
    for level, seat in np.ndindex(LEVELS, 3):
        strides[level, seat] = HAND_NUMBERS * CHOICES[level] ** (2 - seat) * SEATS
    return strides


ROW_STRIDES: Final = _strides()
"""uint32[8, 3, 128]: what a hand of seats 0-2 adds to a row's index within its level."""

_RANKS = 48  # above every trick rank

MOVE_BITS: Final = 3
"""A move list is one integer: the number of moves in the low 3 bits, then 3 bits a move."""


def _move_list(moves: list[int]) -> int:
    packed = len(moves)
    for place, move in enumerate(moves):
        packed |= move << MOVE_BITS * (place + 1)
    return packed


_MOVE_LISTS = np.array(
    [_move_list([index for index in range(HAND) if mask >> index & 1]) for mask in range(MASKS)], dtype=np.uint32
)


def _lane_masks() -> Ints:
    """Return int64[8, 64]: the mask of each lane of a level, -1 where there is none."""
    low = np.arange(LANES)
    lacking = np.arange(LEVELS)[:, None] - np.bitwise_count(low)[None]
    return np.where((lacking == 0) | (lacking == 1), low | lacking << 6, -1)


LANE_MASKS: Final = _lane_masks()
"""int64[8, 64]: the hand that each lane of a level stands for, -1 where none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DealTables:
    """What the kernels know of one deal under one declaration; suit 8 stands for being on lead."""

    suits: Small
    """uint8[4, 8]: the suit each domino leads."""
    moves: Words32
    """uint32[4, 9, 128]: the move list of a hand when a suit was led."""
    plays: Words32
    """uint32[9, 4, 8]: each domino when a suit was led, as rank << 6 | counters << 2 | seat; the highest wins."""
    allowed: Words
    """uint64[8, 9, 8]: per level, the set of seat 3's lanes that may play a domino when a suit was led."""
    bars: Bytes
    """int8[8, 9 * 8 * 64]: the same by lane, 127 where the domino may be played and -128 where not."""
    climb: Small
    """uint8[9, 7]: seat 3's dominoes by rising rank when a suit was led."""
    beaten: Small
    """uint8[9, 48]: how many of seat 3's seven dominoes have no higher rank than this when a suit was led."""


def deal_tables(hands: Bytes, declaration: int) -> DealTables:
    """Return the tables of four hands (int8[4, 7]) under a declaration."""
    suits = np.zeros((SEATS, 8), dtype=np.uint8)
    suits[:, :HAND] = LED_SUIT[declaration][hands]
    ranks = np.zeros((ON_LEAD + 1, SEATS, 8), dtype=np.uint32)
    ranks[:SUITS, :, :HAND] = TRICK_RANK[declaration][:, hands]
    counters = np.zeros((SEATS, 8), dtype=np.uint32)
    counters[:, :HAND] = COUNTERS[hands]
    playable = _playable(FOLLOWS[declaration][:, hands])
    allowed = _allowed(playable[3])
    return DealTables(
        suits=suits,
        moves=_MOVE_LISTS[playable],
        plays=(ranks << 6 | counters << 2 | np.arange(SEATS)[:, None]).astype(np.uint32),
        allowed=allowed @ (np.uint64(1) << np.arange(LANES, dtype=np.uint64)),
        bars=np.where(allowed, np.int8(127), np.int8(-128)).reshape(LEVELS, -1),
        climb=np.argsort(ranks[:, 3, :HAND], axis=1, kind="stable").astype(np.uint8),
        beaten=np.sum(ranks[:, 3, :HAND, None] <= np.arange(_RANKS), axis=1, dtype=np.uint8),
    )


def _playable(follows: NDArray[np.bool_]) -> Ints:
    """Return int64[4, 9, 128]: the part of a hand that may be played when a suit was led."""
    following = np.zeros((SEATS, ON_LEAD + 1), dtype=np.int64)
    following[:, :SUITS] = (follows @ (1 << np.arange(HAND))).T
    masks = np.arange(MASKS)
    members = following[:, :, None] & masks
    return np.where(members > 0, members, masks)


def _allowed(playable: Ints) -> NDArray[np.bool_]:
    """Return bool[8, 9, 8, 64]: whether the hand of a lane may play a domino when a suit was led."""
    by_lane = np.where(LANE_MASKS >= 0, playable[:, LANE_MASKS], 0)
    allowed: NDArray[np.bool_] = (by_lane[:, :, None] >> np.arange(8)[:, None] & 1 == 1).transpose(1, 0, 2, 3)
    return allowed
