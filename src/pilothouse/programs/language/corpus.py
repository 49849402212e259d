"""All that a run reads, made ready once and kept: a trained tokeniser, training tokens by source, evaluation examples.

What is made is kept in the data cache in sealed folders, each named by the digest of what it is made from. Two
processes that make the same folder at once both end with a whole one.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pilothouse.programs.compile_cache import cache_folder
from pilothouse.programs.language import examples, sources, token_shards, tokenisers
from pilothouse.programs.language.examples import ExampleSet
from pilothouse.programs.language.options import Options
from pilothouse.programs.language.sources import SPLIT_RULE, Source
from pilothouse.programs.language.token_shards import Tokens
from pilothouse.programs.language.tokenisers import Tokeniser
from pilothouse.trainer import JSON, OptionRefused, TreeDamaged, tree
from pilothouse.trainer.values import canonical

SOURCES: Final[tuple[str, ...]] = ("library", "tests", "text", "tokens", "hub")
_FORMAT: Final = 1
"""Raised when the same sources would give other tokens or examples."""
_TRAINING_CHARACTERS: Final = 64_000_000
"""How much of each source a tokeniser is trained on."""
_TOKENS_FILE: Final = "train.bin"
_EXAMPLES_FILE: Final = "examples.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What the corpus must know of the run: all numbers settled."""

    tokeniser: str
    vocabulary: int
    sequence: int
    eval_examples: int
    eval_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What a run trains on and is measured by."""

    tokeniser: Tokeniser
    training: dict[str, Tokens]
    weights: dict[str, float]
    evaluation: tuple[ExampleSet, ...]
    described: dict[str, JSON]
    """Every digest, for the record."""

    @property
    def training_digest(self) -> str:
        """The digest of what is learnt from: sources, split and tokeniser, but not the mix."""
        return hashlib.sha256(canonical(self.described["training"])).hexdigest()

    @property
    def evaluation_digest(self) -> str:
        """The digest of what is measured by."""
        return examples.set_digest(self.evaluation)


def prepare(options: Options, sizes: Sizes) -> Corpus:
    """Make or find all that a run reads; raises OptionRefused and RunFolderBroken naming the option at fault."""
    cache = _cache(options)
    weights = {name: float(getattr(options, f"mix_{name}")) for name in SOURCES}
    mixed = [name for name in SOURCES if weights[name] > 0]
    if not mixed:
        raise OptionRefused("Every mix_… is 0: there is nothing to train on.", fix="give one source a weight.")
    measured = _measured_names(options)
    texts: dict[str, Source] = {
        name: _source(name, options, cache) for name in SOURCES if name in {*mixed, *measured} - {"tokens"}
    }
    tokeniser = _tokeniser(options, sizes, [texts[name] for name in mixed if name in texts], cache)
    training: dict[str, Tokens] = {}
    digests: dict[str, JSON] = {}
    for name in mixed:
        training[name], digests[name] = _training(options, texts.get(name), tokeniser, cache)
    evaluation = tuple(_evaluation(name, options, sizes, texts.get(name), tokeniser, cache) for name in measured)
    described = _described(training, digests, tokeniser, evaluation)
    return Corpus(
        tokeniser=tokeniser,
        training=training,
        weights={name: weights[name] for name in mixed},
        evaluation=evaluation,
        described=described,
    )


def _cache(options: Options) -> Path:
    root = Path(options.data_cache) if options.data_cache else cache_folder(None)
    assert root is not None, "the user's cache folder always has a name"
    folder = root if options.data_cache else root.parent / "language"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _measured_names(options: Options) -> list[str]:
    names = [name.strip() for name in options.eval_sources.split(",") if name.strip()]
    for name in names:
        if name not in SOURCES:
            raise OptionRefused(f"eval_sources names {name!r}.", fix=f"name some of {', '.join(SOURCES)}.")
    if not names:
        raise OptionRefused("eval_sources is empty.", fix=f"name some of {', '.join(SOURCES)}.")
    return list(dict.fromkeys(names))


def _source(name: str, options: Options, cache: Path) -> Source:
    match name:
        case "library" | "tests":
            return sources.library_source(tests=name == "tests")
        case "text":
            return sources.folder_source(_folder("text_folder", options.text_folder), column=options.text_column)
        case _:
            return _hub(options, cache)


def _folder(option: str, value: str | None) -> Path:
    if not value:
        raise OptionRefused(f"The mix or eval_sources ask for {option}, which is not set.", fix=f"set {option}.")
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise OptionRefused(f"{option} = {value!r} is no folder.", fix="name a folder that this machine can read.")
    return folder


def _hub(options: Options, cache: Path) -> Source:
    """Return what is kept of a hub's dataset, fetching it the first time."""
    dataset = options.hub_dataset
    if not dataset:
        raise OptionRefused("The mix or eval_sources ask for hub_dataset, which is not set.", fix="set hub_dataset.")
    asked = [dataset, options.hub_config, options.hub_split, options.text_column, options.hub_megabytes]

    def make(folder: Path) -> None:
        rows = sources.stream_of_hub(dataset, config=options.hub_config, split=options.hub_split)
        sources.hub_source(
            rows, name=dataset, column=options.text_column, megabytes=options.hub_megabytes, into=folder / "kept.jsonl"
        )

    folder = kept(cache, ["hub", *asked], make)
    found = sources.folder_source(folder, column=options.text_column)
    return Source(name="hub", digest=found.digest, read=found.read)


