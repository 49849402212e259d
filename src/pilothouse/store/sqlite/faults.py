"""What SQLite's errors mean for us, each with the act that mends it."""

from __future__ import annotations

import sqlite3
from typing import assert_never

from pilothouse.errors import Conflict, KeyReused, NotFound, PilothouseError, StorageFailed
from pilothouse.store.connection import broken_text, too_large

LOCK_SECONDS = 30.0
"""How long one writer waits for another before it says so."""

_FIXES = {
    "SQLITE_FULL": "free some space on that disk, then run the same command again; nothing of this change was kept",
    "SQLITE_READONLY": "make the database, its folder and its -wal and -shm files writable for this user",
    "SQLITE_CANTOPEN": "check that the folder exists and is writable for this user, or choose another home",
    "SQLITE_PERM": "make the database and its folder writable for this user",
    "SQLITE_BUSY": f"another process has held the database for {LOCK_SECONDS:g} s; find it, or wait and try again",
    "SQLITE_LOCKED": "another command of this process holds the table; try again",
    "SQLITE_CORRUPT": "stop every process that uses it, keep a copy, and restore the newest backup",
    "SQLITE_NOTADB": "the file is no SQLite database; move it away, or choose another home",
    "SQLITE_IOERR": "look at the system log for the disk's errors; nothing of this change was kept",
    "SQLITE_NOMEM": "free some memory, then run the same command again",
    "SQLITE_TOOBIG": "store large values as files, not in the database",
}
_FIX_UNKNOWN = "run `pilothouse doctor`; nothing of this change was kept"


def translate(error: sqlite3.Error | UnicodeEncodeError | OverflowError, *, where: str) -> PilothouseError:
    """Return our error for what the driver raised at the named database."""
    match error:
        case sqlite3.IntegrityError():
            return _broken_rule(error)
        case sqlite3.Error():
            return _storage_failed(error, where=where)
        case UnicodeEncodeError():
            return broken_text(error)
        case OverflowError():
            return too_large()
        case _:
            assert_never(error)


def _broken_rule(error: sqlite3.IntegrityError) -> PilothouseError:
    """Return what a refused row means: the tables' own rules are the last to be asked, so their word is exact."""
    name = error.sqlite_errorname
    if name == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return NotFound("what this belongs to is not stored", fix="store the campaign or job that it names first")
    if name == "SQLITE_CONSTRAINT_UNIQUE" and "job_specs.key" in str(error):
        return KeyReused("a job with this key is stored already", fix="ask for the stored one, or take a new key")
    return Conflict(f"the database refuses the change: {error}", fix="read the present state again and decide anew")


def _storage_failed(error: sqlite3.Error, *, where: str) -> StorageFailed:
    # Errors that Python's driver raises by itself carry no code.
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    kind = "_".join(name.split("_")[:2])
    return StorageFailed(f"{where}: {error} ({name})", fix=_FIXES.get(kind, _FIX_UNKNOWN))
