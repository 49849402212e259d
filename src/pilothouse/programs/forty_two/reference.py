"""The slow reference: the rules written out in plain Python, and minimax over them with a memory of positions.

It shares no table and no code with the compiled solver, so that a mistake would have to be made twice to go unseen.
It is meant for positions with a dozen dominoes left; from the opening it would take hours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

Domino = tuple[int, int]
"""The high and the low end."""


@dataclass(frozen=True, slots=True)
class Position:
    """Four hands of local indices, and the trick so far as (seat, local index) in order of play."""

    hands: tuple[frozenset[int], ...]
    trick: tuple[tuple[int, int], ...]
    leader: int

    @property
    def mover(self) -> int:
        """The seat to play."""
        return (self.leader + len(self.trick)) % 4

    def packed(self) -> int:
        """Return the position as one integer, in the format of `packing`."""
        packed = self.leader << 28 | len(self.trick) << 30
        for seat, hand in enumerate(self.hands):
            packed |= sum(1 << index for index in hand) << 7 * seat
        for place in range(3):
            packed |= (self.trick[place][1] if place < len(self.trick) else 7) << 32 + 3 * place
        return packed


OPENING = Position(hands=(frozenset(range(7)),) * 4, trick=(), leader=0)


def counters(domino: Domino) -> int:
    """Return ten for 5-5 and 6-4, five for the other dominoes whose pips make five, else none."""
    return {(5, 5): 10, (6, 4): 10, (5, 0): 5, (4, 1): 5, (3, 2): 5}.get(domino, 0)


def is_called(domino: Domino, declaration: int) -> bool:
    """Tell whether a domino belongs to the called suit."""
    high, low = domino
    if declaration <= 6:
        return declaration in domino
    return declaration in {7, 8} and high == low


def follows(domino: Domino, lead: Domino, declaration: int) -> bool:
    """Tell whether a domino is of the suit that was led."""
    if is_called(lead, declaration):
        return is_called(domino, declaration)
    return lead[0] in domino and not is_called(domino, declaration)


def beats(challenger: Domino, holder: Domino, lead: Domino, declaration: int) -> bool:
    """Tell whether a later play takes the trick from the one that holds it."""
    strength = _strength(challenger, lead, declaration)
    return strength > _strength(holder, lead, declaration)


def _strength(domino: Domino, lead: Domino, declaration: int) -> tuple[int, int]:
    called = is_called(domino, declaration)
    high, low = domino
    order = 14 if high == low else high + low
    if called and declaration in {7, 8}:
        order = high
    if called and declaration != 8:
        return 2, order
    return (1, order) if follows(domino, lead, declaration) else (0, 0)


@dataclass(frozen=True, slots=True)
class Reference:
    """Minimax over one deal under one declaration."""

    hands: Sequence[Sequence[Domino]]
    declaration: int
    _known: dict[Position, int] = field(default_factory=dict)

    def legal(self, position: Position) -> list[int]:
        """Return the local indices that the mover may play, ascending."""
        seat = position.mover
        hand = sorted(position.hands[seat])
        if not position.trick:
            return hand
        lead = self._domino(position.trick[0])
        following = [index for index in hand if follows(self.hands[seat][index], lead, self.declaration)]
        return following or hand

    def play(self, position: Position, index: int) -> tuple[int, Position]:
        """Return what the move scores at once, for team 0, and the position after it."""
        seat = position.mover
        hands = tuple(hand - {index} if place == seat else hand for place, hand in enumerate(position.hands))
        trick = (*position.trick, (seat, index))
        if len(trick) < 4:
            return 0, Position(hands=hands, trick=trick, leader=position.leader)
        holder = trick[0]
        for later in trick[1:]:
            if beats(self._domino(later), self._domino(holder), self._domino(trick[0]), self.declaration):
                holder = later
        points = 1 + sum(counters(self._domino(played)) for played in trick)
        winner = holder[0]
        return (points if winner % 2 == 0 else -points), Position(hands=hands, trick=(), leader=winner)

    def moves(self, position: Position) -> dict[int, int]:
        """Return the value of each legal move for team 0: what it scores and what is to come."""
        values = {}
        for index in self.legal(position):
            scored, after = self.play(position, index)
            values[index] = scored + self.value(after)
        return values

    def value(self, position: Position) -> int:
        """Return what is to come, team 0 minus team 1."""
        if not any(position.hands):
            return 0
        if position not in self._known:
            values = self.moves(position).values()
            self._known[position] = max(values) if position.mover % 2 == 0 else min(values)
        return self._known[position]

    def _domino(self, played: tuple[int, int]) -> Domino:
        seat, index = played
        return self.hands[seat][index]


def domino_of(number: int) -> Domino:
    """Return the ends of the domino with an id."""
    return next(_dominoes(number))


def _dominoes(number: int) -> Iterator[Domino]:
    for high, low in product(range(7), range(7)):
        if low <= high and high * (high + 1) // 2 + low == number:
            yield high, low
