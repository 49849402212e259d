"""The oracle: the exact value of every position of one deal under one declaration.

Only positions between tricks are stored, in a dense table by hands and leader (see `tables`). One pass forward marks
what can be reached and counts it, one pass backward values it, and everything inside a trick is played out from there.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from pilothouse.programs.forty_two.backward import value_level
from pilothouse.programs.forty_two.deal import checked_declaration, deal_hands
from pilothouse.programs.forty_two.forward import mark_level
from pilothouse.programs.forty_two.inside import fill_values
from pilothouse.programs.forty_two.packing import ROOT, States
from pilothouse.programs.forty_two.rules import DOMINOES, HAND, ILLEGAL, SEATS, Bytes
from pilothouse.programs.forty_two.tables import (
    CHOICES,
    LANES,
    LEVEL_MASKS,
    LEVELS,
    ROW_OFFSETS,
    ROW_STRIDES,
    DealTables,
    Ints,
    Words,
    deal_tables,
)

_ROOT_LANE: Final = np.uint64(1 << 63)  # seat 3 with all seven dominoes
_ROWS: Final = int(ROW_OFFSETS[-1])


@dataclass(frozen=True, kw_only=True)
class Solution:
    """The table of one deal under one declaration."""

    hands: Bytes
    """int8[4, 7]: domino ids."""
    declaration: int
    tables: DealTables
    reach: Words
    """uint64[rows]: the lanes of each row that can be reached."""
    values: Bytes
    """int8[(rows + 1) * 64]: points to go, team 0 minus team 1, behind 64 bytes of padding."""
    counts: Ints
    """int64[8, 4]: reachable positions by level and by dominoes in the trick."""

    @property
    def states(self) -> int:
        """The number of reachable positions, inside the tricks too."""
        return int(self.counts.sum())

    @property
    def boundary_states(self) -> int:
        """The number of reachable positions between tricks, the opening and the ends included."""
        return int(self.counts[:, 0].sum())

    @property
    def strata(self) -> Ints:
        """int64[29]: the reachable positions by dominoes left."""
        sizes = np.zeros(DOMINOES + 1, dtype=np.int64)
        for level, length in np.ndindex(LEVELS, SEATS):
            if level > 0 or length == 0:
                sizes[SEATS * level - length] = self.counts[level, length]
        return sizes

    @cached_property
    def _root(self) -> tuple[Bytes, Bytes]:
        return self.evaluate(np.array([ROOT], dtype=np.int64))

    @property
    def root_value(self) -> int:
        """What the hand is worth with seat 0 on lead, team 0 minus team 1."""
        return int(self._root[0][0])

    @property
    def root_q(self) -> list[int]:
        """The value of each opening lead, by seat 0's sorted hand."""
        return [int(value) for value in self._root[1][0]]

    def evaluate(self, states: States) -> tuple[Bytes, Bytes]:
        """Return v int8[n] and q int8[n, 7] of reachable packed states, for team 0; -128 marks an illegal move."""
        v = np.empty(len(states), dtype=np.int8)
        q = np.full((len(states), HAND), ILLEGAL, dtype=np.int8)
        tables = self.tables
        fill_values(states, ROW_OFFSETS, ROW_STRIDES, tables.suits, tables.moves, tables.plays, self.values, v, q)
        return v, q


def solve(seed: int, declaration: int) -> Solution:
    """Return the solution of a deal; `DealError` for a seed or declaration out of range."""
    return solve_hands(deal_hands(seed), checked_declaration(declaration))


def solve_hands(hands: Bytes, declaration: int) -> Solution:
    """Return the solution of four sorted hands (int8[4, 7]), seat 0 on lead."""
    tables = deal_tables(hands, declaration)
    reach, counts = _reach(tables)
    return Solution(
        hands=hands,
        declaration=declaration,
        tables=tables,
        reach=reach,
        values=_values(tables, reach),
        counts=counts,
    )


def prepare() -> None:
    """Load or compile what `solve` runs, so that the next call costs its own work alone."""
    tables = deal_tables(deal_hands(0), 0)
    nothing = np.zeros((1, SEATS), dtype=np.int64)
    reach: Words = np.zeros(SEATS, dtype=np.uint64)
    values: Bytes = np.zeros((SEATS + 1) * LANES, dtype=np.int8)
    _mark(0, tables, reach, nothing, level_hands(0)[:0])
    _value(0, tables, reach, values, level_hands(0)[:0])


def level_hands(level: int) -> Ints:
    """Return int64[C(7, level)]: the hands of a level, ascending."""
    return LEVEL_MASKS[level, : CHOICES[level]]


def _reach(tables: DealTables) -> tuple[Words, Ints]:
    reach: Words = np.zeros(_ROWS, dtype=np.uint64)
    reach[ROW_OFFSETS[HAND]] = _ROOT_LANE
    counts: Ints = np.zeros((LEVELS, SEATS), dtype=np.int64)
    for level in range(HAND, 0, -1):
        _mark(level, tables, reach, counts, level_hands(level))
    counts[0, 0] = np.count_nonzero(reach[: ROW_OFFSETS[1]])
    return reach, counts


def _values(tables: DealTables, reach: Words) -> Bytes:
    values: Bytes = np.zeros((_ROWS + 1) * LANES, dtype=np.int8)
    for level in range(1, LEVELS):
        _value(level, tables, reach, values, level_hands(level))
    return values


def _mark(level: int, tables: DealTables, reach: Words, counts: Ints, hands: Ints) -> None:
    below = max(level - 1, 0)
    mark_level(
        ROW_OFFSETS[level],
        ROW_OFFSETS[below],
        hands,
        ROW_STRIDES[below],
        tables.suits,
        tables.moves,
        tables.plays,
        tables.allowed[level],
        tables.climb,
        tables.beaten,
        reach,
        counts[level],
    )


def _value(level: int, tables: DealTables, reach: Words, values: Bytes, hands: Ints) -> None:
    below = max(level - 1, 0)
    value_level(
        ROW_OFFSETS[level],
        ROW_OFFSETS[below],
        hands,
        ROW_STRIDES[below],
        tables.suits,
        tables.moves,
        tables.plays,
        tables.allowed[level],
        tables.bars[level],
        reach,
        values,
    )
