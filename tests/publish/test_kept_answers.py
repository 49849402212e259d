"""What is remembered of GitHub has bounds, in answers and in bytes."""

from __future__ import annotations

from collections.abc import Callable

from tests.publish.conftest import Desk

from pilothouse.publish.github.client import PAGE
from pilothouse.publish.github.delivery import GithubChannel
from pilothouse.publish.github.kept_answers import Kept, KeptAnswers
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.forge.faults import Fault, scripted
from pilothouse.testing.forge.github import FakeGithub
from pilothouse.testing.outbox_conformance import make_issue, make_letter


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


def test_a_full_page_that_has_not_changed_may_have_another_behind_it(
    forge: FakeGithub, desk: Desk, connect: Callable[..., GithubChannel], clock: FrozenClock
) -> None:
    """A comment whose answer was lost is the first of a new page, and is found there."""
    channel = connect()
    desk.post(make_issue())
    desk.deliver(channel)
    stranger = forge.state.account("mallory")
    for number in range(PAGE - 1):
        forge.state.add_comment(forge.state.issues[1], stranger, f"talk {number}", now=clock.now())
    for key in ("first", "second"):
        desk.post(make_letter(key))
        forge.plan = scripted([Fault.ERROR_AFTER], method="POST")
        desk.deliver(channel)

    ours = [each for each in forge.state.issues[1].comments if each.author is not stranger]
    assert [each.body.splitlines()[1] for each in ours] == ["first", "second"]
