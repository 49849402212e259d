"""The pages of the home: the same record as on a forge, for a reader without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.publish.conftest import Desk
from tests.publish.test_github_delivery import WHOLE_RUN

from pilothouse.ids import ProductId
from pilothouse.logbook.letter import LOCAL, Kind, Letter, LetterState
from pilothouse.operations.post_letter import post_letter
from pilothouse.publish.local import LocalChannel, _safe
from pilothouse.testing.outbox_conformance import make_issue, make_letter
from pilothouse.testing.values import PRODUCT


def publish(desk: Desk, home: Path, letters: list[Letter]) -> None:
    """Post letters with their twins, and write the pages."""
    with desk.books.store.write() as tx:
        for letter in letters:
            post_letter(tx, letter, now=desk.books.now())
    desk.deliver(LocalChannel(home))


def page_of(home: Path, key: str) -> str:
    """Return the page of a key."""
    return (home / "publications" / PRODUCT / "daily" / f"{_safe(key)}.md").read_text()


def test_a_whole_run_stands_in_the_home(desk: Desk, tmp_path: Path) -> None:
    """Without a forge its letters wait there, and nothing is missing here."""
    publish(desk, tmp_path, WHOLE_RUN)

    issue = page_of(tmp_path, "github/run-1/issue")
    order = ["# Ferry run-1/issue", "\nrunning\n", "\nrun-1/started\n", "labels: running", "closed: completed"]
    assert [issue.index(words) for words in order] == sorted(issue.index(words) for words in order)
    assert "- writes: daily.toml" in page_of(tmp_path, "github/run-1/commit")
    assert "ferry/daily/20260102/run-1" in page_of(tmp_path, "github/run-1/seal")
    states = {(letter.letter.channel, letter.state) for letter in desk.letters()}
    assert states == {(LOCAL, LetterState.SENT), ("github", LetterState.WAITING)}


def test_a_page_that_is_written_twice_is_the_same(desk: Desk, tmp_path: Path) -> None:
    """A delivery that was killed before its end is done again."""
    publish(desk, tmp_path, WHOLE_RUN)
    before = {path: path.read_text() for path in (tmp_path / "publications").rglob("*.md")}
    channel = LocalChannel(tmp_path)
    for posted in desk.letters():
        if posted.letter.channel == LOCAL:
            about = desk.letter(PRODUCT, LOCAL, posted.letter.about) if posted.letter.about else None
            channel.deliver(posted, about=about, gate=_Never())

    assert before == {path: path.read_text() for path in (tmp_path / "publications").rglob("*.md")}


class _Never:
    """A gate that nothing may pass."""

    def pass_one(self) -> None:
        """Fail: nothing is to be written."""
        raise AssertionError("a page was written again")

    def passed(self) -> None:
        """Nothing passes."""


def test_a_newer_status_takes_the_place_of_the_older_one(desk: Desk, tmp_path: Path) -> None:
    """As it does on a forge."""
    status = make_letter("run-1/status", kind=Kind.STATUS, body={"text": "first words"})
    publish(desk, tmp_path, [make_issue(), status])
    publish(desk, tmp_path, [replace(status, body={"text": "second words"})])

    page = page_of(tmp_path, "github/run-1/issue")
    assert "second words" in page
    assert "first words" not in page


@pytest.mark.parametrize("name", ["..", ".", "../../x", "a/../b", "x" * 200, "x" * 200 + "y", "a:b", "a@b", "a+b"])
def test_no_name_leaves_its_folder(name: str) -> None:
    """And no two names are one page."""
    others = {"..", ".", "../../x", "a/../b", "x" * 200, "x" * 200 + "y", "a:b", "a@b", "a+b"} - {name}

    safe = _safe(name)
    assert "/" not in safe
    assert safe not in {"", ".", ".."}
    assert len(safe.encode()) < 250
    assert safe not in {_safe(other) for other in others}


def test_a_disk_that_refuses_is_tried_again(desk: Desk, tmp_path: Path) -> None:
    """The letter waits, and says why."""
    home = tmp_path / "home"
    home.write_text("a file in the way")
    with desk.books.store.write() as tx:
        tx.outbox.post(replace(make_issue(), channel=LOCAL, product=ProductId("demo")), now=desk.books.now())
    desk.turn(LocalChannel(home))

    [letter] = desk.letters()
    assert letter.state is LetterState.WAITING
    assert "cannot be written" in letter.last_error

    home.unlink()
    desk.deliver(LocalChannel(home))
    assert desk.letters()[0].state is LetterState.SENT
