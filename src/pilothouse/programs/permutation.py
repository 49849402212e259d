"""Permutations of any size that are computed place by place: no list is kept, and any place is known by itself.

A permutation is a Feistel cipher over the numbers. Those the cipher sends beyond the last are enciphered again until
they fit (cycle walking: Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
"""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint64]

_ROUNDS: Final = 6
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)


def permuted(places: Words, *, keys: Words, size: int) -> NDArray[np.int64]:
    """Return the numbers below `size` that stand at `places`, each in the permutation of its own key."""
    assert size >= 1, size
    half_bits = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    numbers = _encipher(places, keys, half_bits)
    while np.any(beyond := numbers >= size):
        numbers[beyond] = _encipher(numbers[beyond], keys[beyond], half_bits)
    return numbers.astype(np.int64)


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
