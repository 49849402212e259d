"""Which rows a step trains on: a pure function of the step, so the loader's whole state is one integer.

Steps walk through the rows in the order of a permutation that is drawn anew for each epoch, and go on into the next
epoch without a gap.
"""

import numpy as np
from numpy.typing import NDArray

from pilothouse.programs.permutation import mix, permuted


def step_count(*, rows: int, batch_size: int, epochs: float) -> int:
    """Count the steps that show every row about `epochs` times; at least one."""
    return max(1, round(epochs * rows / batch_size))


def sample_ids(*, seed: int, rows: int, batch_size: int, step: int) -> NDArray[np.int64]:
    """Return int64[batch_size]: the rows of step `step`, counted from 0."""
    assert rows >= 1, rows
    assert step >= 0, step
    positions = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.uint64)
    epochs, places = np.divmod(positions, np.uint64(rows))
    keys = mix(mix(np.full(batch_size, seed, dtype=np.uint64)) ^ epochs)
    return permuted(places, keys=keys, size=rows)