def _tokeniser(options: Options, sizes: Sizes, trained_on: list[Source], cache: Path) -> Tokeniser:
    match sizes.tokeniser:
        case "bytes":
            return tokenisers.ByteTokeniser()
        case "tiktoken":
            return tokenisers.PublishedTokeniser(options.tiktoken_encoding)
        case "none":
            return tokenisers.NoTokeniser(sizes.vocabulary)
        case _:
            return _trained(sizes.vocabulary, trained_on, cache)


def _trained(vocabulary: int, trained_on: list[Source], cache: Path) -> Tokeniser:
    if not trained_on:
        raise OptionRefused(
            "tokeniser = 'bpe' has no text to be trained on.",
            fix="give tokeniser = 'none', or a text to mix in.",
        )

    def make(folder: Path) -> None:
        texts = (text for source in trained_on for text in _beginning(source))
        tokenisers.train_pairs(texts, vocabulary=vocabulary, path=folder / tokenisers.BPE_FILE)

    names: list[JSON] = [source.digest for source in trained_on]
    folder = kept(cache, ["bpe", vocabulary, _TRAINING_CHARACTERS, SPLIT_RULE, names], make)
    return tokenisers.PairTokeniser(folder / tokenisers.BPE_FILE)


def _training_texts(source: Source) -> Iterator[str]:
    return (document.text for document in source.read() if not document.validates)


def _beginning(source: Source) -> Iterator[str]:
    left = _TRAINING_CHARACTERS
    for text in _training_texts(source):
        if left <= 0:
            return
        yield text[:left]
        left -= len(text)


def _training(options: Options, source: Source | None, tokeniser: Tokeniser, cache: Path) -> tuple[Tokens, str]:
    """Return a source's training tokens and its digest."""
    if source is None:
        folder = _folder("token_folder", options.token_folder)
        return token_shards.read_shards(
            folder, layout=options.token_layout, vocabulary=tokeniser.vocabulary, validation=False
        )

    def make(folder: Path) -> None:
        _write_tokens(folder / _TOKENS_FILE, source, tokeniser)

    folder = kept(cache, ["tokens", source.digest, tokeniser.digest, SPLIT_RULE], make)
    return token_shards.read_plain(folder / _TOKENS_FILE, tokeniser.vocabulary), source.digest


def _write_tokens(path: Path, source: Source, tokeniser: Tokeniser) -> None:
    """Write the tokens of every training document, with an end before each and one more at the end."""
    dtype = token_shards.narrowest(tokeniser.vocabulary)
    end = np.array([tokeniser.end], dtype=dtype)
    with path.open("wb") as stream:
        for batch in tokenisers.in_batches(_training_texts(source)):
            for tokens in tokeniser.encode(batch):
                stream.write(end.tobytes() + tokens.astype(dtype).tobytes())
        stream.write(end.tobytes())


def _evaluation(
    name: str, options: Options, sizes: Sizes, source: Source | None, tokeniser: Tokeniser, cache: Path
) -> ExampleSet:
    if source is None:
        folder = _folder("token_folder", options.token_folder)
        tokens, digest = token_shards.read_shards(
            folder, layout=options.token_layout, vocabulary=tokeniser.vocabulary, validation=True
        )
        return examples.window_examples(name, tokens, digest, count=sizes.eval_examples, length=sizes.sequence)

    def make(folder: Path) -> None:
        chosen = examples.chosen_examples(source.read(), count=sizes.eval_examples, longest=sizes.eval_bytes)
        examples.write_examples(folder / _EXAMPLES_FILE, chosen)

    folder = kept(cache, ["examples", source.digest, sizes.eval_examples, sizes.eval_bytes, SPLIT_RULE], make)
    return examples.text_examples(name, examples.read_examples(folder / _EXAMPLES_FILE), tokeniser, sizes.sequence)


def _described(
    training: dict[str, Tokens], digests: dict[str, JSON], tokeniser: Tokeniser, evaluation: tuple[ExampleSet, ...]
) -> dict[str, JSON]:
    read: dict[str, JSON] = {
        name: {"digest": digests[name], "training_tokens": len(tokens)} for name, tokens in training.items()
    }
    measured: dict[str, JSON] = {
        one.source: {"digest": one.digest, "examples": len(one.ids), "bytes": int(one.byte_counts.sum())}
        for one in evaluation
    }
    return {
        "training": {"sources": read, "split": SPLIT_RULE, "tokeniser": tokeniser.digest},
        "evaluation": {"digest": examples.set_digest(evaluation), "sources": measured},
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def kept(cache: Path, made_from: list[Any], make: Callable[[Path], None]) -> Path:
    """Return the sealed folder named by what it is made from, made by `make` where it is missing or damaged."""
    digest = hashlib.sha256(canonical([_FORMAT, *made_from])).hexdigest()
    folder = cache / f"{made_from[0]}-{digest[:32]}"
    try:
        tree.verify(folder)
    except TreeDamaged:
        _make(folder, make)
    return folder


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
        made = Path(aside) / "made"
        made.mkdir()
        make(made)
        tree.seal(made)
        if folder.exists():
            # Damaged, or made by another process in the meantime: either way this one is whole.
            shutil.move(folder, Path(aside) / "replaced")
        try:
            made.rename(folder)
        except OSError:
            tree.verify(folder)  # another process was faster by a hair
