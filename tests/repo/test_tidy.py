"""The style is a test, not a hope."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500
BANNED_STEMS = {"common", "core", "helper", "helpers", "manager", "misc", "shared", "util", "utils"}


def complaints(path: Path) -> list[str]:
    """Return what is untidy about one module."""
    found = []
    source = path.read_text(encoding="utf-8")
    if path.stem in BANNED_STEMS or path.parent.name in BANNED_STEMS:
        found.append(f"{path}: the name says nothing")
    if source.count("\n") > MODULE_LINES_MAX:
        found.append(f"{path}: more than {MODULE_LINES_MAX} lines")
    if re.search(r"#\s*type:\s*ignore", source) and path.name != Path(__file__).name:
        found.append(f"{path}: type: ignore")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                found.append(f"{path}:{node.lineno}: {node.name} has more than {FUNCTION_LINES_MAX} lines")
    return found


def test_every_module_is_tidy() -> None:
    """No module of the product or its tests breaks the limits."""
    modules = [path for folder in ("src", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]

    found = [complaint for path in modules for complaint in complaints(path)]

    assert modules
    assert found == []


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        ("util.py", "", "says nothing"),
        ("long.py", "x = 1\n" * 501, "more than 500 lines"),
        ("tall.py", "def tall():\n" + "    x = 1\n" * 70, "more than 70 lines"),
        ("untyped.py", "x = 1  # type: ignore[misc]\n", "type: ignore"),
    ],
)
def test_untidiness_is_seen(tmp_path: Path, name: str, source: str, complaint: str) -> None:
    """Each limit has a module that breaks it and is found out."""
    path = tmp_path / name
    path.write_text(source, encoding="utf-8")

    assert complaint in " ".join(complaints(path))
