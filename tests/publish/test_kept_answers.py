"""What is remembered of GitHub has bounds, in answers and in bytes."""

from __future__ import annotations

from pilothouse.publish.github.kept_answers import Kept, KeptAnswers


def kept(content: bytes, *, etag: str = "") -> Kept:
    """Return an answer of these bytes."""
    return Kept(etag=etag, content=content, following="")


def test_what_was_not_asked_for_the_longest_is_forgotten() -> None:
    """Being asked for counts, and not only being kept."""
    memory = KeptAnswers(most=2)
    for address in ("a", "b"):
        memory.keep(address, kept(b"1"))
    memory.get("a")
    memory.keep("c", kept(b"1"))

    assert [memory.get(address) is not None for address in ("a", "b", "c")] == [True, False, True]


def test_bytes_are_bounded() -> None:
    """However few the answers are, and however often one is replaced."""
    memory = KeptAnswers(most=1000, bytes_most=1000, one_most=400)
    for number in range(50):
        memory.keep(f"{number:03}", kept(b"x" * (10 * number)))
        assert memory.size <= 1000
    memory.keep("049", kept(b""))
    memory.keep("049", kept(b"y" * 90, etag="1234567"))

    assert len(memory) <= 1000 // 100 + 1
    assert memory.size == sum(len(address) + one.size for address in memory.addresses() if (one := memory.get(address)))


def test_one_that_is_too_long_is_not_kept() -> None:
    """Neither is what stood there before, and all others stay."""
    memory = KeptAnswers(bytes_most=1000, one_most=100)
    memory.keep("a", kept(b"1"))
    memory.keep("b", kept(b"1"))
    memory.keep("a", kept(b"2" * 101))

    assert memory.get("a") is None
    assert memory.get("b") is not None
