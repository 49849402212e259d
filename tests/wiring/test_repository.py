"""One file is committed alone, or the repository is left as it was and the reason is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.wiring.conftest import Repository

from pilothouse.wiring.repository import NotCommitted, commit_file, find_commit

NAME = "pilot.applied.json"


MESSAGE = "Apply\n\nBody.\n\nPilothouse-Applied: k\n"


def commit(repository: Repository) -> str:
    """Commit the applied file."""
    return commit_file(repository.folder / NAME, text="{}\n", message=MESSAGE)


def test_the_file_is_committed_alone(repository: Repository) -> None:
    """Staged, changed and untracked files of a person are as they were, and the message is whole."""
    repository.write("code.py", "2\n")
    repository.write("new.py", "3\n")
    repository.write("staged.py", "4\n")
    repository.git("add", "staged.py")
    before = repository.git("status", "--short")

    made = commit(repository)

    assert repository.git("rev-parse", "HEAD") == made
    assert repository.git("show", "--format=", "--name-only", "HEAD") == NAME
    assert repository.git("show", f"HEAD:{NAME}") == "{}"
    assert repository.git("status", "--short") == before
    assert repository.git("log", "-1", "--format=%(trailers:key=Pilothouse-Applied,valueonly)") == "k"
    assert repository.git("log", "-1", "--format=%an <%ae>") == "Ada <ada@example.org>"


def test_the_file_lies_beside_the_campaign_file(repository: Repository) -> None:
    """In a folder of the repository, too."""
    folder = repository.folder / "campaigns"
    folder.mkdir()

    commit_file(folder / NAME, text="{}\n", message="Apply\n")

    assert repository.git("show", "--format=", "--name-only", "HEAD") == f"campaigns/{NAME}"


def test_no_program_of_the_repository_runs(repository: Repository) -> None:
    """Neither the hooks before a commit nor those after it."""
    for name in ("pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "reference-transaction"):
        hook = repository.write(f".git/hooks/{name}", '#!/bin/sh\ntouch "$GIT_DIR/../hooked"\nexit 1\n')
        hook.chmod(0o755)
    repository.git("config", "commit.gpgSign", "true")
    repository.git("config", "gpg.program", "/bin/false")

    commit(repository)

    assert not (repository.folder / "hooked").exists()
    assert repository.log() == ["Apply", "begin"]


def test_a_text_that_a_person_has_committed_already_still_has_its_commit(repository: Repository) -> None:
    """The trailer has to stand in the history: an empty commit carries it."""
    repository.write(NAME, "{}\n")
    repository.commit("by hand")

    commit(repository)

    assert repository.log() == ["Apply", "by hand", "begin"]


def _merging(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "other")
    repository.commit("theirs", code__py="2\n")
    repository.git("checkout", "--quiet", "main")
    repository.commit("ours", code__py="3\n")
    with pytest.raises(Exception, match="merge"):
        repository.git("merge", "other")


def _nobody(repository: Repository) -> None:
    repository.git("config", "--unset", "user.name")
    repository.git("config", "--unset", "user.email")


def _locked(repository: Repository) -> None:
    repository.write(".git/index.lock", "")


def _ignored(repository: Repository) -> None:
    repository.write(".gitignore", "*.json\n")


def _detached(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "--detach")


@pytest.mark.parametrize(
    ("spoil", "why", "mend"),
    [
        (_nobody, "git knows no author", "user.name"),
        (_detached, "HEAD is detached", "check out a branch"),
        (_merging, "a merge is under way", "finish or abort"),
        (_locked, "the index is locked", "index.lock"),
        (_ignored, "is ignored by git", ".gitignore"),
    ],
)
def test_a_repository_that_takes_nothing_is_left_alone(
    repository: Repository, spoil: Callable[[Repository], None], why: str, mend: str
) -> None:
    """The cause and the mend are told, and nothing is written."""
    spoil(repository)
    head, before = repository.git("rev-parse", "HEAD"), repository.git("status", "--short")

    with pytest.raises(NotCommitted, match=why) as refused:
        commit(repository)

    assert mend in refused.value.fix
    assert repository.git("rev-parse", "HEAD") == head
    assert repository.git("status", "--short") == before
    assert not (repository.folder / NAME).exists()


def test_a_folder_without_a_repository_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is one whose branch has no commit yet."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(NotCommitted, match="no git repository"):
        commit_file(tmp_path / NAME, text="{}", message="m")

    Repository(tmp_path).git("init", "--quiet", "--initial-branch=main")

    with pytest.raises(NotCommitted, match="no commit yet"):
        commit_file(tmp_path / NAME, text="{}", message="m")


def test_a_machine_without_git_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said what is missing, and nothing is written."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NotCommitted, match="no git repository that can be used") as refused:
        commit_file(tmp_path / NAME, text="{}", message="m")

    assert refused.value.fix == "install git"
    assert list(tmp_path.iterdir()) == []


def test_a_commit_is_found_by_its_line_on_any_branch(repository: Repository) -> None:
    """By the whole text, taken as it stands, and not among older commits."""
    now = datetime.now(UTC)  # noqa: TID251  git dates its commits by the same clock
    made = commit(repository)
    repository.git("checkout", "--quiet", "-b", "elsewhere", "HEAD~1")

    assert find_commit(repository.folder, line="Pilothouse-Applied: k", since=now) == made
    assert find_commit(repository.folder, line="Pilothouse-Applied: .", since=now) is None
    assert find_commit(repository.folder, line="Pilothouse-Applied: k", since=now + timedelta(days=3)) is None
