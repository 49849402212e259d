"""Shard files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pilothouse.programs.forty_two.shards import (
    Shard,
    ShardDamagedError,
    ShardError,
    content_digest,
    read_shard,
    shard_name,
    write_shard,
)


@pytest.fixture(name="shard")
def _shard() -> Shard:
    """Make four rows of made-up values."""
    return Shard(
        seed=7,
        declaration=3,
        state=np.array([1, 5, 2**40, 2**41 - 1], dtype=np.int64),
        v=np.array([0, -42, 42, 7], dtype=np.int8),
        q=np.arange(-128, -100, dtype=np.int8).reshape(4, 7),
        scheme="stratified",
    )


def test_a_shard_comes_back(tmp_path: Path, shard: Shard) -> None:
    """Columns, names and digest survive the file."""
    path = write_shard(tmp_path, shard)
    back = read_shard(path, expected_digest=content_digest(shard))
    assert path.name == shard_name(7, 3) == "seed_00000007_decl_3.parquet"
    assert (back.seed, back.declaration, back.scheme, len(back)) == (7, 3, "stratified", 4)
    assert np.array_equal(back.state, shard.state)
    assert np.array_equal(back.v, shard.v)
    assert np.array_equal(back.q, shard.q)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_file_has_the_published_schema(tmp_path: Path, shard: Shard) -> None:
    """State int64, V and q0 to q6 int8, snappy, seed and decl_id beside."""
    with pq.ParquetFile(write_shard(tmp_path, shard)) as file:
        schema = file.schema_arrow
        compression = file.metadata.row_group(0).column(0).compression
    assert schema.names == ["state", "V", "q0", "q1", "q2", "q3", "q4", "q5", "q6"]
    assert schema.types == [pa.int64()] + [pa.int8()] * 8
    assert compression == "SNAPPY"
    assert schema.metadata[b"seed"] == b"7"
    assert schema.metadata[b"decl_id"] == b"3"


def test_the_digest_ignores_the_writer_but_not_the_content(shard: Shard) -> None:
    """Column order in memory does not count; each value and name does."""
    digest = content_digest(shard)
    assert content_digest(replace(shard, q=np.asfortranarray(shard.q), state=shard.state.astype(">i8"))) == digest
    changed = shard.q.copy()
    changed[3, 6] += 1
    for other in (
        replace(shard, q=changed),
        replace(shard, v=-shard.v),
        replace(shard, state=shard.state + 1),
        replace(shard, seed=8),
        replace(shard, declaration=4),
        replace(shard, scheme="uniform"),
    ):
        assert content_digest(other) != digest


def test_changed_values_are_found_on_reading(tmp_path: Path, shard: Shard) -> None:
    """A file whose rows differ from the digest it carries is refused by name."""
    path = write_shard(tmp_path, shard)
    with pq.ParquetFile(path) as file:
        table = file.read()
    values = table["V"].to_pylist()
    values[1] += 2
    pq.write_table(table.set_column(1, "V", pa.array(values, pa.int8())), path)
    with pytest.raises(ShardDamagedError, match=r"seed_00000007_decl_3\.parquet has content"):
        read_shard(path)


def test_another_shard_than_promised_is_refused(tmp_path: Path, shard: Shard) -> None:
    """A sound file is not enough where a digest is expected."""
    path = write_shard(tmp_path, shard)
    with pytest.raises(ShardDamagedError, match="was promised"):
        read_shard(path, expected_digest=content_digest(replace(shard, seed=8)))


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing more", None])
def test_no_shard_at_all(tmp_path: Path, content: bytes | None) -> None:
    """An empty, foreign or missing file is named."""
    path = tmp_path / shard_name(1, 1)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ShardError, match=r"seed_00000001_decl_1\.parquet"):
        read_shard(path)


def test_a_truncated_file_is_refused(tmp_path: Path, shard: Shard) -> None:
    """Half a file is damaged, not shorter."""
    path = write_shard(tmp_path, shard)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ShardDamagedError, match="cannot be read as a shard"):
        read_shard(path)


def test_a_parquet_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """The columns must be there."""
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(ShardDamagedError, match="cannot be read as a shard"):
        read_shard(path)
