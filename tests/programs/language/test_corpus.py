"""What a run reads: sources, their split, tokenisers, and the evaluation set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pilothouse.programs.language import corpus, examples, sources, tokenisers
from pilothouse.programs.language.corpus import Sizes, kept, prepare
from pilothouse.programs.language.options import Options
from pilothouse.programs.language.sources import Document, document, folder_source, hub_source, library_source
from pilothouse.trainer import OptionRefused, RunFolderBroken, tree

_SIZES = Sizes(tokeniser="bytes", vocabulary=257, sequence=16, eval_examples=8, eval_bytes=64)


def _options(folder: Path, cache: Path, **changes: Any) -> Options:
    plain = Options(mix_library=0.0, mix_text=1.0, text_folder=str(folder), eval_sources="text", data_cache=str(cache))
    return replace(plain, **changes)


def _python(folder: Path) -> None:
    for path, text in {
        "json/decoder.py": "DECODER = 1\n",
        "zipfile.py": "ZIP = 1\n",
        "test/test_json.py": "TEST = 1\n",
        "site-packages/numpy/core.py": "FOREIGN = 1\n",
        "_sysconfigdata__linux_x86_64.py": "BUILT_HERE = 1\n",
        "config-3.11-x86_64/python-config.py": "BUILT_HERE = 2\n",
        "sitecustomize.py": "LOCAL = 1\n",
        "lib2to3/latin.py": "x = 'é'\n",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode("latin-1"))


def test_the_library_is_what_every_build_of_a_release_has(tmp_path: Path) -> None:
    """No tests, no packages, nothing written for this machine, and nothing that is no UTF-8."""
    _python(tmp_path)

    library, tests = (library_source(tests=tests, root=tmp_path) for tests in (False, True))

    assert [one.text for one in library.read()] == ["DECODER = 1\n", "ZIP = 1\n"]
    assert [one.text for one in tests.read()] == ["TEST = 1\n"]


def test_the_digest_names_the_corpus(tmp_path: Path) -> None:
    """Another release, with one file changed, has another digest; what does not belong to it changes nothing."""
    _python(tmp_path)
    before = library_source(tests=False, root=tmp_path).digest
    (tmp_path / "site-packages/numpy/core.py").write_text("OTHER = 1\n")
    assert library_source(tests=False, root=tmp_path).digest == before

    (tmp_path / "zipfile.py").write_text("ZIP = 2\n")

    assert library_source(tests=False, root=tmp_path).digest != before


def test_a_python_without_tests_says_so(tmp_path: Path) -> None:
    """Some builds leave them out."""
    (tmp_path / "os.py").write_text("OS = 1\n")

    with pytest.raises(OptionRefused, match=r"no sources for mix_tests .* set mix_tests = 0"):
        library_source(tests=True, root=tmp_path)


def test_folders_of_every_kind_give_their_texts(tmp_path: Path) -> None:
    """A file is a document; of rows, each is one; names decide the order."""
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.jsonl").write_text('{"text": "two"}\n\n{"text": "three"}\n')
    parquet.write_table(pa.table({"text": ["four", "five", None]}), tmp_path / "c.parquet")
    (tmp_path / "d.png").write_bytes(b"no text")

    assert [one.text for one in folder_source(tmp_path, column="text").read()] == [
        "one",
        "two",
        "three",
        "four",
        "five",
    ]


@pytest.mark.parametrize(
    ("name", "data", "named"),
    [
        ("a.jsonl", b'{"text": 1}\n', "text is a int"),
        ("a.jsonl", b'{"body": "x"}\n', r"line 1 has no column 'text', only body"),
        ("a.jsonl", b"{\n", "line 1"),
        ("a.parquet", b"PAR1", "is no Parquet file"),
        ("a.png", b"", "holds no .jsonl"),
    ],
)
def test_a_folder_that_cannot_be_read_names_the_place(tmp_path: Path, name: str, data: bytes, named: str) -> None:
    """File, line and column, and no traceback of a parser."""
    (tmp_path / name).write_bytes(data)

    with pytest.raises(RunFolderBroken, match=named):
        list(folder_source(tmp_path, column="text").read())


def test_a_stream_is_kept_up_to_its_size_and_read_again(tmp_path: Path) -> None:
    """Two megabytes of an endless stream, the same both times."""

    def endless() -> Iterator[dict[str, Any]]:
        number = 0
        while True:
            yield {"text": f"{number} " * 50_000, "id": number}
            number += 1

    source = hub_source(endless(), name="some/set", column="text", megabytes=2, into=tmp_path / "kept.jsonl")
    texts = [one.text for one in source.read()]

    assert 2_000_000 <= sum(map(len, texts)) < 2_400_000
    assert [one.text for one in source.read()] == texts


@pytest.mark.skipif(find_spec("datasets") is not None, reason="the package is installed here")
def test_a_hub_without_its_package_is_a_clear_error(text_folder: Path, tmp_path: Path) -> None:
    """It is an option, and its package comes with no extra."""
    options = _options(text_folder, tmp_path, mix_hub=1.0, hub_dataset="some/set")

    with pytest.raises(OptionRefused, match=r"needs the package 'datasets'"):
        prepare(options, _SIZES)


@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=60))
def test_copies_of_a_document_are_on_one_side(texts: list[str]) -> None:
    """The split looks at the text alone, so validation and training share none."""
    documents = [document(text) for text in [*texts, *texts]]
    held_out = {one.text for one in documents if one.validates}
    trained_on = {one.text for one in documents if not one.validates}

    assert not held_out & trained_on


def test_five_documents_in_a_hundred_validate() -> None:
    """By the digest, so over many documents the share is near."""
    held_out = sum(document(f"document {number}").validates for number in range(4000))

    assert 160 <= held_out <= 240


def test_no_training_token_is_of_a_validation_document(text_folder: Path, tmp_path: Path) -> None:
    """Training tokens are the training documents in order, with ends between; all examples are of the others."""
    read = prepare(_options(text_folder, tmp_path), replace(_SIZES, eval_examples=10_000))
    documents = list(folder_source(text_folder, column="text").read())

    tokens = read.training["text"]
    line = tokens.windows(np.array([0]), len(tokens))[0]
    bare = np.where(line == 256, 0, line).astype(np.uint8)
    texts = bytes(bare).decode().strip("\0").split("\0")
    assert texts == [one.text for one in documents if not one.validates]
    whole = {int.from_bytes(one.digest[:8], "big") >> 1: one.validates for one in documents}
    assert {whole[number] for number in read.evaluation[0].documents.tolist()} == {True}


def test_pairs_are_trained_on_training_text_only_and_give_the_text_back(text_folder: Path, tmp_path: Path) -> None:
    """Twice the same tokeniser; a validation document's own word is not in it; tokens are fewer than bytes."""
    options = _options(text_folder, tmp_path / "one")
    sizes = replace(_SIZES, tokeniser="bpe", vocabulary=300)
    read, again = prepare(options, sizes), prepare(replace(options, data_cache=str(tmp_path / "two")), sizes)

    assert read.tokeniser.digest == again.tokeniser.digest
    assert read.tokeniser.vocabulary == 300
    text = "17 plus 4 is 21.\n"
    (tokens,) = read.tokeniser.encode([text])
    assert len(tokens) < len(text)
    assert read.evaluation[0].byte_counts.sum() > read.evaluation[0].rows.lengths.sum()
    assert read.evaluation_digest == prepare(options, _SIZES).evaluation_digest


