"""The note by which a home's own commands find its server, and are let in: only the home's owner can read it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pilothouse.errors import StorageFailed
from pilothouse.launch import identity

SERVER_FILE = "server.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNote:
    """Where a server answers, which process it is, and the token of the home's owner."""

    url: str
    pid: int
    started: float
    token: str = field(repr=False)


def living_server(home: Path) -> ServerNote | None:
    """Return the home's own server while its process lives."""
    try:
        values = json.loads((home / SERVER_FILE).read_text(encoding="utf-8"))
        note = ServerNote(
            url=str(values["url"]),
            pid=int(values["pid"]),
            started=float(values["started"]),
            token=str(values["token"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note if identity.is_alive(note.pid, started=note.started) else None


def leave_note(home: Path, *, url: str, token: str) -> None:
    """Write the note of this process, which nobody else may read."""
    path = home / SERVER_FILE
    fresh = path.with_name(f".{SERVER_FILE}.{os.getpid()}")
    values = {"url": url, "pid": os.getpid(), "started": psutil.Process().create_time(), "token": token}
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(values))
        fresh.replace(path)
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written: {error.strerror}", fix=f"make {home} writable") from error


def take_note_away(home: Path) -> None:
    """Remove the note if it is this process's."""
    note = living_server(home)
    if note is not None and note.pid == os.getpid():
        (home / SERVER_FILE).unlink(missing_ok=True)
