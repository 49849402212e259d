"""Tables that a command is given by path."""

from __future__ import annotations

from pathlib import Path

from pilothouse.errors import BadValue, NotFound


def read_text(file: Path) -> str:
    """Return the text of a file, or say why it cannot be read."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise NotFound(f"{file} does not exist", fix="give the path of a CSV file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadValue(f"{file} cannot be read as text: {error}", fix="give the path of a CSV file in UTF-8") from error
