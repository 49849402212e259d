"""Which rows a step trains on: a pure function of the step, so the loader's whole state is one integer.

Steps walk through the rows in the order of a permutation that is drawn anew for each epoch, and go on into the next
epoch without a gap. The permutation is a Feistel cipher over the row numbers: any position is computed by itself, for
any epoch, without a list of rows. Numbers the cipher sends beyond the last row are enciphered again until they fit
(cycle walking: Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
"""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint64]

_ROUNDS: Final = 6
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)


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
    half_bits = np.uint64(max(1, ((rows - 1).bit_length() + 1) // 2))
    ids = _encipher(places, keys, half_bits)
    while np.any(beyond := ids >= rows):
        ids[beyond] = _encipher(ids[beyond], keys[beyond], half_bits)
    return ids.astype(np.int64)


def mix(words: Words) -> Words:
    """Scramble 64-bit words one to one: the output function of SplitMix64 (Steele, Lea and Flood 2014)."""
    words = words + _GOLDEN
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    scrambled: Words = words ^ (words >> np.uint64(31))
    return scrambled


def _encipher(places: Words, keys: Words, half_bits: np.uint64) -> Words:
    """Permute the numbers below 4 ** half_bits, differently for each key."""
    low_half = (np.uint64(1) << half_bits) - np.uint64(1)
    left, right = places >> half_bits, places & low_half
    for round_ in range(_ROUNDS):
        turned = mix(keys + np.uint64(round_) ^ right << np.uint64(32)) & low_half
        left, right = right, left ^ turned
    joined: Words = left << half_bits | right
    return joined
