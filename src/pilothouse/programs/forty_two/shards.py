"""Shards: sampled positions of one deal and declaration with their exact values, in Parquet.

The columns are `state` int64 (see `packing`), `V` int8 and `q0` ... `q6` int8, rows ascending by state; the key-value
metadata names the seed and the declaration. Parquet bytes differ between writers, so a shard is known by the digest of
its logical columns, which the metadata carries too and every read compares.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pilothouse.programs.forty_two.rules import HAND, Bytes

GENERATOR_VERSION: Final = 1
"""Raised whenever the same inputs would give other rows; it is part of every digest."""

_DIGEST_KEY = b"content_sha256"


class ShardError(Exception):
    """A shard that cannot be used; generate it again with `pilothouse oracle shard`."""


class ShardDamagedError(ShardError):
    """The rows of a shard do not match the digest it was written with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The rows of one shard, ascending by state."""

    seed: int
    declaration: int
    state: NDArray[np.int64]
    """int64[n]: packed positions."""
    v: Bytes
    """int8[n]: points to go, team 0 minus team 1."""
    q: Bytes
    """int8[n, 7]: value of each move of the mover, for team 0; -128 where it is illegal."""
    scheme: str = "uniform"

    def __post_init__(self) -> None:
        rows = len(self.state)
        assert self.v.shape == (rows,), (self.v.shape, rows)
        assert self.q.shape == (rows, HAND), (self.q.shape, rows)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.state)


def shard_name(seed: int, declaration: int) -> str:
    """Return the file name of a deal's shard."""
    return f"seed_{seed:08d}_decl_{declaration}.parquet"


def content_digest(shard: Shard) -> str:
    """Return the SHA-256 (hex) of the logical columns in little-endian order, under seed, declaration and scheme."""
    digest = hashlib.sha256()
    header = f"forty-two shard {GENERATOR_VERSION} {shard.seed} {shard.declaration} {shard.scheme} {len(shard)}\n"
    digest.update(header.encode())
    digest.update(np.ascontiguousarray(shard.state, dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(shard.v, dtype="i1").tobytes())
    digest.update(np.ascontiguousarray(shard.q.T, dtype="i1").tobytes())
    return digest.hexdigest()


def write_shard(folder: Path, shard: Shard) -> Path:
    """Write a shard into a folder under its name, whole or not at all, and return its path."""
    import pyarrow as pa  # noqa: PLC0415  slow to import, and only files need it
    import pyarrow.parquet as pq  # noqa: PLC0415

    columns = {"state": pa.array(shard.state, pa.int64()), "V": pa.array(shard.v, pa.int8())}
    columns |= {f"q{move}": pa.array(np.ascontiguousarray(shard.q[:, move]), pa.int8()) for move in range(HAND)}
    metadata = {
        b"seed": str(shard.seed).encode(),
        b"decl_id": str(shard.declaration).encode(),
        b"scheme": shard.scheme.encode(),
        b"generator": str(GENERATOR_VERSION).encode(),
        _DIGEST_KEY: content_digest(shard).encode(),
    }
    table = pa.table(columns).replace_schema_metadata(metadata)
    target = folder / shard_name(shard.seed, shard.declaration)
    partial = folder / f".{target.name}.tmp"
    with partial.open("wb") as file:
        pq.write_table(table, file, compression="snappy")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(target)
    _sync_folder(folder)
    return target


def read_shard(path: Path, *, expected_digest: str | None = None) -> Shard:
    """Return a shard whose rows match its own digest, and `expected_digest` where one is given.

    Raises `ShardDamagedError` where they do not, and `ShardError` for a file that is no shard.
    """
    shard, recorded = _load(path)
    actual = content_digest(shard)
    for wanted in (recorded, expected_digest):
        if wanted is not None and wanted != actual:
            message = f"shard {path} has content {actual[:12]} but {wanted[:12]} was promised; generate it again"
            raise ShardDamagedError(message)
    return shard


def _load(path: Path) -> tuple[Shard, str | None]:
    import pyarrow as pa  # noqa: PLC0415  slow to import, and only files need it
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        metadata = table.schema.metadata or {}
        q = np.stack([table[f"q{move}"].to_numpy() for move in range(HAND)], axis=1)
        shard = Shard(
            seed=int(metadata[b"seed"]),
            declaration=int(metadata[b"decl_id"]),
            state=np.asarray(table["state"].to_numpy(), dtype=np.int64),
            v=np.asarray(table["V"].to_numpy(), dtype=np.int8),
            q=np.asarray(q, dtype=np.int8),
            scheme=metadata.get(b"scheme", b"uniform").decode(),
        )
    except FileNotFoundError:
        message = f"shard {path} does not exist; generate it"
        raise ShardError(message) from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        message = f"{path} cannot be read as a shard ({error}); generate it again"
        raise ShardDamagedError(message) from error
    recorded = metadata.get(_DIGEST_KEY)
    return shard, recorded.decode() if recorded is not None else None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
