"""Which rows a step trains on, by the step alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.programs.forty_two.loader import sample_ids, step_count


def _walk(rows: int, batch_size: int, epochs: int, seed: int = 1) -> list[int]:
    steps = -(-epochs * rows // batch_size)
    batches = [sample_ids(seed=seed, rows=rows, batch_size=batch_size, step=step) for step in range(steps)]
    return [int(number) for number in np.concatenate(batches)[: epochs * rows]]


@given(rows=st.integers(1, 700), batch_size=st.integers(1, 300), seed=st.integers(0, 2**63 - 1))
def test_each_epoch_shows_every_row_once(rows: int, batch_size: int, seed: int) -> None:
    """Whatever the sizes, an epoch is a permutation, and batches run on from one epoch into the next."""
    walked = _walk(rows, batch_size, epochs=2, seed=seed)

    assert sorted(walked[:rows]) == list(range(rows))
    assert sorted(walked[rows:]) == list(range(rows))


@pytest.mark.parametrize("rows", [1_000, 4_096, 4_097])
def test_epochs_and_seeds_have_their_own_order(rows: int) -> None:
    """No epoch repeats another's order, nor does another seed; rows rarely stay in place."""
    walked = _walk(rows, 64, epochs=2)
    first, second, other = walked[:rows], walked[rows:], _walk(rows, 64, epochs=1, seed=2)

    for left, right in ((first, second), (first, other), (first, list(range(rows)))):
        assert sum(one == two for one, two in zip(left, right, strict=True)) < 12


def test_the_order_looks_drawn_by_lot() -> None:
    """Neighbours in the order are no neighbours in the data: ranks do not correlate."""
    walked = np.array(_walk(20_000, 100, epochs=1), dtype=np.float64)

    for lag in (1, 2, 64, 100):
        assert abs(np.corrcoef(walked[:-lag], walked[lag:])[0, 1]) < 0.03


def test_a_step_is_the_same_whoever_asks_when() -> None:
    """There is no state: the last step first gives the same rows."""
    late = sample_ids(seed=9, rows=50_000, batch_size=32, step=10**6)

    assert np.array_equal(late, sample_ids(seed=9, rows=50_000, batch_size=32, step=10**6))
    assert late.dtype == np.int64


def test_the_order_never_changes_between_versions() -> None:
    """A resumed run on another NumPy goes on in the same order: these rows are written out."""
    assert sample_ids(seed=42, rows=1_000, batch_size=8, step=3).tolist() == [391, 847, 183, 17, 614, 746, 377, 778]


@pytest.mark.parametrize(
    ("rows", "batch_size", "epochs", "steps"), [(1_000, 100, 2.0, 20), (1_000, 300, 1.0, 3), (5, 100, 1.0, 1)]
)
def test_steps_follow_from_epochs(rows: int, batch_size: int, epochs: float, steps: int) -> None:
    """Rounded to whole batches, and never none."""
    assert step_count(rows=rows, batch_size=batch_size, epochs=epochs) == steps
