"""The forward pass: which positions between tricks can be reached, and how many positions lie inside the tricks.

A row of the table is one word, the set of seat 3's hands that go with given hands of seats 0-2 and a leader. Taking a
domino from every hand of a set is one shift, so a step carries all of seat 3's hands at once. Who may follow depends
on the lead alone, and who wins on the highest rank alone, so the order of the seats that follow does not matter here.
"""

from typing import Any

import numpy as np

from pilothouse.programs.forty_two.compiled import bit_count, kernel, part

_U0 = np.uint64(0)


@part
def _taken(hands: Any, move: Any) -> Any:
    """Return a set of seat 3's hands, all of which hold `move`, without it."""
    if move == 6:
        return hands
    return hands >> np.uint64(1 << move)


@part
def _split_by_rank(allowed: Any, climb: Any, suit: Any, lanes: Any, below: Any, above: Any) -> Any:
    """Fill what is left of a set of seat 3's hands after a legal play, and return the number of plays.

    `below[suit, j]` takes the plays of the j dominoes of lowest rank under the led suit, `above[suit, j]` the others.
    """
    plays = 0
    below[suit, 0] = _U0
    for place in range(7):
        move = np.int64(climb[suit, place])
        playing = lanes & allowed[suit, move]
        plays += bit_count(playing)
        above[suit, place] = _taken(playing, move)
        below[suit, place + 1] = below[suit, place] | above[suit, place]
    above[suit, 7] = _U0
    for place in range(6, -1, -1):
        above[suit, place] |= above[suit, place + 1]
    return plays


@part
def _mark_led_by_known(
    child: Any,
    suits: Any,
    moves: Any,
    plays: Any,
    allowed: Any,
    climb: Any,
    beaten: Any,
    reach: Any,
    counts: Any,
    lanes: Any,
    hands: Any,
    leader: Any,
    base: Any,
    below: Any,
    above: Any,
    answers: Any,
) -> None:
    """Mark what follows where seat 0, 1 or 2 leads: both its known followers by hand, seat 3 by sets."""
    size = bit_count(lanes)
    x = 1 if leader == 0 else 0
    y = 1 if leader == 2 else 2
    answers[:] = -1
    leads = np.int64(moves[leader, 8, hands[leader]])
    for _ in range(leads & 7):
        leads >>= 3
        lead = leads & 7
        suit = np.int64(suits[leader, lead])
        if answers[suit] < 0:
            answers[suit] = _split_by_rank(allowed, climb, suit, lanes, below, above)
        first, second = np.int64(moves[x, suit, hands[x]]), np.int64(moves[y, suit, hands[y]])
        # the seats that play second and third, whose numbers of plays the count needs
        counts[1] += size
        if leader == 0:
            counts[2] += size * (first & 7)
            counts[3] += size * (first & 7) * (second & 7)
        elif leader == 1:
            counts[2] += size * (second & 7)
            counts[3] += answers[suit] * (second & 7)
        else:
            counts[2] += answers[suit]
            counts[3] += answers[suit] * (first & 7)
        play = np.int64(plays[suit, leader, lead])
        place = base + np.int64(child[leader, hands[leader] ^ (1 << lead)])
        for _ in range(first & 7):
            first >>= 3
            play_x = max(play, np.int64(plays[suit, x, first & 7]))
            place_x = place + np.int64(child[x, hands[x] ^ (1 << (first & 7))])
            rest = second
            for _ in range(second & 7):
                rest >>= 3
                best = max(play_x, np.int64(plays[suit, y, rest & 7]))
                place_y = place_x + np.int64(child[y, hands[y] ^ (1 << (rest & 7))])
                split = np.int64(beaten[suit, best >> 6])
                reach[place_y + (best & 3)] |= below[suit, split]
                reach[place_y + 3] |= above[suit, split]


@part
def _mark_led_by_lanes(
    child: Any,
    suits: Any,
    moves: Any,
    plays: Any,
    allowed: Any,
    reach: Any,
    counts: Any,
    lanes: Any,
    hands: Any,
    base: Any,
) -> None:
    """Mark what follows where seat 3 leads: each of its dominoes from all the hands that hold it."""
    for lead in range(7):
        leading = lanes & allowed[8, lead]
        size = bit_count(leading)
        if size == 0:
            continue
        left = _taken(leading, lead)
        suit = np.int64(suits[3, lead])
        play = np.int64(plays[suit, 3, lead])
        first, second = np.int64(moves[0, suit, hands[0]]), np.int64(moves[1, suit, hands[1]])
        third = np.int64(moves[2, suit, hands[2]])
        counts[1] += size
        counts[2] += size * (first & 7)
        counts[3] += size * (first & 7) * (second & 7)
        for _ in range(first & 7):
            first >>= 3
            play_0 = max(play, np.int64(plays[suit, 0, first & 7]))
            place_0 = base + np.int64(child[0, hands[0] ^ (1 << (first & 7))])
            rest = second
            for _ in range(second & 7):
                rest >>= 3
                play_1 = max(play_0, np.int64(plays[suit, 1, rest & 7]))
                place_1 = place_0 + np.int64(child[1, hands[1] ^ (1 << (rest & 7))])
                last = third
                for _ in range(third & 7):
                    last >>= 3
                    best = max(play_1, np.int64(plays[suit, 2, last & 7]))
                    reach[place_1 + np.int64(child[2, hands[2] ^ (1 << (last & 7))]) + (best & 3)] |= left


@kernel
def mark_level(
    row: Any,
    base: Any,
    masks: Any,
    child: Any,
    suits: Any,
    moves: Any,
    plays: Any,
    allowed: Any,
    climb: Any,
    beaten: Any,
    reach: Any,
    counts: Any,
) -> None:
    """Mark the positions that follow by one trick from those of a level, and count the positions inside the tricks.

    `row` is the level's first row and `base` that of the level below; `masks` are the level's hands, `child` the row
    strides of the level below, `allowed` the level's sets. `counts` int64[4] takes the positions with 0 to 3 dominoes
    in the trick.
    """
    below = np.empty((8, 8), np.uint64)
    above = np.empty((8, 8), np.uint64)
    answers = np.empty(8, np.int64)
    hands = np.empty(3, np.int64)
    for h0 in masks:
        hands[0] = h0
        for h1 in masks:
            hands[1] = h1
            for h2 in masks:
                hands[2] = h2
                for leader in range(4):
                    lanes = reach[row]
                    row += 1
                    if lanes == _U0:
                        continue
                    counts[0] += bit_count(lanes)
                    if leader == 3:
                        _mark_led_by_lanes(child, suits, moves, plays, allowed, reach, counts, lanes, hands, base)
                    else:
                        _mark_led_by_known(
                            child,
                            suits,
                            moves,
                            plays,
                            allowed,
                            climb,
                            beaten,
                            reach,
                            counts,
                            lanes,
                            hands,
                            leader,
                            base,
                            below,
                            above,
                            answers,
                        )
