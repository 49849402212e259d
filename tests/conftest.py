"""What every test starts from: no setting of the person who runs it, and properties that a slow machine cannot fail."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator

import pytest
import typer.main
from hypothesis import settings

settings.register_profile("pilothouse", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("pilothouse")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the settings that the surrounding shell may hold."""
    for name in [name for name in os.environ if name.startswith("PILOTHOUSE_")]:  # noqa: TID251  to clean it
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def _one_tree_of_commands() -> Iterator[None]:
    """Build the tree of commands once for all that is asked within this process: it is as slow as most commands."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("typer.testing._get_command", functools.cache(typer.main.get_command))
        yield
