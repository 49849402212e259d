"""Tokens, compared with a plain reading of the rules one position at a time."""

import random
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pytest

from pilothouse.programs.forty_two import tokens
from pilothouse.programs.forty_two.deal import deal_hands
from pilothouse.programs.forty_two.packing import Positions, pack
from pilothouse.programs.forty_two.rules import legal, winner
from pilothouse.programs.forty_two.shards import Shard

_COUNTS = {(5, 5): 2, (6, 4): 2, (5, 0): 1, (4, 1): 1, (3, 2): 1}


_Position: TypeAlias = tuple[list[set[int]], int, list[int]]
"""Hands as sets of local indices, the leader, local indices in the trick."""


def _random_positions(seed: int, declaration: int, count: int) -> list[_Position]:
    """Positions met by random play of one deal."""
    dice = random.Random(f"{seed}/{declaration}")
    hands = deal_hands(seed)
    found: list[_Position] = []
    while len(found) < count:
        left, leader = [set(range(7)) for _ in range(4)], 0
        trick: list[int] = []
        while any(left):
            found.append(([set(hand) for hand in left], leader, list(trick)))
            seat = (leader + len(trick)) % 4
            led = int(hands[leader, trick[0]]) if trick else None
            held = [int(hands[seat, slot]) for slot in sorted(left[seat])]
            move = dice.choice(legal(held, led, declaration))
            slot = [int(domino) for domino in hands[seat]].index(move)
            left[seat].remove(slot)
            trick.append(slot)
            if len(trick) == 4:
                plays = [int(hands[(leader + place) % 4, slot]) for place, slot in enumerate(trick)]
                leader, trick = (leader + winner(plays, declaration)) % 4, []
    return dice.sample(found, count)


def _shard(seed: int, declaration: int, count: int = 60) -> Shard:
    """Random positions with made-up but well-formed values; one finished position is among them."""
    dice = np.random.default_rng((seed, declaration))
    hands = deal_hands(seed)
    found = _random_positions(seed, declaration, count)
    q = np.full((count + 1, 7), -128, dtype=np.int8)
    for row, (left, leader, trick) in enumerate(found):
        seat = (leader + len(trick)) % 4
        led = int(hands[leader, trick[0]]) if trick else None
        moves = set(legal([int(hands[seat, slot]) for slot in sorted(left[seat])], led, declaration))
        for slot in left[seat]:
            if int(hands[seat, slot]) in moves:
                q[row, slot] = dice.integers(-3, 4) * 2
    masks = [[sum(1 << slot for slot in hand) for hand in left] for left, _, _ in found] + [[0, 0, 0, 0]]
    positions = Positions(
        hands=np.array(masks, dtype=np.int8),
        leader=np.array([leader for _, leader, _ in found] + [2], dtype=np.int8),
        trick_len=np.array([len(trick) for _, _, trick in found] + [0], dtype=np.int8),
        plays=np.array([(*trick, 7, 7, 7)[:3] for _, _, trick in found] + [(7, 7, 7)], dtype=np.int8),
    )
    v = dice.integers(-42, 43, size=count + 1).astype(np.int8)
    return Shard(seed=seed, declaration=declaration, state=pack(positions), v=v, q=q)


def _plain_domino(domino: int, declaration: int) -> list[int]:
    high = max(top for top in range(7) if top * (top + 1) // 2 <= domino)
    low = domino - high * (high + 1) // 2
    rank = 7
    if declaration <= 6 and declaration in {high, low}:
        others = [pip for pip in range(6, -1, -1) if pip != declaration]
        rank = 0 if high == low else 1 + others.index(low if high == declaration else high)
    if declaration == 7 and high == low:
        rank = 6 - high
    return [high, low, int(high == low), _COUNTS.get((high, low), 0), rank]


def _plain_tokens(seed: int, declaration: int, position: _Position) -> tuple[list[list[int]], list[int]]:
    left, leader, trick = position
    hands = deal_hands(seed)
    mover = (leader + len(trick)) % 4
    ending = [declaration, (leader - mover) % 4]
    found, there = [[0] * 10 + ending], [1]
    for seat in range(4):
        relative = (seat - mover) % 4
        for slot in range(7):
            place = [relative, int(relative == 0), int(relative == 2), int(slot in left[seat]), 1 + seat]
            found.append(_plain_domino(int(hands[seat, slot]), declaration) + place + ending)
            there.append(1)
    for play in range(3):
        if play >= len(trick):
            found.append([0] * 12)
            there.append(0)
            continue
        seat = (leader + play) % 4
        relative = (seat - mover) % 4
        place = [relative, int(relative == 0), int(relative == 2), 0, 5 + play]
        found.append(_plain_domino(int(hands[seat, trick[play]]), declaration) + place + ending)
        there.append(1)
    return found, there


@pytest.mark.parametrize("declaration", range(10))
def test_tokens_equal_the_plain_reading(declaration: int) -> None:
    """Every feature of every token, for positions in the midst of tricks too, under each declaration."""
    rows = tokens.tokenise(_shard(40 + declaration, declaration))

    for row, position in enumerate(_random_positions(40 + declaration, declaration, 60)):
        expected, there = _plain_tokens(40 + declaration, declaration, position)
        assert rows.tokens[row].tolist() == expected
        assert rows.masks[row].tolist() == there
        assert rows.left[row] == sum(len(hand) for hand in position[0])
        assert rows.players[row] == (position[1] + len(position[2])) % 4


def test_targets_are_the_first_best_move_of_the_mover() -> None:
    """Team 0 wants the most, team 1 the least; the first slot wins ties; illegal slots never."""
    rows = tokens.tokenise(_shard(7, 3, count=300))

    assert {0, 1} == set(rows.teams.tolist())
    for team, target, legal_, q in zip(rows.teams, rows.targets, rows.legal, rows.qvals, strict=True):
        moves = [slot for slot in range(7) if q[slot] != -128]
        sign = 1 if team == 0 else -1
        best = max(sign * int(q[slot]) for slot in moves)
        assert target == next(slot for slot in moves if sign * int(q[slot]) == best)
        assert legal_.tolist() == [int(slot in moves) for slot in range(7)]


def test_finished_positions_are_left_out() -> None:
    """A position without a move is no example."""
    shard = _shard(3, 3, count=10)

    rows = tokens.tokenise(shard)

    assert (len(shard), len(rows)) == (11, 10)
    assert rows.state.tolist() == shard.state[:10].tolist()


def test_every_feature_stays_in_its_vocabulary() -> None:
    """No token can index past its embedding."""
    for declaration in range(10):
        rows = tokens.tokenise(_shard(declaration, declaration))
        assert rows.tokens.dtype == np.int8
        assert rows.tokens.min() >= 0
        assert np.all(rows.tokens.max(axis=(0, 1)) < np.array(tokens.VOCABULARY))


def test_digest_answers_to_every_column_and_to_order() -> None:
    """Any other value, or the same rows in another order, have another digest."""
    first, second = tokens.tokenise(_shard(1, 1)), tokens.tokenise(_shard(2, 2))
    joined = tokens.concatenate([first, second])
    digest = tokens.content_digest(joined)

    assert digest == tokens.content_digest(tokens.concatenate([first, second]))
    assert digest != tokens.content_digest(tokens.concatenate([second, first]))
    for name in tokens.COLUMNS:
        column = getattr(joined, name).copy()
        column.flat[-1] ^= 1
        assert digest != tokens.content_digest(replace(joined, **{name: column})), name
