"""Tokens in flat files, mapped into memory.

Three layouts are read: this program's and nanoGPT's, which are nothing but little-endian uint16 or uint32; and llm.c's,
which has 256 int32 before them: 20240520 or 20240801, a version, and the number of tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pilothouse.trainer import RunFolderBroken

_HEADER_NUMBERS: Final = 256
_HEADER_BYTES: Final = 4 * _HEADER_NUMBERS
_WIDTH_BY_MAGIC: Final = {20240520: 2, 20240801: 4}
_VALIDATION_MARK: Final = "val"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A long line of tokens, in pieces that lie on the disk."""

    pieces: tuple[NDArray[Any], ...]

    def __len__(self) -> int:
        return sum(len(piece) for piece in self.pieces)

    def windows(self, starts: NDArray[np.int64], length: int) -> NDArray[np.int32]:
        """Return int32[n, length]: as many tokens from each start on."""
        found = np.empty((len(starts), length), dtype=np.int32)
        ends = np.cumsum([len(piece) for piece in self.pieces])
        numbers = np.searchsorted(ends, starts, side="right")
        insides = starts - (ends[numbers] - [len(self.pieces[number]) for number in numbers])
        for row, number, inside in zip(found, numbers.tolist(), insides.tolist(), strict=True):
            self._fill(row, number, inside)
        return found

    def _fill(self, row: NDArray[np.int32], number: int, inside: int) -> None:
        """Fill a row from a place in a piece on, over as many pieces as it takes."""
        while len(row):
            part = self.pieces[number][inside : inside + len(row)]
            row[: len(part)] = part
            row, number, inside = row[len(part) :], number + 1, 0


def narrowest(vocabulary: int) -> np.dtype[Any]:
    """Return the smallest type that holds every token."""
    return np.dtype("<u2") if vocabulary <= 1 << 16 else np.dtype("<u4")


def read_plain(path: Path, vocabulary: int) -> Tokens:
    """Map a file that this program has written."""
    return Tokens(pieces=(_mapped(path, narrowest(vocabulary), 0),))


def read_shards(folder: Path, *, layout: str, vocabulary: int, validation: bool) -> tuple[Tokens, str]:
    """Map the shards of one split in a folder and return them with the digest of their content.

    Raises RunFolderBroken where there are none, or where a token lies outside the vocabulary.
    """
    split = "validation" if validation else "training"
    paths = [path for path in sorted(folder.glob("*.bin")) if (_VALIDATION_MARK in path.name) is validation]
    if not paths:
        raise RunFolderBroken(
            f"token_folder = {str(folder)!r} has no .bin shard for {split}.",
            fix="name a folder with shards; those for validation have `val` in their names.",
        )
    pieces = [_shard(path, layout) for path in paths]
    for path, piece in zip(paths, pieces, strict=True):
        largest = int(piece.max()) if len(piece) else 0
        if largest >= vocabulary:
            raise RunFolderBroken(
                f"{path} has the token {largest}, and the vocabulary ends before {vocabulary}.",
                fix="set vocabulary, or token_layout = 'uint32' where the numbers are that wide.",
            )
    return Tokens(pieces=tuple(pieces)), _digest(pieces)


def _shard(path: Path, layout: str) -> NDArray[Any]:
    size = path.stat().st_size
    if size >= _HEADER_BYTES:
        magic, _, count = np.fromfile(path, dtype="<i4", count=3).tolist()
        width = _WIDTH_BY_MAGIC.get(magic)
        if width is not None:
            if size != _HEADER_BYTES + count * width:
                raise RunFolderBroken(
                    f"{path} has {size} bytes where its header of {count} tokens says {_HEADER_BYTES + count * width}.",
                    fix="fetch or make the shard anew.",
                )
            return _mapped(path, np.dtype(f"<u{width}"), _HEADER_BYTES)
    return _mapped(path, np.dtype("<u4" if layout == "uint32" else "<u2"), 0)


def _mapped(path: Path, dtype: np.dtype[Any], offset: int) -> NDArray[Any]:
    size = path.stat().st_size - offset
    if size <= 0 or size % dtype.itemsize:
        raise RunFolderBroken(
            f"{path} has {size} bytes, which are no whole tokens of {dtype.itemsize}.", fix="set token_layout."
        )
    # As a plain array: a slice of a memmap takes several times as long as the numbers in it.
    return np.memmap(path, dtype=dtype, mode="r", offset=offset).view(np.ndarray)


def _digest(pieces: Sequence[NDArray[Any]]) -> str:
    """Digest the numbers, however they were cut and however wide they stand."""
    whole = hashlib.sha256()
    for piece in pieces:
        for first in range(0, len(piece), 1 << 22):
            whole.update(piece[first : first + (1 << 22)].astype("<u4").tobytes())
    return whole.hexdigest()
