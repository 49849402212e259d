"""What counts as a change of code: everything but the files that record what a campaign has applied."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.wiring.conftest import Repository

from pilothouse.errors import OperationFailed
from pilothouse.wiring import conditions
from pilothouse.wiring.conditions import code_commit
from pilothouse.wiring.repository import commit_file


@pytest.fixture(name="at")
def _at(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Return the repository that the present folder lies in."""
    monkeypatch.chdir(repository.folder)
    return repository


def commit_of(repository: Repository) -> str:
    """Return what the code of the working folder is called."""
    return code_commit(repository.folder / ".pilothouse")


def test_the_code_is_its_commit(at: Repository) -> None:
    """A later commit is other code."""
    first = commit_of(at)
    second = at.commit("more", code__py="2\n")

    assert first == at.git("rev-parse", "HEAD~1")
    assert commit_of(at) == second != first


def test_an_applied_config_is_no_code(at: Repository) -> None:
    """Neither while it is written, nor when it is committed, nor when a commit failed and it lies about."""
    before = commit_of(at)

    at.write("pilot.applied.json", "{}\n")
    at.write("campaigns/.pilot.applied.json.tmp", "{")
    lying = commit_of(at)
    commit_file(at.folder / "pilot.applied.json", text='{"a": 1}\n', message="Apply 1\n")
    commit_file(at.folder / "pilot.applied.json", text='{"a": 2}\n', message="Apply 2\n")
    committed = commit_of(at)
    at.write("pilot.applied.json", "dirty")

    assert lying == committed == commit_of(at) == before
    assert at.git("rev-parse", "HEAD") != before


@pytest.mark.parametrize("name", ["code.py", "pilot.toml", "applied.json", "pilot.applied.json.py"])
def test_a_commit_that_touches_anything_else_is_code(at: Repository, name: str) -> None:
    """An applied file beside it hides nothing, committed or not."""
    before = commit_of(at)
    at.write("pilot.applied.json", "{}\n")
    at.write(name, "other\n")
    dirty = commit_of(at)
    at.git("add", ".")
    at.git("commit", "--quiet", "-m", "both")

    assert dirty.startswith(f"{before}+")
    assert commit_of(at) == at.git("rev-parse", "HEAD")


def test_from_a_folder_within_the_whole_repository_counts(at: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer may import what lies beside it."""
    inside = at.folder / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    before = commit_of(at)

    at.write("code.py", "changed\n")

    assert commit_of(at) != before


def test_a_program_that_shows_changes_otherwise_hides_none(at: Repository) -> None:
    """Nor a filter for texts: what they print may be the same for every change."""
    for setting in ("diff.external", "diff.same.textconv"):
        at.git("config", setting, "true")
    at.commit("texts are shown otherwise", __gitattributes="*.py diff=same\n")
    clean = commit_of(at)

    seen = []
    for text in ("2\n", "3\n"):
        at.write("code.py", text)
        seen.append(commit_of(at))

    assert len({clean, *seen}) == 3


def test_the_home_is_no_code_by_whatever_way_it_is_named(at: Repository, tmp_path: Path) -> None:
    """Through a link as well: what the campaign itself writes there changes all the time."""
    (tmp_path / "link").symlink_to(at.folder)
    before = commit_of(at)

    at.write(".pilothouse/pilothouse.db", "grows")

    assert code_commit(tmp_path / "link/.pilothouse") == before


def test_a_git_that_does_not_tell_the_changes_is_not_taken_for_none(at: Repository) -> None:
    """An approval of the clean tree would cover whatever has changed."""
    at.write("code.py", "changed\n")
    at.git("config", "diff.algorithm", "nonsense")

    with pytest.raises(OperationFailed, match="what has changed"):
        commit_of(at)


def test_a_git_that_takes_too_long_is_not_taken_for_a_missing_one(
    at: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy disk does not make the code another one."""
    monkeypatch.setattr(conditions, "LOOK_SECONDS", 0.0)

    with pytest.raises(OperationFailed, match="longer than"):
        commit_of(at)


def test_outside_a_repository_there_is_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is said, rather than guessed."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)

    assert code_commit(tmp_path) == "unversioned"
