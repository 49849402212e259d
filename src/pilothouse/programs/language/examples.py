"""The evaluation set: pieces of validation documents, cut by bytes, so that every tokeniser meets the same ones."""

from __future__ import annotations

import hashlib
import heapq
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pilothouse.programs.language.sources import Document
from pilothouse.programs.language.token_shards import Tokens
from pilothouse.programs.language.tokenisers import Tokeniser
from pilothouse.trainer import RunFolderBroken

_LEAST_SHARE: Final = 8
"""A piece shorter than an eighth of the longest is left out: it would say little and weigh as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A piece of a document."""

    id: int
    document: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Examples as rows of tokens for the network; an example longer than a row has several."""

    tokens: NDArray[np.int32]
    """[rows, t + 1]; the first stands before the first target."""
    lengths: NDArray[np.int64]
    """[rows]: how many targets count."""
    owners: NDArray[np.int64]
    """[rows]: the number of the example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSet:
    """The examples of one source, ready to be measured."""

    source: str
    digest: str
    ids: NDArray[np.int64]
    documents: NDArray[np.int64]
    byte_counts: NDArray[np.int64]
    """Bytes of text; 0 where that is not known."""
    rows: Rows


def chosen_examples(documents: Iterable[Document], *, count: int, longest: int) -> list[Example]:
    """Return `count` pieces of at most `longest` bytes, by lot: those whose digests are the lowest."""
    pieces = (piece for document in documents if document.validates for piece in _pieces(document, longest))
    distinct: dict[int, Example] = {}
    for piece in pieces:
        distinct[piece.id] = piece
        if len(distinct) > 4 * max(count, 1024):
            distinct = _lowest(distinct, count)
    return list(_lowest(distinct, count).values())


def _lowest(pieces: Mapping[int, Example], count: int) -> dict[int, Example]:
    return {number: pieces[number] for number in heapq.nsmallest(count, pieces)}


def _pieces(document: Document, longest: int) -> Iterator[Example]:
    whole = _number(document.digest)
    for place, text in enumerate(_cut(document.text.encode(), longest)):
        digest = hashlib.sha256(document.digest + place.to_bytes(8, "big")).digest()
        yield Example(id=_number(digest), document=whole, text=text)


def _number(digest: bytes) -> int:
    """Return a positive int64."""
    return int.from_bytes(digest[:8], "big") >> 1


