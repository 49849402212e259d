"""The solver against published totals and against values found by an independent solver."""

import numpy as np
import pytest

from pilothouse.programs.forty_two.deal import DealError
from pilothouse.programs.forty_two.packing import ROOT
from pilothouse.programs.forty_two.solver import solve

PUBLISHED_STATES = [
    (0, 0, 7_607_411),
    (930, 0, 3_168_588),
    (1, 1, 5_181_785),
    (930, 8, 15_634_073),
    (200, 0, 25_965_657),
    (900, 7, 15_338_050),
    (727, 7, 111_639_214),
    (434, 4, 190_676_461),
]

GOLDEN = """
0   0  42   42  38  42  42  38  42  42   448979
930 0  38   38  28  38  28  28  28  28   193304
200 0   4    4 -30 -40   2 -42 -42   4  1282186
201 1  14    6   6  14   4  -4  -6  -6  1205263
202 2  -2   -2  -2  -4  -2  -6 -26  -6  1219964
203 3   4  -28 -28 -28 -28   4   4 -28  1849582
204 4  38   38  38  28  38  26  26  30  1060274
205 5   4  -10 -10   4   4  -8 -10 -10   682919
206 6 -24  -38 -38 -24 -30 -40 -40 -24  1522713
207 7 -30  -40 -30 -42 -42 -42 -42 -42   576225
208 8  14   14  14 -30  14  14  -4  14  1135364
209 9  42   24  42  42  42  42  42  42   616686
900 0  28   28  26  28  28  28  28  28   354024
900 1  16    4  14  -4  16   2   4 -16   276289
900 2  42   42  42  42  42  40  20  40  1025262
900 3  26    6  16  -8  26  16  26   6   427503
900 4  42   42  42  42  18  42  42  42   565003
900 5  40   40  38  40  40  28  40  40   464341
900 6  42   42  42  42  42  42  42  42   306318
900 7  42   42  42  28  42  42  40  42   782830
900 8  42   42  42  12  42  18   8  42   854302
900 9  42   42  42  42  42  42  42  42   314941
"""


@pytest.mark.parametrize(("seed", "declaration", "states"), PUBLISHED_STATES)
def test_number_of_positions(seed: int, declaration: int, states: int) -> None:
    """The reachable positions, inside the tricks too, number what an exhaustive enumeration finds."""
    solution = solve(seed, declaration)
    assert solution.states == states
    assert int(solution.strata.sum()) == states
    assert solution.strata[28] == 1
    assert solution.strata[27] == 7


@pytest.mark.parametrize("line", GOLDEN.strip().splitlines())
def test_golden_values(line: str) -> None:
    """Root value, the value of each lead, and the number of positions between tricks."""
    seed, declaration, value, *q, boundary = map(int, line.split())
    solution = solve(seed, declaration)
    assert solution.root_value == value
    assert solution.root_q == q
    assert solution.boundary_states == boundary


def test_terminal_positions_are_worth_nothing() -> None:
    """An end has no moves and no points to come, whoever took the last trick."""
    ends = np.array([(leader << 28) | 0b111_111_111 << 32 for leader in range(4)], dtype=np.int64)
    v, q = solve(0, 0).evaluate(ends)
    assert v.tolist() == [0] * 4
    assert (q == -128).all()


def test_the_same_deal_twice_gives_the_same_table() -> None:
    """Nothing of an earlier solution remains in a later one."""
    first = solve(3, 3)
    solve(930, 8)
    second = solve(3, 3)
    assert np.array_equal(first.reach, second.reach)
    assert np.array_equal(first.values, second.values)
    assert first.evaluate(np.array([ROOT]))[1].tolist() == second.evaluate(np.array([ROOT]))[1].tolist()


@pytest.mark.parametrize(("seed", "declaration"), [(-1, 0), (0, 10), (0, -1)])
def test_no_such_deal(seed: int, declaration: int) -> None:
    """A seed or declaration out of range is refused by name."""
    with pytest.raises(DealError, match="is outside 0 to"):
        solve(seed, declaration)
