"""The rules, by hand-made cases and against the second, independent spelling in the reference."""

import random

import numpy as np
import pytest

from pilothouse.programs.forty_two import reference, rules
from pilothouse.programs.forty_two.deal import DealError, checked_declaration, deal_hands
from pilothouse.programs.forty_two.rules import domino_id


def ids(*dominoes: tuple[int, int]) -> list[int]:
    return [domino_id(high, low) for high, low in dominoes]


def test_dominoes_are_numbered_from_blanks_to_sixes() -> None:
    """The id of h-l is h(h+1)/2 + l, and the table of pips says the same."""
    assert ids((0, 0), (1, 0), (1, 1), (6, 6)) == [0, 1, 2, 27]
    assert [domino_id(*reference.domino_of(number)) for number in range(28)] == list(range(28))
    assert [tuple(ends) for ends in rules.PIPS.tolist()] == [reference.domino_of(number) for number in range(28)]


def test_a_hand_is_worth_42_points() -> None:
    """Thirty-five in counters and one for each of seven tricks."""
    assert int(rules.COUNTERS.sum()) + 7 == rules.HAND_POINTS
    assert rules.trick_points(ids((5, 5), (6, 4), (5, 0), (1, 0))) == 26


def test_tables_agree_with_the_reference_rules() -> None:
    """Called sets, who follows and who beats whom are the same in both spellings, everywhere."""
    dominoes = [reference.domino_of(number) for number in range(28)]
    for declaration in range(10):
        for lead, led in enumerate(dominoes):
            suit = rules.LED_SUIT[declaration, lead]
            ranks = rules.TRICK_RANK[declaration, suit]
            assert rules.CALLED[declaration, lead] == reference.is_called(led, declaration)
            for number, domino in enumerate(dominoes):
                assert rules.FOLLOWS[declaration, suit, number] == reference.follows(domino, led, declaration)
                for other, held in enumerate(dominoes):
                    beats = reference.beats(domino, held, led, declaration)
                    assert (ranks[number] > ranks[other]) == beats, (declaration, led, domino, held)


@pytest.mark.parametrize(
    ("declaration", "plays", "position"),
    [
        (6, [(5, 4), (5, 5), (6, 0), (6, 6)], 3),  # the double is the highest trump
        (6, [(5, 4), (6, 0), (6, 1), (5, 5)], 2),  # any trump beats the led suit
        (0, [(5, 0), (5, 5), (4, 4), (1, 1)], 0),  # a trump lead asks for trumps; doubles of other suits cannot win
        (7, [(3, 2), (3, 3), (6, 6), (3, 1)], 2),  # doubles trump by their pips
        (8, [(3, 2), (3, 3), (6, 6), (6, 3)], 3),  # the doubles suit has no trump power, and 3-3 is no three
        (8, [(0, 0), (6, 5), (1, 1), (4, 3)], 2),  # but it is a suit when led
        (9, [(4, 2), (6, 6), (4, 4), (6, 4)], 2),  # no trump: the double is the highest of the led pip
        (9, [(2, 0), (3, 1), (5, 4), (6, 6)], 0),  # nobody follows: the lead holds
    ],
)
def test_winner_of_a_trick(declaration: int, plays: list[tuple[int, int]], position: int) -> None:
    """The trick goes to the highest trump, else to the highest of the led suit."""
    assert rules.winner(ids(*plays), declaration) == position


def test_must_follow_if_able() -> None:
    """A trump never follows its other pip, and a hand without the led suit may play anything."""
    hand = ids((6, 5), (5, 2), (4, 4), (3, 0))
    assert rules.legal(hand, domino_id(5, 1), 6) == ids((5, 2))
    assert rules.legal(hand, domino_id(6, 1), 6) == ids((6, 5))
    assert rules.legal(hand, domino_id(1, 1), 6) == hand
    assert rules.legal(hand, domino_id(4, 1), 8) == hand
    assert rules.legal(hand, None, 6) == hand


def test_trump_ranks_fall_from_the_double() -> None:
    """Rank 0 is the double, then by the other end; a declaration without trump power has none."""
    sixes = ids((6, 6), (6, 5), (6, 4), (6, 3), (6, 2), (6, 1), (6, 0))
    assert rules.TRUMP_RANK[6, sixes].tolist() == list(range(7))
    assert rules.TRUMP_RANK[7, ids((6, 6), (0, 0))].tolist() == [0, 6]
    assert (rules.TRUMP_RANK[[8, 9]] == rules.NOT_TRUMP).all()
    assert (rules.TRUMP_RANK[:8] < rules.NOT_TRUMP).sum(axis=1).tolist() == [7] * 8


def test_a_seed_names_a_deal() -> None:
    """Python's shuffle of the ids, cut in four and sorted."""
    assert deal_hands(0).tolist() == [
        [0, 3, 5, 7, 10, 14, 17],
        [2, 4, 18, 19, 21, 23, 25],
        [6, 9, 11, 15, 20, 22, 26],
        [1, 8, 12, 13, 16, 24, 27],
    ]
    for seed in random.Random(1).sample(range(1000), 20):
        assert np.array_equal(np.sort(deal_hands(seed), axis=None), np.arange(28))


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_seed_out_of_range_is_refused(seed: int) -> None:
    """Python would deal the hands of 1 for -1, so a negative seed is an error that names itself."""
    with pytest.raises(DealError, match=f"seed {seed} is outside 0 to"):
        deal_hands(seed)


@pytest.mark.parametrize("declaration", [-1, 10])
def test_declaration_out_of_range_is_refused(declaration: int) -> None:
    """There are ten declarations."""
    with pytest.raises(DealError, match=f"declaration {declaration} is outside 0 to 9"):
        checked_declaration(declaration)
