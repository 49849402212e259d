"""From text to tokens: by bytes, by pairs of bytes trained on the training documents, or by a published vocabulary."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pilothouse.trainer import OptionRefused, TreeDamaged

BYTES: Final = 256
_END: Final = "<|endoftext|>"
_BATCH_DOCUMENTS: Final = 256
BPE_FILE: Final = "tokeniser.json"


class Tokeniser(Protocol):
    """What the data needs of a tokeniser."""

    @property
    def vocabulary(self) -> int:
        """How many tokens there are, the end of a document among them."""

    @property
    def end(self) -> int:
        """The token that stands between documents."""

    @property
    def digest(self) -> str:
        """The name of the tokeniser by its content."""

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the tokens of each text, without an end."""


@dataclass(frozen=True, slots=True)
class ByteTokeniser:
    """One token a byte of UTF-8, and one for the end."""

    vocabulary: int = BYTES + 1
    end: int = BYTES
    digest: str = "bytes-1"

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the bytes of each text."""
        return [np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64) for text in texts]


class PairTokeniser:
    """Byte pairs (BPE) as the package `tokenizers` trains and applies them."""

    def __init__(self, path: Path) -> None:
        package = _needed("tokenizers", "pilothouse[programs]")
        try:
            data = path.read_bytes()
            self._pairs = package.Tokenizer.from_buffer(data)
        except (OSError, ValueError) as error:
            raise TreeDamaged(
                f"{path} is no tokeniser: {error}.", fix="remove its folder; it is made again."
            ) from error
        self.digest = "bpe-" + hashlib.sha256(data).hexdigest()
        self.vocabulary = int(self._pairs.get_vocab_size())
        self.end = int(self._pairs.token_to_id(_END))

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the tokens of each text."""
        encoded = self._pairs.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(part.ids, dtype=np.int64) for part in encoded]


class PublishedTokeniser:
    """A vocabulary of the package `tiktoken`, which fetches it on its first use."""

    def __init__(self, name: str) -> None:
        package = _needed("tiktoken", "tiktoken")
        try:
            self._encoding = package.get_encoding(name)
        except ValueError as error:
            raise OptionRefused(f"tiktoken_encoding = {name!r}: {error}.", fix="name an encoding it knows.") from error
        self.vocabulary = int(self._encoding.n_vocab)
        self.end = int(self._encoding.eot_token)
        self.digest = f"tiktoken-{name}"

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the tokens of each text; what looks like a special token is plain text."""
        return [np.asarray(part, dtype=np.int64) for part in self._encoding.encode_ordinary_batch(list(texts))]


@dataclass(frozen=True, slots=True)
class NoTokeniser:
    """For shards that come as numbers: it knows how many there are, and encodes nothing."""

    vocabulary: int
    end: int = 0

    @property
    def digest(self) -> str:
        """The name of the vocabulary's size."""
        return f"none-{self.vocabulary}"

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Refuse: there is no tokeniser."""
        raise OptionRefused(
            f"tokeniser = 'none' cannot read text ({len(texts)} documents).",
            fix="give tokeniser = 'bytes' or 'bpe', or a mix of mix_tokens alone.",
        )


def train_pairs(texts: Iterable[str], *, vocabulary: int, path: Path) -> None:
    """Train a byte-level BPE of `vocabulary` tokens on texts and write it to `path`.

    The same texts in the same order give the same file.
    """
    package: Any = _needed("tokenizers", "pilothouse[programs]")
    least = BYTES + 1
    if vocabulary < least:
        raise OptionRefused(
            f"vocabulary = {vocabulary} is less than the bytes and the end of a document.",
            fix=f"give at least {least}.",
        )
    pairs = package.Tokenizer(package.models.BPE())
    pairs.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = package.decoders.ByteLevel()
    trainer = package.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_END],
        initial_alphabet=sorted(package.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    pairs.train_from_iterator(texts, trainer=trainer)
    document = json.loads(pairs.to_str())
    path.write_text(json.dumps(document, ensure_ascii=False, indent=0), encoding="utf-8")


def in_batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Group texts so that a tokeniser can use all cores."""
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == _BATCH_DOCUMENTS:
            yield batch
            batch = []
    if batch:
        yield batch


def _needed(name: str, install: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise OptionRefused(f"The package {name!r} is not installed.", fix=f"install {install}.") from error
