"""What every test starts from: no setting of the person who runs it, and properties that a slow machine cannot fail."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("pilothouse", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("pilothouse")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the settings that the surrounding shell may hold."""
    for name in [name for name in os.environ if name.startswith("PILOTHOUSE_")]:  # noqa: TID251  to clean it
        monkeypatch.delenv(name)
