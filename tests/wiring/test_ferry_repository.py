"""What a ferry reads of the working folder's repository, and what it keeps there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.campaigns.ferry_world import definition_of
from tests.wiring.conftest import Repository

from pilothouse.campaigns.record import Campaign
from pilothouse.canonical import Json
from pilothouse.logbook.letter import GITHUB, Kind, Letter
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.operations.post_letter import post_letter
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.wiring.ferry_repository import keep_in_repository
from pilothouse.wiring.ferry_sources import GitHistory

START = datetime(2026, 11, 22, 6, tzinfo=UTC)


def test_commits_since_a_ferry_are_those_that_its_code_lacked(repository: Repository) -> None:
    """By ancestry: a branch that was merged since counts, however old its commits."""
    before = repository.git("rev-parse", "HEAD")
    repository.write("more.py", "1\n")
    repository.git("add", "more.py")
    repository.git("commit", "--quiet", "--no-verify", "--date=2001-01-01T00:00:00Z", "-m", "An old one")

    found = GitHistory(repository.folder).since(f"{before}+0123456789ab")

    assert [commit.subject for commit in found.listed] == ["An old one"]
    assert (found.count, found.since) == (1, before)


def test_a_file_is_read_as_it_is_and_only_from_within_the_repository(repository: Repository) -> None:
    """Its line endings stay; a path that leads out of the repository, by its words or by a link, names no file."""
    outside = repository.folder.parent / "secret.toml"
    outside.write_text("secret", encoding="utf-8")
    (repository.folder / "linked.toml").symlink_to(outside)
    (repository.folder / "daily.toml").write_bytes(b"a = 1\r\nb = 2\r\n")
    history = GitHistory(repository.folder)

    assert history.read("daily.toml") == "a = 1\r\nb = 2\r\n"
    assert [history.read(path) for path in ("../secret.toml", str(outside), "linked.toml", "absent")] == [None] * 4


@pytest.fixture(name="campaign")
def _campaign(tmp_path: Path) -> tuple[SqliteStore, Campaign]:
    """Return a store with a ferry's campaign, and two letters of it: a branch and a seal."""
    store = SqliteStore(tmp_path / "pilothouse.db")
    with store.write() as tx:
        return store, open_campaign(tx, definition_of(), now=START)


def test_branches_and_seals_are_made_beside_what_people_do_and_no_hook_runs(
    repository: Repository, campaign: tuple[SqliteStore, Campaign], tmp_path: Path
) -> None:
    """Staged, changed and untracked files stay; made again it makes nothing."""
    store, owner = campaign
    hook = repository.folder / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path / 'ran'}'\n", encoding="utf-8")
    hook.chmod(0o755)
    head = repository.git("rev-parse", "HEAD")
    bodies: dict[str, tuple[Kind, dict[str, Json]]] = {
        "one": (
            Kind.COMMIT,
            {"branch": "ferry/one", "base": "main", "files": {"x/é.md": "text\r\n"}, "message": "One"},
        ),
        "two": (Kind.TAG, {"tag": "ferry/daily/20261122/one", "message": "Seal", "commit": head}),
    }
    with store.write() as tx:
        for key, (kind, body) in bodies.items():
            letter = Letter(
                product=owner.product, campaign=owner.name, channel=GITHUB, key=key, kind=kind, body=body, about=""
            )
            post_letter(tx, letter, now=START)
    repository.write("code.py", "changed\n")
    repository.write("staged.py", "4\n")
    repository.git("add", "staged.py")
    (tmp_path / "ran").unlink(missing_ok=True)
    before = repository.git("status", "--short")

    made = keep_in_repository(store, owner, repository.folder)
    ran = (tmp_path / "ran").exists()
    again = keep_in_repository(store, owner, repository.folder)

    assert made == ("branch ferry/one", "tag ferry/daily/20261122/one")
    assert not ran
    assert again == ()
    assert repository.git("status", "--short") == before
    assert repository.git("rev-parse", "HEAD") == repository.git("rev-parse", "ferry/one~1") == head
    assert repository.git("cat-file", "-p", "ferry/one:x/é.md") == "text"
    store.close()


def test_a_commit_is_never_made_on_another_one_than_it_was_made_for(
    repository: Repository, campaign: tuple[SqliteStore, Campaign]
) -> None:
    """A branch may fall back to what is checked out; a commit that is gone leaves the branch unmade."""
    store, owner = campaign
    body: dict[str, Json] = {
        "branch": "pilothouse/patch/one",
        "base": "0" * 40,
        "files": {"a": "b\n"},
        "message": "One",
    }
    letter = Letter(
        product=owner.product, campaign=owner.name, channel=GITHUB, key="one", kind=Kind.COMMIT, body=body, about=""
    )
    with store.write() as tx:
        post_letter(tx, letter, now=START)

    made = keep_in_repository(store, owner, repository.folder, patch_of="0" * 40)

    assert made == ()
    assert repository.git("branch", "--list", "pilothouse/*") == ""
    store.close()


def test_the_branch_of_a_patch_that_was_taken_and_deleted_does_not_come_back(
    repository: Repository, campaign: tuple[SqliteStore, Campaign]
) -> None:
    """It was made for one commit; once the code has moved nobody waits for it."""
    (store, owner), failed, branch = campaign, repository.git("rev-parse", "HEAD"), "pilothouse/patch/one"
    body: dict[str, Json] = {"branch": branch, "base": failed, "files": {"a": "b\n"}, "message": "One"}
    letter = Letter(
        product=owner.product, campaign=owner.name, channel=GITHUB, key="one", kind=Kind.COMMIT, body=body, about=""
    )
    with store.write() as tx:
        post_letter(tx, letter, now=START)

    made = keep_in_repository(store, owner, repository.folder, patch_of=failed)
    repository.git("merge", "--quiet", branch)
    repository.git("branch", "-d", branch)
    head = repository.git("rev-parse", "HEAD")
    again = keep_in_repository(store, owner, repository.folder, patch_of=head)
    all_else = keep_in_repository(store, owner, repository.folder)

    assert (made, again, all_else) == ((f"branch {branch}",), (), ())
    assert repository.git("branch", "--list", "pilothouse/*") == ""
    store.close()
