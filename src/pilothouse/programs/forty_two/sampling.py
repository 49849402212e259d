"""Which positions of a deal become rows: drawn without replacement, the same on every machine for the same names.

`uniform` draws from all reachable positions alike, so nearly all rows have 9 to 16 dominoes left. `stratified` gives
each number of dominoes left, 28 to 1, an equal share; a stratum with fewer positions gives all it has, and the others
share the rest. The end of the hand, with nothing to play, is only ever drawn by `uniform`.

The draws come from Philox, whose stream NumPy keeps fixed, under a key made from the names, so neither the order in
which shards are made nor the library's version changes a row.
"""

import hashlib
from enum import StrEnum

import numpy as np

from pilothouse.programs.forty_two.inside import pick_level
from pilothouse.programs.forty_two.packing import States
from pilothouse.programs.forty_two.rules import SEATS
from pilothouse.programs.forty_two.shards import Shard
from pilothouse.programs.forty_two.solver import Solution, level_hands, solve
from pilothouse.programs.forty_two.tables import LANE_MASKS, LEVELS, ROW_OFFSETS, Ints


class Scheme(StrEnum):
    """How rows are shared out among the positions of a deal."""

    UNIFORM = "uniform"
    STRATIFIED = "stratified"


def sample_shard(*, seed: int, declaration: int, rows: int, scheme: Scheme, global_seed: int) -> tuple[Shard, int]:
    """Return the shard of a deal, at most `rows` long, and the number of positions it was drawn from."""
    solution = solve(seed, declaration)
    name = f"forty-two {scheme} {global_seed} {seed} {declaration}"
    states = draw_states(solution, rows=rows, scheme=scheme, name=name)
    v, q = solution.evaluate(states)
    return Shard(seed=seed, declaration=declaration, state=states, v=v, q=q, scheme=scheme.value), solution.states


def draw_states(solution: Solution, *, rows: int, scheme: Scheme, name: str) -> States:
    """Return int64[n], n <= rows: distinct reachable packed states, ascending, drawn under a name."""
    strata = solution.strata
    if scheme is Scheme.UNIFORM:
        ends = np.cumsum(strata)
        drawn = draw_ranks(name, total=int(ends[-1]), rows=rows)
        bounds = np.searchsorted(drawn, np.concatenate([[0], ends]))
        ranks = [drawn[bounds[left] : bounds[left + 1]] - (ends[left] - strata[left]) for left in range(len(strata))]
    else:
        shares = equal_shares(np.concatenate([[0], strata[1:]]), rows)
        ranks = [
            draw_ranks(f"{name} {left}", total=int(strata[left]), rows=int(shares[left])) for left in range(len(strata))
        ]
    return np.sort(np.concatenate([_states_at(solution, level, ranks) for level in range(LEVELS)]))


def equal_shares(sizes: Ints, rows: int) -> Ints:
    """Return int64[n]: how many rows each stratum gives, alike as far as its size allows, min(rows, sum) in all."""
    shares: Ints = np.zeros(len(sizes), dtype=np.int64)
    rest = rows
    for place, stratum in enumerate(np.argsort(sizes, kind="stable")):
        shares[stratum] = min(int(sizes[stratum]), rest // (len(sizes) - place))
        rest -= int(shares[stratum])
    return shares


def draw_ranks(name: str, *, total: int, rows: int) -> Ints:
    """Return int64[min(rows, total)]: distinct numbers below `total`, ascending, each set of them equally likely."""
    if rows >= total:
        return np.arange(total, dtype=np.int64)
    if rows > total // 2:
        kept = np.ones(total, dtype=np.bool_)
        kept[draw_ranks(name, total=total, rows=total - rows)] = False
        return np.flatnonzero(kept).astype(np.int64)
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    stream = np.random.Philox(key=key)
    drawn: Ints = np.empty(0, dtype=np.int64)
    while len(drawn) < rows:
        words = np.asarray(stream.random_raw(max(64, 2 * (rows - len(drawn)))), dtype=np.uint64)
        fresh = ((words >> np.uint64(11)).astype(np.float64) * 2.0**-53 * total).astype(np.int64)
        drawn = _first_occurrences(np.concatenate([drawn, fresh]))
    return np.sort(drawn[:rows])


def _first_occurrences(numbers: Ints) -> Ints:
    _, places = np.unique(numbers, return_index=True)
    return numbers[np.sort(places)]


def _states_at(solution: Solution, level: int, ranks: list[Ints]) -> States:
    """Return the states of a level whose ranks within their strata are given by dominoes left."""
    lengths = range(SEATS) if level > 0 else range(1)
    wanted = [ranks[SEATS * level - length] for length in lengths]
    starts = np.zeros(SEATS + 1, dtype=np.int64)
    starts[1 : len(wanted) + 1] = np.cumsum([len(part) for part in wanted])
    starts[len(wanted) + 1 :] = starts[len(wanted)]
    picked: States = np.empty(int(starts[-1]), dtype=np.int64)
    if len(picked) > 0:
        pick_level(
            ROW_OFFSETS[level],
            level_hands(level),
            LANE_MASKS[level],
            solution.tables.suits,
            solution.tables.moves,
            solution.reach,
            np.concatenate(wanted),
            starts,
            picked,
        )
    return picked
