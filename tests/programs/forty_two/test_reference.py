"""The compiled solver against plain minimax on late positions of every declaration."""

import random

import numpy as np
import pytest

from pilothouse.programs.forty_two.deal import deal_hands
from pilothouse.programs.forty_two.reference import OPENING, Position, Reference, beats, domino_of, follows
from pilothouse.programs.forty_two.solver import solve

POSITIONS = 200
LATEST = 12  # dominoes left at most


def reference_of(seed: int, declaration: int) -> Reference:
    hands = [[domino_of(number) for number in hand] for hand in deal_hands(seed).tolist()]
    return Reference(hands=hands, declaration=declaration)


def late_position(reference: Reference, chance: random.Random) -> Position:
    """Play at random until a random number of dominoes, one to `LATEST`, is left."""
    position = OPENING
    for _ in range(28 - chance.randint(1, LATEST)):
        _, position = reference.play(position, chance.choice(reference.legal(position)))
    return position


@pytest.mark.parametrize("declaration", range(10))
def test_late_positions_have_the_reference_values(declaration: int) -> None:
    """Value and every move of at least 200 different positions of several deals, inside the tricks too."""
    chance = random.Random(declaration)
    compared = 0
    lengths = set()
    while compared < POSITIONS:
        seed = chance.randrange(1_000_000)
        reference = reference_of(seed, declaration)
        positions = {position.packed(): position for position in (late_position(reference, chance) for _ in range(40))}
        states = sorted(positions)
        v, q = solve(seed, declaration).evaluate(np.array(states, dtype=np.int64))
        for row, state in enumerate(states):
            position = positions[state]
            moves = reference.moves(position)
            assert q[row].tolist() == [moves.get(index, -128) for index in range(7)], position
            assert v[row] == reference.value(position), position
            lengths.add(len(position.trick))
        compared += len(states)
    assert lengths == {0, 1, 2, 3}


def test_reference_by_hand() -> None:
    """One domino each: the six-six takes ten and five and its point, whoever is called first."""
    hands = [[(6, 6)], [(6, 4)], [(5, 0)], [(6, 0)]]
    reference = Reference(hands=hands, declaration=9)
    position = Position(hands=(frozenset({0}),) * 4, trick=(), leader=0)
    assert reference.moves(position) == {0: 16}
    assert reference.value(Position(hands=position.hands, trick=(), leader=1)) == 16
    assert reference.value(Position(hands=position.hands, trick=(), leader=2)) == 16
    blanks = Reference(hands=hands, declaration=0)
    assert blanks.value(position) == -16  # six-nought is the higher of two trumps, and seat 3 holds it


def test_who_follows_and_who_wins() -> None:
    """A trump does not follow its other pip, and doubles are no trumps when they are only a suit."""
    assert not follows((6, 5), (5, 4), 6)
    assert follows((6, 5), (6, 4), 6)
    assert beats((0, 0), (6, 6), (6, 6), 7) is False
    assert beats((0, 0), (5, 4), (5, 4), 7)
    assert not beats((0, 0), (5, 4), (5, 4), 8)
