"""The home of a workspace: what is made with it, and what is left alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pilothouse.settings import Settings
from pilothouse.wiring.workspace import open_workspace


def test_a_new_home_is_not_taken_into_a_commit(tmp_path: Path) -> None:
    """Whoever adds all of a repository adds no database."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True, timeout=60)
    home = tmp_path / ".pilothouse"

    open_workspace(Settings(home=home, product=None), create=True).store.close()

    command = ["git", "-C", str(tmp_path), "status", "--porcelain"]
    assert (home / "pilothouse.db").exists()
    assert subprocess.run(command, check=True, timeout=60, capture_output=True).stdout == b""


def test_a_folder_that_was_there_is_given_no_ignores(tmp_path: Path) -> None:
    """A home may be the repository itself, whose files git shall go on to see."""
    open_workspace(Settings(home=tmp_path, product=None), create=True).store.close()

    assert not (tmp_path / ".gitignore").exists()
