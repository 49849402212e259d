"""Which positions become rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.programs.forty_two.packing import ROOT, unpack
from pilothouse.programs.forty_two.sampling import Scheme, draw_ranks, draw_states, equal_shares, sample_shard
from pilothouse.programs.forty_two.shards import Shard, content_digest
from pilothouse.programs.forty_two.solver import Solution, solve


@pytest.fixture(scope="module", name="small")
def _small() -> Solution:
    """Solve the smallest deal known."""
    return solve(930, 0)


def shard(rows: int, scheme: Scheme, *, seed: int = 930, global_seed: int = 42) -> Shard:
    return sample_shard(seed=seed, declaration=0, rows=rows, scheme=scheme, global_seed=global_seed)[0]


def by_left(states: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[int]:
    return [int(number) for number in np.bincount(np.bitwise_count(states & (1 << 28) - 1), minlength=29)]


def test_asking_for_all_gives_every_position_once(small: Solution) -> None:
    """Ranks and positions are one to one: 3,168,588 different states, as many per stratum as were counted."""
    states = draw_states(small, rows=small.states, scheme=Scheme.UNIFORM, name="all")
    assert len(states) == small.states == 3_168_588
    assert (np.diff(states) > 0).all()
    assert by_left(states) == small.strata.tolist()
    assert ROOT in states


def test_rows_ascend_and_differ(small: Solution) -> None:
    """No state comes twice."""
    for scheme in Scheme:
        states = draw_states(small, rows=5000, scheme=scheme, name="rows")
        assert len(states) == 5000
        assert (np.diff(states) > 0).all()


def test_values_are_minimax_over_the_legal_moves() -> None:
    """V is the best legal Q for the mover's team; an end has no move and no value."""
    rows = shard(5000, Scheme.STRATIFIED)
    q = rows.q.astype(np.int64)
    legal = q != -128
    best = np.where(legal, q, -200).max(axis=1)
    least = np.where(legal, q, 200).min(axis=1)
    even = unpack(rows.state).mover % 2 == 0
    assert legal.any(axis=1).all()
    assert np.array_equal(rows.v, np.where(even, best, least))
    assert (np.abs(rows.v) <= 42).all()


def test_stratified_gives_each_number_of_dominoes_left_its_share(small: Solution) -> None:
    """The opening is in, small strata give all they have, the rest alike, and the end of the hand nothing."""
    shares = np.array(by_left(draw_states(small, rows=2800, scheme=Scheme.STRATIFIED, name="strata")))
    full = small.strata == shares
    assert shares[0] == 0
    assert shares[28] == 1
    assert shares[27] == 7
    others = shares[1:][~full[1:]]
    assert others.max() - others.min() <= 1
    assert (shares[1:][full[1:]] <= others.max()).all()


def test_uniform_follows_the_sizes_of_the_strata(small: Solution) -> None:
    """A uniform draw of 20,000 hits each stratum within five standard deviations."""
    rows = 20_000
    counts = np.array(by_left(draw_states(small, rows=rows, scheme=Scheme.UNIFORM, name="uniform")))
    chance = small.strata / small.states
    assert (np.abs(counts - rows * chance) <= 5 * np.sqrt(rows * chance * (1 - chance)) + 1).all()


@pytest.mark.parametrize(
    ("scheme", "digest"),
    [
        (Scheme.UNIFORM, "c0d10cc068bfb49ac128b555c714e9a760d98a9a010213c1e731b5fd3448a295"),
        (Scheme.STRATIFIED, "acaef7e57ca93c5d99e28b0fc57afe30ea86c980d7a7be7b38ae7a5f9226f14c"),
    ],
)
def test_rows_are_the_same_everywhere(scheme: Scheme, digest: str) -> None:
    """The digest of a shard does not depend on the machine, the Python or the NumPy that made it."""
    assert content_digest(shard(500, scheme)) == digest


def test_the_draw_depends_on_every_part_of_its_name() -> None:
    """Another global seed gives other rows; the same names give the same."""
    first = shard(500, Scheme.UNIFORM)
    assert np.array_equal(first.state, shard(500, Scheme.UNIFORM).state)
    assert not np.array_equal(first.state, shard(500, Scheme.UNIFORM, global_seed=43).state)
    assert not np.array_equal(draw_ranks("a", total=10**6, rows=50), draw_ranks("b", total=10**6, rows=50))


@given(total=st.integers(min_value=0, max_value=2000), rows=st.integers(min_value=0, max_value=2500))
def test_ranks_are_distinct_and_within_the_total(total: int, rows: int) -> None:
    """As many as asked for, or all there are."""
    ranks = draw_ranks("property", total=total, rows=rows)
    assert len(ranks) == min(rows, total)
    assert (np.diff(ranks) > 0).all()
    assert ((ranks >= 0) & (ranks < total)).all()


def test_every_rank_is_equally_likely() -> None:
    """Over 2,000 names each of ten ranks is among three drawn about 600 times."""
    hits = np.zeros(10)
    for name in range(2000):
        hits[draw_ranks(str(name), total=10, rows=3)] += 1
    assert np.abs(hits - 600).max() < 5 * np.sqrt(2000 * 0.3 * 0.7)


@given(st.lists(st.integers(min_value=0, max_value=1000), min_size=1, max_size=29), st.integers(0, 20_000))
def test_shares_use_all_rows_and_no_more_than_there_are(sizes: list[int], rows: int) -> None:
    """The shares sum to the rows as far as the sizes allow, and a smaller share means an exhausted stratum."""
    shares = equal_shares(np.array(sizes, dtype=np.int64), rows)
    assert shares.sum() == min(rows, sum(sizes))
    assert (shares <= sizes).all()
    short = shares < shares.max() - 1
    assert (shares[short] == np.array(sizes)[short]).all()