def test_training_a_tokeniser_sees_no_validation_document(tmp_path: Path) -> None:
    """A word that stands in validation documents alone, however often, becomes no token."""
    kinds = [document(f"common words here {number}") for number in range(300)]
    held_out = next(one for one in kinds if one.validates)
    rows = [{"text": one.text} for one in kinds if not one.validates]
    secret = next(
        text for number in range(1000) if (text := "zyzzyva " * 200 + str(number)) and document(text).validates
    )
    (tmp_path / "text").mkdir()
    lines = [json.dumps(row) for row in [*rows, {"text": held_out.text}, {"text": secret}]]
    (tmp_path / "text" / "a.jsonl").write_text("\n".join(lines))

    read = prepare(_options(tmp_path / "text", tmp_path / "cache"), replace(_SIZES, tokeniser="bpe", vocabulary=400))

    (tokens,) = read.tokeniser.encode(["zyzzyva"])
    assert len(tokens) == len("zyzzyva")


@given(text=st.text(max_size=300), longest=st.integers(8, 60))
def test_examples_are_cut_between_characters(text: str, longest: int) -> None:
    """No piece is longer than asked, and each is a part of the document."""
    one = Document(text=document(text).text, digest=bytes(32))
    pieces = examples.chosen_examples([one], count=1000, longest=longest)

    assert all(len(piece.text.encode()) <= longest for piece in pieces)
    assert all(piece.text in one.text for piece in pieces)
    assert len({piece.id for piece in pieces}) == len(pieces)


