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
    """Read the two columns and the ids from the samples file in a sealed folder."""
    path = folder / SAMPLES_FILE
    try:
        table = pq.read_table(path, columns=["example", column, cluster])
    except (OSError, pa.ArrowException) as error:
        raise StorageFailed(
            f"the samples {path} could not be read: {error}", fix="run the campaign again: the evaluation is repeated"
        ) from error
    missing = {"example", column, cluster} - set(table.column_names)
    if missing:
        raise BadValue(
            f"the samples {path} lack the columns {sorted(missing)}",
            fix="let the evaluation write them, or name its columns in [metrics] and [decision]",
        )
    return Samples(
        example=np.asarray(table["example"].to_numpy(), dtype=np.int64),
        score=np.asarray(table[column].to_numpy(), dtype=np.float64),
        cluster=np.asarray(table[cluster].to_numpy(), dtype=np.int64),
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
