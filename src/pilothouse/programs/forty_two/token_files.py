"""Token sets on disk: one .npy file per column, and a manifest whose meta carries the digest of the columns.

The columns are written row block by row block, so a set may be larger than memory; reading gives ordinary arrays.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from pilothouse.programs.forty_two import tokens
from pilothouse.programs.forty_two.rules import HAND
from pilothouse.programs.forty_two.tokens import COLUMNS, FEATURES, TOKENS, Column, TokenRows
from pilothouse.trainer import JSON, TreeDamaged, tree

_INT64: Final = frozenset({"deal", "state"})
_ROW_SHAPES: Final = {"tokens": (TOKENS, FEATURES), "masks": (TOKENS,), "legal": (HAND,), "qvals": (HAND,)}


def write_tokens(
    folder: Path, blocks: Iterator[TokenRows], rows: int, on_rows: Callable[[int], object]
) -> dict[str, JSON]:
    """Write `rows` rows, which come in blocks, into `folder`; return the meta to seal it with.

    `on_rows` hears after each block how many rows are written.
    """
    columns = {name: _create(folder, name, rows) for name in COLUMNS}
    written = 0
    for block in blocks:
        for name, column in block.columns():
            columns[name][written : written + len(block)] = column
        written += len(block)
        on_rows(written)
    assert written == rows, f"{written} rows came where {rows} were promised"
    content = tokens.content_digest(tokens.from_columns(columns))
    return {"content": content, "rows": rows, "format": tokens.FORMAT_VERSION}


def read_tokens(folders: Sequence[Path]) -> TokenRows:
    """Read sealed token sets and join them in the given order.

    Raises TreeDamaged naming a file that is missing, changed or of another shape.
    """
    assert folders, "no token sets"
    parts = [_read(folder) for folder in folders]
    return parts[0] if len(parts) == 1 else tokens.concatenate(parts)


def _read(folder: Path) -> TokenRows:
    rows = tree.verify(folder).meta.get("rows")
    if not isinstance(rows, int):
        raise TreeDamaged(f"{folder / tree.MANIFEST} has no number of rows.", fix="tokenise its shards again.")
    return tokens.from_columns({name: _load(folder, name, rows) for name in COLUMNS})


def _load(folder: Path, name: str, rows: int) -> Column:
    path = folder / f"{name}.npy"
    try:
        column = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise TreeDamaged(f"{path} cannot be read: {error}.", fix="tokenise its shards again.") from error
    if column.shape != _shape(name, rows) or column.dtype != _kind(name):
        raise TreeDamaged(
            f"{path} holds {column.dtype}{list(column.shape)}, not {_kind(name)}{list(_shape(name, rows))}.",
            fix="tokenise its shards again.",
        )
    loaded: Column = column
    return loaded


def _create(folder: Path, name: str, rows: int) -> Column:
    return np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=_kind(name), shape=_shape(name, rows))


def _kind(name: str) -> "np.dtype[np.int8] | np.dtype[np.int64]":
    return np.dtype(np.int64) if name in _INT64 else np.dtype(np.int8)


def _shape(name: str, rows: int) -> tuple[int, ...]:
    return (rows, *_ROW_SHAPES.get(name, ()))
