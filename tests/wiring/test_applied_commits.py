"""Each applied config has exactly one commit, wherever a kill has met the one before."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from tests.wiring.conftest import Repository

from pilothouse.campaigns.applied import KEY_TRAILER, Applied
from pilothouse.wiring.applied_commits import PAUSE_SECONDS_MAX, AppliedCommits
from pilothouse.wiring.repository import commit_file

NAME = "pilot.applied.json"


def applied(place: int) -> Applied:
    """Return an application."""
    key = f"default/pilot/{place}@2026-11-22T13:30:12.123456+00:00"
    message = f"Apply trial {place}\n\n{KEY_TRAILER}: {key}\n"
    return Applied(key=key, trial=place, text=f'{{"application": {place}}}\n', message=message)


def commits(repository: Repository, told: list[str] | None = None) -> AppliedCommits:
    """Return what a start of the campaign commits with."""
    said = told if told is not None else []
    return AppliedCommits(
        folder=repository.folder,
        campaign="pilot",
        notes=repository.folder.parent / "home/applied-commits.json",
        opened=datetime.now(UTC),  # noqa: TID251  git dates its commits by the same clock
        tell=lambda each, trouble: said.append(f"{each.trial}: {trouble.message}"),
    )


def test_each_is_committed_once_in_its_order(repository: Repository) -> None:
    """Looking again, and starting again, commits nothing more."""
    first = commits(repository)

    made = [first.bring([applied(1)], at=0), first.bring([applied(1), applied(2)], at=1), first.bring([], at=2)]
    again = commits(repository).bring([applied(1), applied(2)], at=0)

    assert made == [1, 1, 0]
    assert again == 0
    assert repository.log() == ["Apply trial 2", "Apply trial 1", "begin"]
    assert repository.git("show", f"HEAD:{NAME}") == '{"application": 2}'


def _nothing(_: Repository) -> None:
    """Killed before anything was written."""


def _written(repository: Repository) -> None:
    repository.write(NAME, applied(1).text)


def _half_written(repository: Repository) -> None:
    repository.write(f".{NAME}.tmp", "{")


def _staged(repository: Repository) -> None:
    _written(repository)
    repository.git("add", NAME)


def _committed(repository: Repository) -> None:
    commit_file(repository.folder / NAME, text=applied(1).text, message=applied(1).message)


def _torn_notes(repository: Repository) -> None:
    _committed(repository)
    (repository.folder.parent / "home").mkdir()
    (repository.folder.parent / "home/applied-commits.json").write_text('{"def')


@pytest.mark.parametrize("killed", [_nothing, _half_written, _written, _staged, _committed, _torn_notes])
def test_a_kill_anywhere_leaves_exactly_one_commit(
    repository: Repository, killed: Callable[[Repository], None]
) -> None:
    """The trailer is looked for first; the note is written afterwards."""
    killed(repository)

    commits(repository).bring([applied(1)], at=0)

    notes = json.loads((repository.folder.parent / "home/applied-commits.json").read_text())
    assert repository.log() == ["Apply trial 1", "begin"]
    assert notes == {applied(1).key: repository.git("rev-parse", "HEAD")}
    assert repository.git("status", "--short", "--untracked-files=no") == ""


def test_a_commit_that_a_person_threw_away_is_not_made_again(repository: Repository) -> None:
    """It was made once, which the note in the home says."""
    commits(repository).bring([applied(1)], at=0)
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    repository.git("reflog", "expire", "--expire=now", "--all")

    commits(repository).bring([applied(1)], at=0)

    assert repository.log() == ["begin"]


def test_what_is_in_the_way_is_told_once_and_tried_later(repository: Repository) -> None:
    """A lock that is gone by the next try needs no word; when the way is free, everything is committed in order."""
    told: list[str] = []
    lock = repository.write(".git/index.lock", "")
    late = commits(repository, told)
    both = [applied(1), applied(2)]

    counts = [late.bring(both, at=0), late.bring(both, at=1)]
    first = list(told)
    late.bring(both, at=2)
    for turn in range(1, 9):
        late.bring(both, at=turn * PAUSE_SECONDS_MAX * 2)
    lock.unlink()
    early, brought = late.bring(both, at=961), late.bring(both, at=10_000)

    assert (counts, first) == ([0, 0], [])
    assert told == ["1: the index is locked by another git"]
    assert (early, brought) == (0, 2)
    assert repository.log() == ["Apply trial 2", "Apply trial 1", "begin"]


def test_the_last_look_tries_whatever_the_time(repository: Repository) -> None:
    """And tells what is still in the way."""
    told: list[str] = []
    repository.git("checkout", "--quiet", "--detach")
    late = commits(repository, told)
    late.bring([applied(1)], at=0)

    late.bring([applied(1)], at=0, last=True)

    assert len(told) == 1
    assert "detached" in told[0]
