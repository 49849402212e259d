"""The evaluation set put before the network, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pilothouse.programs.language.examples import ExampleSet, Measured, gathered
from pilothouse.programs.language.learner import Reader
from pilothouse.programs.language.model import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurer:
    """Measures weights on the evaluation set; `interrupted` is asked between blocks."""

    reader: Reader
    evaluation: Sequence[ExampleSet]
    interrupted: Callable[[], bool]

    def measure(self, weights: Weights) -> list[Measured] | None:
        """Return what each source's examples cost, or None if it was interrupted."""
        measured = []
        for examples in self.evaluation:
            nats = self._nats(weights, examples.rows.tokens)
            if nats is None:
                return None
            measured.append(gathered(examples, nats))
        return measured

    def _nats(self, weights: Weights, rows: NDArray[np.int32]) -> NDArray[np.float32] | None:
        """Return float32[rows, t], block by block; the last block is filled up with rows of zeros."""
        parts = []
        for first in range(0, len(rows), self.reader.rows):
            if self.interrupted():
                return None
            block = rows[first : first + self.reader.rows]
            filled = np.pad(block, ((0, self.reader.rows - len(block)), (0, 0)))
            parts.append(self.reader.nats(weights, filled)[: len(block)])
        return np.concatenate(parts)


def figures(measured: Sequence[Measured]) -> dict[str, float]:
    """Return loss and bits a byte over all sources, and bits a byte of each that knows its bytes."""
    nats = sum(float(part.nats.sum()) for part in measured)
    tokens = sum(int(part.tokens.sum()) for part in measured)
    told: dict[str, float] = {"eval_loss": nats / tokens}
    by_source = {part.examples.source: part.bits_per_byte for part in measured}
    known = {name: bits for name, bits in by_source.items() if bits is not None}
    if known:
        told["eval_bpb"] = _joined([part for part in measured if part.examples.source in known])
        told.update({f"eval_bpb_{name}": bits for name, bits in known.items()})
    return told


def _joined(measured: Sequence[Measured]) -> float:
    """Return bits a byte of several sources together."""
    bits = sum(float(part.nats.sum()) for part in measured) / np.log(2)
    return float(bits / sum(int(part.examples.byte_counts.sum()) for part in measured))
