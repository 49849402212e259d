"""The backward pass: the value of every reachable position between tricks, from the last trick to the first.

A value is what is to come, team 0 minus team 1. One step values a whole row, the 64 lanes of seat 3's hands, by full
minimax over the trick. A play of seat 3 reads the row of the position after it some lanes lower, and a bar keeps the
lanes out that may not make that play. Lanes that cannot be reached carry numbers without meaning, which no reachable
lane ever reads.
"""

from typing import Any

import numpy as np

from pilothouse.programs.forty_two.compiled import (
    flipped,
    highest,
    kernel,
    lanes,
    load_lanes,
    lowest,
    part,
    raised,
    store_lanes,
)

_U0 = np.uint64(0)


@part
def _lane_moves(reached: Any, allowed: Any, suit: Any) -> Any:
    """Return the move list of what any of seat 3's reached hands may play."""
    moves = 0
    number = 0
    for move in range(6, -1, -1):
        if reached & allowed[suit, move] != _U0:
            moves = moves << 3 | move
            number += 1
    return moves << 3 | number


@part
def _moves_of(seat: Any, suit: Any, moves: Any, hands: Any, reached: Any, allowed: Any) -> Any:
    if seat == 3:
        return _lane_moves(reached, allowed, suit)
    return np.int64(moves[seat, suit, hands[seat]])


@part
def _least_answer(
    values: Any,
    plays: Any,
    bars: Any,
    steps: Any,
    suit: Any,
    p0: Any,
    p3: Any,
    answers: Any,
    best: Any,
    points: Any,
    place: Any,
    flip: Any,
    carry: Any,
) -> Any:
    """Return the least that the fourth seat leaves the leader's team, who holds `points` of the trick's counters."""
    least = lanes(127)
    for _ in range(answers & 7):
        answers >>= 3
        move = answers & 7
        play = np.int64(plays[suit, p3, move])
        total = points + (play >> 2 & 15)
        winner = max(best, play) & 3
        if (winner ^ p0) & 1:
            total = -total
        after = place + steps[p3, move] + (winner << 6)
        value = raised(flipped(load_lanes(values, after), flip), total + carry)
        if p3 == 3:
            value = highest(value, flipped(load_lanes(bars, suit << 9 | move << 6), lanes(-1)))
        least = lowest(least, value)
    return least


@part
def _row_value(
    values: Any,
    suits: Any,
    moves: Any,
    plays: Any,
    allowed: Any,
    bars: Any,
    steps: Any,
    hands: Any,
    p0: Any,
    reached: Any,
    base: Any,
) -> Any:
    """Return the values of a row's lanes to the leader's team."""
    p1, p2, p3 = (p0 + 1) & 3, (p0 + 2) & 3, (p0 + 3) & 3
    carry = p0 & 1
    flip = lanes(-carry)
    value_0 = lanes(-128)
    list_0 = _moves_of(p0, 8, moves, hands, reached, allowed)
    for _ in range(list_0 & 7):
        list_0 >>= 3
        a = list_0 & 7
        suit = np.int64(suits[p0, a])
        play_0 = np.int64(plays[suit, p0, a])
        place_0 = base + steps[p0, a]
        points_0 = 1 + (play_0 >> 2 & 15)
        list_1 = _moves_of(p1, suit, moves, hands, reached, allowed)
        list_2 = _moves_of(p2, suit, moves, hands, reached, allowed)
        list_3 = _moves_of(p3, suit, moves, hands, reached, allowed)
        value_1 = lanes(127)
        for _ in range(list_1 & 7):
            list_1 >>= 3
            b = list_1 & 7
            play_1 = np.int64(plays[suit, p1, b])
            points_1 = points_0 + (play_1 >> 2 & 15)
            value_2 = lanes(-128)
            rest = list_2
            for _ in range(list_2 & 7):
                rest >>= 3
                c = rest & 7
                play_2 = np.int64(plays[suit, p2, c])
                value_3 = _least_answer(
                    values,
                    plays,
                    bars,
                    steps,
                    suit,
                    p0,
                    p3,
                    list_3,
                    max(play_0, play_1, play_2),
                    points_1 + (play_2 >> 2 & 15),
                    place_0 + steps[p1, b] + steps[p2, c],
                    flip,
                    carry,
                )
                if p2 == 3:
                    value_3 = lowest(value_3, load_lanes(bars, suit << 9 | c << 6))
                value_2 = highest(value_2, value_3)
            if p1 == 3:
                value_2 = highest(value_2, flipped(load_lanes(bars, suit << 9 | b << 6), lanes(-1)))
            value_1 = lowest(value_1, value_2)
        if p0 == 3:
            value_1 = lowest(value_1, load_lanes(bars, 8 << 9 | a << 6))
        value_0 = highest(value_0, value_1)
    return raised(flipped(value_0, flip), carry)


@kernel
def value_level(
    row: Any,
    base: Any,
    masks: Any,
    child: Any,
    suits: Any,
    moves: Any,
    plays: Any,
    allowed: Any,
    bars: Any,
    reach: Any,
    values: Any,
) -> None:
    """Fill the values of a level's reachable rows from those of the level below.

    `row` is the level's first row and `base` that of the level below; `masks` are the level's hands, `child` the row
    strides of the level below, `allowed` and `bars` the level's tables. `values` is int8, 64 to a row behind 64 of
    padding, which a step to lower lanes may touch.
    """
    hands = np.zeros(4, np.int64)
    steps = np.zeros((4, 8), np.int64)
    for move in range(6):
        steps[3, move] = -(1 << move)
    for h0 in masks:
        hands[0] = h0
        for h1 in masks:
            hands[1] = h1
            for h2 in masks:
                hands[2] = h2
                for seat in range(3):
                    for move in range(7):
                        steps[seat, move] = np.int64(child[seat, hands[seat] & ~(1 << move)]) << 6
                for leader in range(4):
                    reached = reach[row]
                    row += 1
                    if reached != _U0:
                        found = _row_value(
                            values, suits, moves, plays, allowed, bars, steps, hands, leader, reached, (base + 1) << 6
                        )
                        store_lanes(values, row << 6, found)
