"""Read per-example scores, and put two of them side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pilothouse.errors import BadValue, StorageFailed

SAMPLES_FILE = "samples.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """One evaluation: example ids int64 [n], scores float64 [n] in the metric's unit, clusters int64 [n]."""

    example: NDArray[np.int64]
    score: NDArray[np.float64]
    cluster: NDArray[np.int64]


def read_samples(folder: Path, *, column: str, cluster: str) -> Samples:
    """Read the two columns and the ids from the samples file in a sealed folder.

    Raises `BadValue`, naming the file and the column, for ids that are no whole numbers and scores that are no finite
    ones, and `StorageFailed` for a file that cannot be read.
    """
    path = folder / SAMPLES_FILE
    wanted = list(dict.fromkeys(["example", cluster, column]))
    try:
        names = pq.read_schema(path).names
        for name in wanted:
            if names.count(name) != 1:
                raise _refused(path, name, f"stands there {names.count(name)} times")
        table = pq.read_table(path, columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise StorageFailed(
            f"the samples {path} could not be read: {error}", fix="run the campaign again: the evaluation is repeated"
        ) from error
    return Samples(
        example=_whole(table, "example", path=path),
        score=_scores(table, column, path=path),
        cluster=_whole(table, cluster, path=path),
    )


def _whole(table: pa.Table, name: str, *, path: Path) -> NDArray[np.int64]:
    """Return a column of ids."""
    values = _filled(table, name, path=path)
    if not pa.types.is_integer(values.type):
        raise _refused(path, name, f"has the type {values.type}, not whole numbers")
    try:
        return np.asarray(values.cast(pa.int64()).to_numpy(), dtype=np.int64)
    except pa.ArrowInvalid as error:
        raise _refused(path, name, f"does not fit into 64 bits: {error}") from error


def _scores(table: pa.Table, name: str, *, path: Path) -> NDArray[np.float64]:
    """Return a column of scores."""
    values = _filled(table, name, path=path)
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise _refused(path, name, f"has the type {values.type}, not numbers")
    scores = np.asarray(values.to_numpy(), dtype=np.float64)
    strange = np.flatnonzero(~np.isfinite(scores))
    if len(strange):
        raise _refused(path, name, f"is {scores[strange[0]]} in row {strange[0]}")
    return scores


def _filled(table: pa.Table, name: str, *, path: Path) -> pa.ChunkedArray:
    values = table[name]
    if values.null_count:
        raise _refused(path, name, f"is empty in {values.null_count} rows")
    return values


def _refused(path: Path, name: str, why: str) -> BadValue:
    return BadValue(
        f"{path}: the column {name!r} {why}",
        fix=f"let the evaluation write {name!r} once, without gaps: ids as whole numbers, scores as finite ones; "
        "or name other columns in [metrics] and [decision]",
    )


def paired(baseline: Samples, candidate: Samples) -> tuple[Samples, Samples]:
    """Return both in the order of their example ids; refuse two that are not about the same examples."""
    left, right = _sorted(baseline), _sorted(candidate)
    if not np.array_equal(left.example, right.example) or not np.array_equal(left.cluster, right.cluster):
        raise BadValue(
            f"the evaluations are not about the same examples: {len(left.example)} against {len(right.example)} rows",
            fix="evaluate both on the same golden set",
        )
    return left, right


def _sorted(samples: Samples) -> Samples:
    order = np.argsort(samples.example, kind="stable")
    return Samples(example=samples.example[order], score=samples.score[order], cluster=samples.cluster[order])