def test_an_example_has_the_same_tokens_however_rows_are_cut() -> None:
    """Rows overlap by one token, the first begins with the end of a document, and every token is a target once."""
    drawn = [examples.Example(id=1, document=1, text="abcdefghij"), examples.Example(id=2, document=1, text="xy")]
    laid = examples.text_examples("text", drawn, tokenisers.ByteTokeniser(), 4).rows

    assert laid.owners.tolist() == [0, 0, 0, 1]
    assert laid.lengths.tolist() == [4, 4, 2, 2]
    assert laid.tokens[0].tolist() == [256, *b"abcd"]
    assert laid.tokens[1].tolist() == list(b"defgh")
    assert laid.tokens[3].tolist() == [256, *b"xy", 0, 0]


def test_nats_are_gathered_by_example_and_told_in_bits_a_byte() -> None:
    """A nat for each of ten bytes is 1.44 bits a byte; what pads a row counts for nothing."""
    drawn = [examples.Example(id=1, document=1, text="abcdefghij"), examples.Example(id=2, document=5, text="xy")]
    laid = examples.text_examples("text", drawn, tokenisers.ByteTokeniser(), 4)

    measured = examples.gathered(laid, np.ones((4, 4), dtype=np.float32))
    told = examples.sample_columns([measured])

    assert measured.nats.tolist() == [10.0, 2.0]
    assert measured.bits_per_byte == pytest.approx(1 / np.log(2))
    assert told["loss"].tolist() == [1.0, 1.0]
    assert told["document"].tolist() == [1, 5]


def test_a_damaged_folder_of_the_cache_is_made_again(tmp_path: Path) -> None:
    """A byte that has changed on the disk does not train a model."""
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "file").write_text("right")

    first = kept(tmp_path, ["thing", 1], make)
    (first / "file").write_text("wrong")

    again = kept(tmp_path, ["thing", 1], make)
    kept(tmp_path, ["thing", 1], make)

    assert len(made) == 2
    assert again == first
    assert (first / "file").read_text() == "right"
    assert set(tree.verify(first).files) == {"file"}
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mix_text": 0.0}, "Every mix_… is 0"),
        ({"text_folder": None}, "ask for text_folder, which is not set"),
        ({"text_folder": "/nowhere"}, "text_folder = '/nowhere' is no folder"),
        ({"eval_sources": "libary"}, "eval_sources names 'libary'"),
        ({"eval_sources": " , "}, "eval_sources is empty"),
        ({"mix_tokens": 1.0}, "ask for token_folder, which is not set"),
        ({"mix_hub": 1.0}, "ask for hub_dataset, which is not set"),
    ],
)
def test_a_mix_that_cannot_be_read_is_refused_by_name(
    text_folder: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    """The option at fault, and what to do."""
    with pytest.raises(OptionRefused, match=named):
        prepare(_options(text_folder, tmp_path, **changes), _SIZES)


def test_a_tokeniser_that_does_not_fit_is_refused(text_folder: Path, tmp_path: Path) -> None:
    """Text without a tokeniser, and pairs with fewer tokens than bytes."""
    options = _options(text_folder, tmp_path)
    with pytest.raises(OptionRefused, match="tokeniser = 'none' cannot read text"):
        prepare(options, replace(_SIZES, tokeniser="none"))
    with pytest.raises(OptionRefused, match="vocabulary = 100 is less than the bytes"):
        prepare(options, replace(_SIZES, tokeniser="bpe", vocabulary=100))


def test_every_source_has_its_weight() -> None:
    """A source without its `mix_` option could never be mixed in."""
    options = set(Options.__dataclass_fields__)

    assert {f"mix_{name}" for name in corpus.SOURCES} == {name for name in options if name.startswith("mix_")}
    assert sources.VALIDATION_PERCENT == 5
