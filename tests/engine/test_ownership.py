"""One living process owns a workspace's engine, and its name is gone with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilothouse.engine.ownership import own_engine, read_owner
from pilothouse.errors import AlreadyOwned, OperationFailed


def test_an_owner_that_failed_leaves_no_name(tmp_path: Path) -> None:
    """Otherwise the doctor would take it for one that was killed."""
    with pytest.raises(OperationFailed), own_engine(tmp_path, boot="b") as owner:  # noqa: PT012  the block is the point
        assert read_owner(tmp_path) == owner
        raise OperationFailed("the campaign failed", fix="none")

    assert read_owner(tmp_path) is None


def test_a_second_owner_is_refused_and_the_first_keeps_its_name(tmp_path: Path) -> None:
    """The refusal names the holder and leaves its file alone."""
    with own_engine(tmp_path, boot="first") as owner:
        with pytest.raises(AlreadyOwned, match=str(owner.pid)), own_engine(tmp_path, boot="second"):
            pytest.fail("owned twice")
        assert read_owner(tmp_path) == owner


def test_a_home_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    """With a database elsewhere, the lock is the first thing that a home holds."""
    home = tmp_path / "new" / "home"

    with own_engine(home, boot="first") as owner:
        assert read_owner(home) == owner
