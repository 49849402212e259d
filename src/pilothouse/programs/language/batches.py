"""Which tokens a step trains on: a pure function of seed and step, so the loader's whole state is one integer.

The rows of all steps are numbered through. In every block of 1,024 rows each source has its share of places to the last
row, in an order drawn for that block. Within a source, its rows walk through windows of the text in the order of a
permutation that is drawn anew for each epoch, from a first token that is drawn too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pilothouse.programs.language.token_shards import Tokens
from pilothouse.programs.permutation import mix, permuted
from pilothouse.trainer import OptionRefused

BLOCK: Final = 1024
_OFFSETS: Final = np.uint64(0x0FF5E7)


@dataclass(frozen=True, slots=True)
class Batches:
    """The training tokens of a run, by step."""

    tokens: tuple[Tokens, ...]
    quotas: tuple[int, ...]
    """Rows of each source in a block."""
    sequence: int
    seed: int

    def rows(self, first: int, end: int) -> NDArray[np.int32]:
        """Return int32[end - first, sequence + 1]: the rows of these numbers."""
        sources, places = self._shares(first, end)
        found = np.zeros((end - first, self.sequence + 1), dtype=np.int32)
        for number, tokens in enumerate(self.tokens):
            mine = sources == number
            if np.any(mine):
                found[mine] = tokens.windows(self._starts(number, len(tokens), places[mine]), self.sequence + 1)
        return found

    def epochs(self, rows: int) -> tuple[float, ...]:
        """Return how often each source has been shown after so many rows."""
        windows = [_window_count(len(tokens), self.sequence) for tokens in self.tokens]
        return tuple(rows * quota / BLOCK / count for quota, count in zip(self.quotas, windows, strict=True))

    def _shares(self, first: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return the source of each row from `first` to `end`, and its number among that source's rows."""
        low, high = first // BLOCK, -(-end // BLOCK)
        blocks = [self._block(block) for block in range(low, high)]
        inside = slice(first - low * BLOCK, end - low * BLOCK)
        sources, places = (np.concatenate(parts)[inside] for parts in zip(*blocks, strict=True))
        return sources, places.astype(np.uint64)

    def _block(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the same for all rows of a block: sources in a drawn order, each counted on where it was."""
        keys = mix(mix(np.full(BLOCK, self.seed, dtype=np.uint64)) ^ np.uint64(block))
        drawn = permuted(np.arange(BLOCK, dtype=np.uint64), keys=keys, size=BLOCK)
        sources = np.searchsorted(np.cumsum(self.quotas), drawn, side="right")
        places = np.zeros(BLOCK, dtype=np.int64)
        for number, quota in enumerate(self.quotas):
            places[sources == number] = np.arange(block * quota, (block + 1) * quota)
        return sources, places

    def _starts(self, source: int, length: int, places: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the first token of the windows at these places of a source's walk."""
        windows = _window_count(length, self.sequence)
        epochs, inside = np.divmod(places, np.uint64(windows))
        seeds = np.full(len(places), self.seed, dtype=np.uint64)
        keys = mix(mix(mix(seeds) + np.uint64(source + 1)) ^ epochs)
        spare = length - windows * self.sequence
        offsets = (mix(keys ^ _OFFSETS) % np.uint64(spare)).astype(np.int64)
        return permuted(inside, keys=keys, size=windows) * self.sequence + offsets


def _window_count(length: int, sequence: int) -> int:
    """Return how many windows an epoch has: one less than fit, so that they can begin anywhere in the first."""
    return max(1, (length - 1) // sequence - 1)


def batches(tokens: Mapping[str, Tokens], weights: Mapping[str, float], *, sequence: int, seed: int) -> Batches:
    """Set up the rows of a data mix; raises OptionRefused where a source is shorter than one sequence."""
    for name, source in tokens.items():
        if len(source) <= sequence:
            raise OptionRefused(
                f"mix_{name}: its training text has {len(source)} tokens, and a sequence needs {sequence + 1}.",
                fix="give more text, or a smaller sequence_length.",
            )
    quotas = shares([weights[name] for name in tokens])
    return Batches(tuple(tokens.values()), quotas, sequence, seed)


def shares(weights: list[float]) -> tuple[int, ...]:
    """Share a block of rows out by weights, what is left over to the largest remainders; none gets nothing."""
    whole = sum(weights)
    exact = [weight / whole * BLOCK for weight in weights]
    given = [max(1, int(part)) for part in exact]
    order = sorted(range(len(weights)), key=lambda one: (given[one] - exact[one], one))
    for place in range(abs(BLOCK - sum(given))):
        if sum(given) < BLOCK:
            given[order[place % len(order)]] += 1
        else:
            given[given.index(max(given))] -= 1
    return tuple(given)
