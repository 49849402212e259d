"""ARCHITECTURE.md tells the house as it stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "pilothouse"
PAGE = ROOT / "ARCHITECTURE.md"
PAGE_LINES_MAX = 160
"""It is called one page."""
ROWS_MIN = 20
UNSAID = {"__init__.py", "__main__.py", "__pycache__", "py.typed"}
"""What stands in the package and is no room."""


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    section = page.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def spans(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def missing(paths: list[str]) -> list[str]:
    """Return the paths that are neither in the package nor in the repository."""
    return [path for path in paths if not (PACKAGE / path).exists() and not (ROOT / path).exists()]


def test_the_table_of_rooms_is_the_package() -> None:
    """Every room that exists is named, and no other."""
    named = [spans(cells[0])[0] for cells in rows(PAGE.read_text(encoding="utf-8"), "Rooms")]
    there = {entry.name for entry in PACKAGE.iterdir()} - UNSAID

    assert len(named) == len(set(named))
    assert set(named) == there


def test_the_table_of_rooms_stands_in_the_order_of_the_contract() -> None:
    """The page may not draw another order than the one that is checked."""
    named = [spans(cells[0])[0].removesuffix(".py") for cells in rows(PAGE.read_text(encoding="utf-8"), "Rooms")]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(each["layers"] for each in contracts["contracts"] if each["type"] == "layers")

    assert layers[0] == "__main__"
    assert named == [room.strip() for layer in layers[1:] for room in layer.split("|")]


def test_every_place_to_open_exists() -> None:
    """Each row of the table leads somewhere."""
    table = rows(PAGE.read_text(encoding="utf-8"), "To change X, open Y")
    named = [spans(cells[-1]) for cells in table]

    assert len(table) >= ROWS_MIN
    assert all(named)
    assert missing([path for paths in named for path in paths]) == []


def test_a_place_that_is_gone_is_seen() -> None:
    """The check above can fail."""
    assert missing(["campaigns/flywheel.py", "campaigns/gone.py", "tests/repo"]) == ["campaigns/gone.py"]


def test_it_is_one_page() -> None:
    """A page that grows without end is read by nobody."""
    assert PAGE.read_text(encoding="utf-8").count("\n") <= PAGE_LINES_MAX
