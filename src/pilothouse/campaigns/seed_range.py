"""Ranges of data seeds: half-open, written `200:210`; golden seeds never train."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_FORM = re.compile(r"(\d+):(\d+)")


@dataclass(frozen=True, slots=True, order=True)
class SeedRange:
    """The seeds from `start` up to but without `stop`."""

    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.start}:{self.stop}"

    def overlaps(self, other: SeedRange) -> bool:
        """Whether the two share a seed."""
        return self.start < other.stop and other.start < self.stop


def parse_seed_range(text: str) -> SeedRange:
    """Read `start:stop`; raise `ValueError` that names the text and the form."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no seed range: write start:stop, such as 200:210 for the seeds 200 to 209")
    start, stop = int(found[1]), int(found[2])
    if start >= stop:
        raise ValueError(f"{text!r} holds no seed: the start must lie below the stop")
    return SeedRange(start, stop)


_RANGES_AT_ONCE = 64


def training_range(number: int, *, first: int, length: int, reserved: Sequence[SeedRange]) -> SeedRange:
    """Return the seeds of iteration `number` (from 1), in chunks of `length` that step over every reserved range.

    The same number always gives the same range, so an iteration that starts again asks for the same data.
    """
    assert number >= 1, f"iterations count from 1, got {number}"
    assert length >= 1, f"a chunk holds at least one seed, got {length}"
    count = -(-number // _RANGES_AT_ONCE) * _RANGES_AT_ONCE
    return _ranges(count, first, length, tuple(sorted(reserved)))[number - 1]


@lru_cache(maxsize=16)
def _ranges(count: int, first: int, length: int, reserved: tuple[SeedRange, ...]) -> tuple[SeedRange, ...]:
    """Return the first ranges; kept, because a loop asks for all of them again at every look."""
    found = [_next_free(SeedRange(first, first + length), reserved)]
    for _ in range(count - 1):
        found.append(_next_free(SeedRange(found[-1].stop, found[-1].stop + length), reserved))
    return tuple(found)


def _next_free(chunk: SeedRange, reserved: Sequence[SeedRange]) -> SeedRange:
    """Return the chunk, moved behind every reserved range that it would touch; `reserved` is sorted."""
    for held in reserved:
        if chunk.overlaps(held):
            chunk = SeedRange(held.stop, held.stop + chunk.stop - chunk.start)
    return chunk
