"""Scores per example are read as they are meant, or refused with the file and the column named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pilothouse.errors import BadValue, StorageFailed
from pilothouse.operations.samples import SAMPLES_FILE, paired, read_samples

GOOD: dict[str, list[Any]] = {"example": [2, 1], "gap": [0.5, 0.25], "deal": [7, 7]}


def write(folder: Path, columns: dict[str, Any]) -> Path:
    """Write the samples file and return its folder."""
    pq.write_table(pa.table(columns), folder / SAMPLES_FILE)
    return folder


def test_scores_are_read_and_paired_by_example(tmp_path: Path) -> None:
    """Integers may be narrow, and scores may be whole."""
    columns = {"example": pa.array([2, 1], pa.int16()), "gap": [1, 0], "deal": pa.array([7, 8], pa.uint8())}
    found = read_samples(write(tmp_path, columns), column="gap", cluster="deal")

    assert [values.dtype.name for values in (found.example, found.score, found.cluster)] == [
        "int64",
        "float64",
        "int64",
    ]
    left, right = paired(found, found)
    assert left.example.tolist() == right.example.tolist() == [1, 2]
    assert left.score.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"gap": None}, "gap"),
        ({"example": ["a", "b"]}, "example"),
        ({"example": [1.0, 2.0]}, "example"),
        ({"example": [1, None]}, "example"),
        ({"deal": [None, 7]}, "deal"),
        ({"deal": [True, False]}, "deal"),
        ({"gap": ["low", "high"]}, "gap"),
        ({"gap": [0.5, None]}, "gap"),
        ({"gap": [0.5, float("nan")]}, "gap"),
        ({"gap": [float("inf"), 0.5]}, "gap"),
        ({"example": pa.array([1, 2**64 - 1], pa.uint64())}, "example"),
    ],
)
def test_what_is_no_score_of_an_example_is_refused(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    """With the file, the column, and a mend that is true: the program has to write it otherwise."""
    columns = {name: values for name, values in (GOOD | change).items() if values is not None}

    with pytest.raises(BadValue, match=rf"samples\.parquet.*'{named}'") as refused:
        read_samples(write(tmp_path, columns), column="gap", cluster="deal")

    assert named in refused.value.fix


def test_a_file_that_is_no_parquet_is_a_failed_storage(tmp_path: Path) -> None:
    """It may be the disk's doing."""
    (tmp_path / SAMPLES_FILE).write_bytes(b"PAR1")

    with pytest.raises(StorageFailed, match=r"samples\.parquet"):
        read_samples(tmp_path, column="gap", cluster="deal")


def test_one_column_may_serve_as_example_and_cluster(tmp_path: Path) -> None:
    """Each example then is a cluster of its own."""
    found = read_samples(write(tmp_path, GOOD), column="gap", cluster="example")

    assert found.cluster.tolist() == found.example.tolist() == [2, 1]
