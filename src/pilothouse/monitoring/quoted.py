"""What a program says, made fit to be kept and to be shown: it is quoted, never obeyed."""

from __future__ import annotations

INSTEAD = "\N{REPLACEMENT CHARACTER}"
_LAYOUT = "\n\t"


def storable(text: str) -> str:
    """Return text without what no database can keep: half a character, which is a lone surrogate, and zero bytes."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", INSTEAD)


def plain(text: str) -> str:
    """Return text in which every character that steers a terminal is replaced; newlines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in _LAYOUT else INSTEAD for letter in text)