def _cut(data: bytes, longest: int) -> Iterator[str]:
    """Yield pieces that end where a line ends if one does in their second half, and never inside a character."""
    first = 0
    while first < len(data):
        end = min(first + longest, len(data))
        if end < len(data):
            line = data.rfind(b"\n", first + longest // 2, end)
            end = line + 1 if line >= 0 else _character_start(data, end, first)
        if end - first >= max(1, longest // _LEAST_SHARE):
            yield data[first:end].decode()
        first = end


def _character_start(data: bytes, place: int, first: int) -> int:
    """Return the last place up to `place` at which a character of UTF-8 begins, but not `first` itself."""
    start = place
    while start > first and data[start] & 0xC0 == 0x80:
        start -= 1
    return start if start > first else place


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Write examples, one a line."""
    lines = (json.dumps({"id": one.id, "document": one.document, "text": one.text}) for one in examples)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_examples(path: Path) -> list[Example]:
    """Read what `write_examples` has written."""
    return [Example(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def text_examples(source: str, examples: list[Example], tokeniser: Tokeniser, length: int) -> ExampleSet:
    """Tokenise examples and lay them out in rows of `length` targets."""
    if not examples:
        raise RunFolderBroken(
            f"The source {source!r} has no validation document.",
            fix="give more text: 5 documents in 100 validate; or measure another source by eval_sources.",
        )
    tokens = tokeniser.encode([example.text for example in examples])
    return ExampleSet(
        source=source,
        digest=_digest(source, examples),
        ids=np.array([example.id for example in examples], dtype=np.int64),
        documents=np.array([example.document for example in examples], dtype=np.int64),
        byte_counts=np.array([len(example.text.encode()) for example in examples], dtype=np.int64),
        rows=_laid_out(tokens, tokeniser.end, length),
    )


def window_examples(source: str, tokens: Tokens, digest: str, *, count: int, length: int) -> ExampleSet:
    """Take `count` windows of `length` targets from validation tokens, evenly over them; bytes are not known."""
    there = (len(tokens) - 1) // length
    if there < 1:
        raise RunFolderBroken(
            f"The validation shards hold {len(tokens)} tokens, fewer than one sequence of {length}.",
            fix="give more of them, or a smaller sequence_length.",
        )
    count = min(count, there)
    places = np.arange(count, dtype=np.int64) * there // count
    named = hashlib.sha256(f"{source} {digest} {count} {length}".encode()).hexdigest()
    lengths = np.full(count, length, dtype=np.int64)
    rows = Rows(tokens=tokens.windows(places * length, length + 1), lengths=lengths, owners=np.arange(count))
    nothing = np.zeros(count, dtype=np.int64)
    return ExampleSet(source=source, digest=named, ids=places, documents=places, byte_counts=nothing, rows=rows)


def _digest(source: str, examples: Iterable[Example]) -> str:
    whole = hashlib.sha256(source.encode())
    for example in examples:
        text = hashlib.sha256(example.text.encode()).hexdigest()
        whole.update(f"\n{example.id} {example.document} {text}".encode())
    return whole.hexdigest()


def _laid_out(examples: list[NDArray[np.int64]], end: int, length: int) -> Rows:
    """Lay examples out in rows; each begins with the token before its first target, the end for an example's first."""
    counts = [max(1, math.ceil(len(tokens) / length)) for tokens in examples]
    rows = np.zeros((sum(counts), length + 1), dtype=np.int32)
    lengths: list[int] = []
    owners: list[int] = []
    for number, tokens in enumerate(examples):
        line = np.concatenate([[end], tokens])
        for first in range(0, max(1, len(tokens)), length):
            part = line[first : first + length + 1]
            rows[len(lengths), : len(part)] = part
            lengths.append(len(part) - 1)
            owners.append(number)
    return Rows(tokens=rows, lengths=np.array(lengths), owners=np.array(owners))


def set_digest(sets: Iterable[ExampleSet]) -> str:
    """Return the digest of a whole evaluation set."""
    return hashlib.sha256("\n".join(one.digest for one in sets).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one source's examples cost."""

    examples: ExampleSet
    nats: NDArray[np.float64]
    """[examples]: the sum over each one's tokens."""
    tokens: NDArray[np.int64]

    @property
    def loss(self) -> float:
        """Mean nats a token."""
        return math.fsum(self.nats) / int(self.tokens.sum())

    @property
    def bits_per_byte(self) -> float | None:
        """Bits a byte of text, or None where bytes are not known."""
        counted = int(self.examples.byte_counts.sum())
        return math.fsum(self.nats) / math.log(2) / counted if counted else None


def gathered(examples: ExampleSet, nats: NDArray[np.float32]) -> Measured:
    """Add up the nats of rows, float32[rows, t], to those of examples, in float64 and in the order of tokens."""
    rows = examples.rows
    counted = np.arange(nats.shape[1])[None, :] < rows.lengths[:, None]
    by_row = np.where(counted, nats.astype(np.float64), 0.0).sum(axis=1)
    count = len(examples.ids)
    return Measured(
        examples=examples,
        nats=np.bincount(rows.owners, weights=by_row, minlength=count).astype(np.float64),
        tokens=np.bincount(rows.owners, weights=rows.lengths, minlength=count).astype(np.int64),
    )


def sample_columns(measured: Iterable[Measured]) -> dict[str, Any]:
    """Return one row for each example of all sources."""
    parts = list(measured)
    nats = np.concatenate([part.nats for part in parts])
    tokens = np.concatenate([part.tokens for part in parts])
    bytes_ = np.concatenate([part.examples.byte_counts for part in parts])
    return {
        "example": np.concatenate([part.examples.ids for part in parts]),
        "document": np.concatenate([part.examples.documents for part in parts]),
        "source": [part.examples.source for part in parts for _ in part.examples.ids],
        "loss": nats / np.maximum(tokens, 1),
        "bits_per_byte": np.where(bytes_ > 0, nats / math.log(2) / np.maximum(bytes_, 1), np.nan),
        "bytes": bytes_,
        "tokens": tokens,
    }
