"""A fresh product for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.cli import Product


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """Return a product whose home is not made yet."""
    return Product(tmp_path / "home")
