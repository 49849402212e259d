"""The rules of Texas 42 as the oracle plays it: four open hands, tricks and counters, no bidding.

A domino with ends h >= l has the id h(h+1)/2 + l, so the set of 28 is numbered 0-0, 1-0, 1-1, 2-0 ... 6-6. Seats 0 and
2 are team 0, seats 1 and 3 are team 1; seat 0 leads the first trick and the winner of a trick leads the next.

Declarations 0-6 make a pip trump, 7 makes the doubles trump, 8 makes the doubles a suit of their own without trump
power, and 9 has no trump. The *called set* of a declaration is the dominoes that it takes out of the plain suits.
"""

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bools: TypeAlias = NDArray[np.bool_]
Bytes: TypeAlias = NDArray[np.int8]

DOMINOES: Final = 28
SEATS: Final = 4
HAND: Final = 7
DECLARATIONS: Final = 10
DOUBLES_TRUMP: Final = 7
DOUBLES_SUIT: Final = 8
NO_TRUMP: Final = 9
CALLED_SUIT: Final = 7
SUITS: Final = 8
NOT_TRUMP: Final = 7
HAND_POINTS: Final = 42
ILLEGAL: Final = -128

DECLARATION_NAMES: Final = (
    "blanks",
    "ones",
    "twos",
    "threes",
    "fours",
    "fives",
    "sixes",
    "doubles trump",
    "doubles suit",
    "no trump",
)

_DOUBLE_STRENGTH = 14  # above every sum of two pips, so a double is the highest of its pip suit
_FOLLOWER_TIER = 16  # above every strength
_TRUMP_TIER = 32


def domino_id(high: int, low: int) -> int:
    """Return the id of the domino with ends `high` >= `low`."""
    assert 0 <= low <= high <= 6, (high, low)
    return high * (high + 1) // 2 + low


def _pips() -> Bytes:
    ends = sorted((high, low) for low, high in combinations_with_replacement(range(7), 2))
    return np.array(ends, dtype=np.int8)


def _counters() -> Bytes:
    points = np.zeros(DOMINOES, dtype=np.int8)
    for high, low, worth in ((5, 5, 10), (6, 4, 10), (5, 0, 5), (4, 1, 5), (3, 2, 5)):
        points[domino_id(high, low)] = worth
    return points


PIPS: Final = _pips()
"""int8[28, 2]: the high and the low end of each domino."""

COUNTERS: Final = _counters()
"""int8[28]: the points that a domino adds to the trick that takes it."""

DOUBLE: Final[Bools] = PIPS[:, 0] == PIPS[:, 1]
"""bool[28]: whether a domino is a double."""


def _holds(pip: int) -> Bools:
    holds: Bools = np.any(np.equal(PIPS, pip), axis=1)
    return holds


def _called() -> Bools:
    called = np.zeros((DECLARATIONS, DOMINOES), dtype=np.bool_)
    for pip in range(7):
        called[pip] = _holds(pip)
    called[DOUBLES_TRUMP] = DOUBLE
    called[DOUBLES_SUIT] = DOUBLE
    return called


CALLED: Final = _called()
"""bool[10, 28]: the called set of each declaration; empty under no trump."""

TRUMP: Final[Bools] = CALLED & (np.arange(DECLARATIONS) <= DOUBLES_TRUMP)[:, None]
"""bool[10, 28]: the called sets that beat every other suit, which the doubles suit (8) does not."""


def _strength(declaration: int, suit: int, domino: int) -> int:
    """Return the order of a domino among the members of a suit; higher wins."""
    high, low = int(PIPS[domino, 0]), int(PIPS[domino, 1])
    if suit == CALLED_SUIT and declaration in {DOUBLES_TRUMP, DOUBLES_SUIT}:
        return high
    return _DOUBLE_STRENGTH if high == low else high + low


def _led_suits() -> Bytes:
    return np.where(CALLED, CALLED_SUIT, PIPS[:, 0]).astype(np.int8)


def _follows() -> Bools:
    follows = np.zeros((DECLARATIONS, SUITS, DOMINOES), dtype=np.bool_)
    for pip in range(7):
        follows[:, pip] = _holds(pip) & ~CALLED
    follows[:, CALLED_SUIT] = CALLED
    return follows


LED_SUIT: Final = _led_suits()
"""int8[10, 28]: the suit that a domino leads, 0-6 for a pip and 7 for the called set."""

FOLLOWS: Final = _follows()
"""bool[10, 8, 28]: whether a domino follows a led suit; a called domino never follows a pip."""


def _trick_ranks() -> Bytes:
    ranks = np.zeros((DECLARATIONS, SUITS, DOMINOES), dtype=np.int8)
    for declaration, suit, domino in np.ndindex(ranks.shape):
        if TRUMP[declaration, domino]:
            ranks[declaration, suit, domino] = _TRUMP_TIER + _strength(declaration, CALLED_SUIT, domino)
        elif FOLLOWS[declaration, suit, domino]:
            ranks[declaration, suit, domino] = _FOLLOWER_TIER + _strength(declaration, suit, domino)
    return ranks


def _trump_ranks() -> Bytes:
    ranks = np.full((DECLARATIONS, DOMINOES), NOT_TRUMP, dtype=np.int8)
    for declaration in range(DECLARATIONS):
        trumps = [int(domino) for domino in np.flatnonzero(TRUMP[declaration])]
        falling = sorted((-_strength(declaration, CALLED_SUIT, domino), domino) for domino in trumps)
        for rank, (_, domino) in enumerate(falling):
            ranks[declaration, domino] = rank
    return ranks


TRICK_RANK: Final = _trick_ranks()
"""int8[10, 8, 28]: the rank of a domino in a trick of the led suit; 0 cannot win, and positive ranks never tie."""

TRUMP_RANK: Final = _trump_ranks()
"""int8[10, 28]: 0 for the highest trump to 6 for the lowest, 7 for a domino that is no trump."""


def legal(hand: Sequence[int], lead: int | None, declaration: int) -> list[int]:
    """Return the dominoes of a hand that may be played: any to lead, else those that follow, else any."""
    if lead is None:
        return list(hand)
    suit = LED_SUIT[declaration, lead]
    following = [domino for domino in hand if FOLLOWS[declaration, suit, domino]]
    return following or list(hand)


def winner(plays: Sequence[int], declaration: int) -> int:
    """Return the position, 0 for the lead, of the domino that takes the trick; an equal rank does not overtake."""
    ranks = TRICK_RANK[declaration, LED_SUIT[declaration, plays[0]]]
    return max(range(len(plays)), key=lambda position: (int(ranks[plays[position]]), -position))


def trick_points(plays: Sequence[int]) -> int:
    """Return what a full trick is worth: one point and its counters."""
    return 1 + sum(int(COUNTERS[domino]) for domino in plays)
