"""The campaign files that installed programs bring along."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from pilothouse.errors import NotFound, UsageError
from pilothouse.wiring.workspace import write_text

EXAMPLES_GROUP = "pilothouse.examples"
"""Programs name a package whose `*.toml` files are examples; the platform knows none by itself."""


def example_text(name: str) -> str:
    """Return the text of an example, or raise `NotFound` with the names there are."""
    known = _examples()
    if name not in known:
        raise NotFound(f"there is no example {name!r}", fix=f"known examples: {', '.join(sorted(known)) or 'none'}")
    return known[name]


def write_example(file: Path, *, example: str, force: bool) -> None:
    """Write the example's text; a file that is there is kept unless forced."""
    text = example_text(example)
    if file.exists() and not force:
        raise UsageError(f"{file} is there already", fix="choose another name, or write over it with --force")
    write_text(file, text)


def _examples() -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in entry_points(group=EXAMPLES_GROUP):
        for item in files(entry.value).iterdir():
            if item.name.endswith(".toml"):
                found[item.name.removesuffix(".toml")] = item.read_text(encoding="utf-8")
    return found
