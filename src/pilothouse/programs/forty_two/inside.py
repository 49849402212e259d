"""Positions inside a trick: their values, read off the table by playing the trick out, and their sampling by rank.

A position inside a trick has exactly one position between tricks before it, so the table numbers them all: rows in
order, lanes in order, then the plays since. A rank counts within one level and one length of the trick.
"""

from typing import Any

import numpy as np

from pilothouse.programs.forty_two.compiled import kernel, part, trailing_zeros

_U0 = np.uint64(0)
_U1 = np.uint64(1)


@part
def _length(mask: Any) -> Any:
    number = 0
    while mask:
        mask &= mask - 1
        number += 1
    return number


@kernel
def _played_out(
    length: Any,
    leader: Any,
    suit: Any,
    best: Any,
    points: Any,
    hands: Any,
    base: Any,
    child: Any,
    moves: Any,
    plays: Any,
    values: Any,
) -> Any:
    """Return the value to team 0 of a position with `length` >= 1 dominoes in the trick."""
    if length == 4:
        winner = best & 3
        row = base + np.int64(child[0, hands[0]]) + np.int64(child[1, hands[1]]) + np.int64(child[2, hands[2]]) + winner
        total = points + 1
        return np.int64(values[((row + 1) << 6) + (hands[3] & 63)]) + (-total if winner & 1 else total)
    seat = (leader + length) & 3
    options = np.int64(moves[seat, suit, hands[seat]])
    found = 127 if seat & 1 else -128
    for _ in range(options & 7):
        options >>= 3
        move = options & 7
        play = np.int64(plays[suit, seat, move])
        hands[seat] ^= 1 << move
        value = _played_out(
            length + 1,
            leader,
            suit,
            max(best, play),
            points + (play >> 2 & 15),
            hands,
            base,
            child,
            moves,
            plays,
            values,
        )
        hands[seat] ^= 1 << move
        found = min(found, value) if seat & 1 else max(found, value)
    return found


@kernel
def fill_values(
    states: Any, offsets: Any, strides: Any, suits: Any, moves: Any, plays: Any, values: Any, v: Any, q: Any
) -> None:
    """Fill `v` (int8[n]) and `q` (int8[n, 7], illegal moves left as they are) for packed states."""
    hands = np.empty(4, np.int64)
    for index in range(len(states)):
        state = states[index]
        for seat in range(4):
            hands[seat] = state >> (7 * seat) & 127
        leader, length = state >> 28 & 3, state >> 30 & 3
        suit: Any = 8
        best: Any = 0
        points: Any = 0
        for place in range(length):
            seat, move = (leader + place) & 3, state >> (32 + 3 * place) & 7
            if place == 0:
                suit = np.int64(suits[seat, move])
            play = np.int64(plays[suit, seat, move])
            best = max(best, play)
            points += play >> 2 & 15
        below = _length(hands[leader]) - (1 if length == 0 else 0)
        seat = (leader + length) & 3
        options = np.int64(moves[seat, suit, hands[seat]])
        found = 0 if options == 0 else 127 if seat & 1 else -128
        for _ in range(options & 7):
            options >>= 3
            move = options & 7
            led = suit if length > 0 else np.int64(suits[seat, move])
            play = np.int64(plays[led, seat, move])
            hands[seat] ^= 1 << move
            value = _played_out(
                length + 1,
                leader,
                led,
                max(best, play),
                points + (play >> 2 & 15),
                hands,
                offsets[below],
                strides[below],
                moves,
                plays,
                values,
            )
            hands[seat] ^= 1 << move
            q[index, move] = value
            found = min(found, value) if seat & 1 else max(found, value)
        v[index] = found


@kernel
def pick_level(
    row: Any,
    masks: Any,
    lane_masks: Any,
    suits: Any,
    moves: Any,
    reach: Any,
    wanted: Any,
    starts: Any,
    picked: Any,
) -> None:
    """Fill `picked` (int64[n]) with the packed states of wanted ranks of one level.

    `wanted` holds the ranks for 0, 1, 2 and 3 dominoes in the trick one after another, each ascending, and `starts`
    int64[5] tells where each begins.
    """
    hands = np.empty(4, np.int64)
    sizes = np.empty(4, np.int64)
    passed = np.zeros(4, np.int64)
    cursors = starts[:4].copy()
    for h0 in masks:
        hands[0] = h0
        for h1 in masks:
            hands[1] = h1
            for h2 in masks:
                hands[2] = h2
                for leader in range(4):
                    lanes = reach[row]
                    row += 1
                    while lanes != _U0:
                        hands[3] = lane_masks[trailing_zeros(lanes)]
                        lanes &= lanes - _U1
                        _count_inside(leader, hands, suits, moves, sizes)
                        for length in range(4):
                            passed[length] += sizes[length]
                            while cursors[length] < starts[length + 1] and wanted[cursors[length]] < passed[length]:
                                rank = wanted[cursors[length]] - passed[length] + sizes[length]
                                picked[cursors[length]] = _state_at(length, rank, leader, hands, suits, moves)
                                cursors[length] += 1


@part
def _count_inside(leader: Any, hands: Any, suits: Any, moves: Any, sizes: Any) -> None:
    """Fill `sizes` with the positions that have 0 to 3 dominoes in the trick that begins here."""
    p1, p2 = (leader + 1) & 3, (leader + 2) & 3
    leads = np.int64(moves[leader, 8, hands[leader]])
    sizes[0], sizes[1], sizes[2], sizes[3] = 1, leads & 7, 0, 0
    for _ in range(leads & 7):
        leads >>= 3
        suit = np.int64(suits[leader, leads & 7])
        second = np.int64(moves[p1, suit, hands[p1]]) & 7
        sizes[2] += second
        sizes[3] += second * (np.int64(moves[p2, suit, hands[p2]]) & 7)


@part
def _state_at(length: Any, rank: Any, leader: Any, hands: Any, suits: Any, moves: Any) -> Any:
    """Return the packed state of a rank among those with `length` dominoes in the trick that begins here."""
    state = hands[0] | hands[1] << 7 | hands[2] << 14 | hands[3] << 21 | leader << 28 | length << 30 | 0b111111111 << 32
    if length == 0:
        return state
    p1, p2 = (leader + 1) & 3, (leader + 2) & 3
    leads = np.int64(moves[leader, 8, hands[leader]])
    lead: Any = 0
    second: Any = 0
    third: Any = 0
    for _ in range(leads & 7):
        leads >>= 3
        lead = leads & 7
        suit = np.int64(suits[leader, lead])
        second, third = np.int64(moves[p1, suit, hands[p1]]), np.int64(moves[p2, suit, hands[p2]])
        size = 1 if length == 1 else second & 7 if length == 2 else (second & 7) * (third & 7)
        if rank < size:
            break
        rank -= size
    state = _with_play(state, leader, lead, 0)
    if length == 1:
        return state
    ways = third & 7 if length == 3 else 1
    state = _with_play(state, p1, second >> (3 * (rank // ways + 1)) & 7, 1)
    if length == 2:
        return state
    return _with_play(state, p2, third >> (3 * (rank % ways + 1)) & 7, 2)


@part
def _with_play(state: Any, seat: Any, move: Any, place: Any) -> Any:
    """Return a state after a play: the domino leaves its hand and its index takes the place of the 7."""
    return state & ~(1 << (7 * seat + move)) & ~((7 ^ move) << (32 + 3 * place))
