"""Which tokens a step trains on, by seed and step alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.programs.language.batches import BLOCK, Batches, batches, shares
from pilothouse.programs.language.token_shards import Tokens, read_shards
from pilothouse.trainer import OptionRefused, RunFolderBroken

_SEQUENCE = 8


def _line(first: int, count: int) -> Tokens:
    return Tokens(pieces=(np.arange(first, first + count, dtype=np.uint32),))


def _mixed(*, seed: int = 1) -> Batches:
    sources = {"library": _line(0, 500), "text": _line(10_000, 300)}
    return batches(sources, {"library": 3.0, "text": 1.0}, sequence=_SEQUENCE, seed=seed)


@given(first=st.integers(0, 5000), count=st.integers(1, 40), seed=st.integers(0, 2**63 - 1))
def test_rows_depend_on_their_numbers_alone(first: int, count: int, seed: int) -> None:
    """However they are asked for, one by one, together, or by another process: the same tokens."""
    together = _mixed(seed=seed).rows(first, first + count)
    singly = np.concatenate([_mixed(seed=seed).rows(number, number + 1) for number in range(first, first + count)])

    np.testing.assert_array_equal(together, singly)


def test_a_row_is_a_window_of_its_source() -> None:
    """One token more than the sequence, as they stand in the text."""
    rows = _mixed().rows(0, 600)

    assert rows.shape == (600, _SEQUENCE + 1)
    assert np.all(np.diff(rows, axis=1) == 1)


@pytest.mark.parametrize("block", [0, 7])
def test_each_source_has_its_share_of_every_block(block: int) -> None:
    """Three in four and one in four, to the last row."""
    rows = _mixed().rows(block * BLOCK, (block + 1) * BLOCK)

    assert int((rows[:, 0] < 10_000).sum()) == BLOCK * 3 // 4


@given(length=st.integers(9, 400), seed=st.integers(0, 1000))
def test_an_epoch_shows_no_token_twice_and_leaves_out_few(length: int, seed: int) -> None:
    """The windows of an epoch do not overlap; at most two windows' worth is left out."""
    one = batches({"text": _line(0, length)}, {"text": 1.0}, sequence=_SEQUENCE, seed=seed)
    windows = max(1, (length - 1) // _SEQUENCE - 1)
    seen = one.rows(0, windows)[:, :-1].ravel()

    assert len(set(seen.tolist())) == windows * _SEQUENCE
    assert seen.max() < length
    assert windows == 1 or length - len(seen) <= 3 * _SEQUENCE


def test_epochs_and_seeds_have_their_own_order() -> None:
    """Neither the second epoch nor another seed repeats the first."""
    one, other = (batches({"text": _line(0, 4000)}, {"text": 1.0}, sequence=_SEQUENCE, seed=seed) for seed in (1, 2))
    windows = (4000 - 1) // _SEQUENCE - 1
    first, second, elsewhere = one.rows(0, windows), one.rows(windows, 2 * windows), other.rows(0, windows)

    assert np.mean(first[:, 0] == second[:, 0]) < 0.05
    assert np.mean(first[:, 0] == elsewhere[:, 0]) < 0.05
    assert one.epochs(windows) == (1.0,)


@given(weights=st.lists(st.floats(0.001, 1000.0), min_size=1, max_size=5))
def test_shares_fill_a_block_and_forget_none(weights: list[float]) -> None:
    """They add up, each has at least one row, and none is a row off its exact part unless a small one was lifted."""
    given_ = shares(weights)
    exact = [weight / sum(weights) * BLOCK for weight in weights]

    assert sum(given_) == BLOCK
    assert min(given_) >= 1
    lifted = sum(part < 1 for part in exact)
    assert all(abs(one - other) <= 1 + lifted for one, other in zip(given_, exact, strict=True))


def test_a_source_shorter_than_a_sequence_is_refused() -> None:
    """The message says how long it is."""
    with pytest.raises(OptionRefused, match="mix_text: its training text has 8 tokens, and a sequence needs 9"):
        batches({"text": _line(0, 8)}, {"text": 1.0}, sequence=_SEQUENCE, seed=1)


def _shard(path: Path, numbers: np.ndarray[tuple[int], np.dtype[np.int64]], *, header: int | None, width: int) -> None:
    with path.open("wb") as stream:
        if header is not None:
            words = np.zeros(256, dtype="<i4")
            words[:3] = header, 1, len(numbers)
            stream.write(words.tobytes())
        stream.write(numbers.astype(f"<u{width}").tobytes())


@pytest.mark.parametrize(
    ("header", "width", "layout"),
    [(None, 2, "auto"), (None, 4, "uint32"), (20240520, 2, "auto"), (20240801, 4, "auto")],
    ids=["nanoGPT", "wide", "llm.c GPT-2", "llm.c Llama 3"],
)
def test_every_layout_of_shards_gives_the_same_tokens_and_digest(
    tmp_path: Path, header: int | None, width: int, layout: str
) -> None:
    """Joined in the order of names, windows reach over the seams, and validation shards stay out."""
    numbers = np.arange(900) % 500
    for name, part in (
        ("a_train.bin", numbers[:300]),
        ("b_train.bin", numbers[300:310]),
        ("c_train.bin", numbers[310:]),
    ):
        _shard(tmp_path / name, part, header=header, width=width)
    _shard(tmp_path / "d_val.bin", numbers[:50] + 7, header=header, width=width)

    tokens, digest = read_shards(tmp_path, layout=layout, vocabulary=600, validation=False)
    held_out, other = read_shards(tmp_path, layout=layout, vocabulary=600, validation=True)

    assert (len(tokens), len(held_out)) == (900, 50)
    starts = np.array([0, 295, 305, 880])
    np.testing.assert_array_equal(tokens.windows(starts, 20), numbers[starts[:, None] + np.arange(20)])
    assert digest == hashlib.sha256(numbers.astype("<u4").tobytes()).hexdigest()
    assert digest != other


def test_shards_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """A token beyond the vocabulary, half a token, a false header, and none at all."""
    with pytest.raises(RunFolderBroken, match=r"has no \.bin shard for training"):
        read_shards(tmp_path, layout="auto", vocabulary=10, validation=False)
    _shard(tmp_path / "a.bin", np.array([3, 11]), header=None, width=2)
    with pytest.raises(RunFolderBroken, match=r"has the token 11, and the vocabulary ends before 10"):
        read_shards(tmp_path, layout="auto", vocabulary=10, validation=False)
    with pytest.raises(RunFolderBroken, match=r"has the token 720899"):
        read_shards(tmp_path, layout="uint32", vocabulary=100, validation=False)
    (tmp_path / "a.bin").write_bytes(b"abc")
    with pytest.raises(RunFolderBroken, match=r"3 bytes, which are no whole tokens of 2"):
        read_shards(tmp_path, layout="auto", vocabulary=10, validation=False)
    _shard(tmp_path / "a.bin", np.array([3, 4]), header=20240520, width=4)
    with pytest.raises(RunFolderBroken, match=r"1032 bytes where its header of 2 tokens says 1028"):
        read_shards(tmp_path, layout="auto", vocabulary=10, validation=False)
