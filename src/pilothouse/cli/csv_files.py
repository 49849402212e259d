"""Text files that a command is given, or asked to write, by path."""

from __future__ import annotations

import os
from pathlib import Path

from pilothouse.errors import BadValue, NotFound, StorageFailed


def read_text(file: Path) -> str:
    """Return the text of a file, or say why it cannot be read."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise NotFound(f"{file} does not exist", fix="give the path of a CSV file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadValue(f"{file} cannot be read as text: {error}", fix="give the path of a CSV file in UTF-8") from error


def write_text(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError as error:
        raise StorageFailed(
            f"{file} cannot be written: {error.strerror}", fix="choose a folder you may write"
        ) from error
