"""What PostgreSQL's errors mean for us, each with the act that mends it."""

from __future__ import annotations

import psycopg
from psycopg import errors

from pilothouse.errors import Conflict, KeyReused, NotFound, PilothouseError, StorageFailed
from pilothouse.store.connection import broken_text, too_large

LOCK_SECONDS = 30.0
"""How long a statement waits for another's lock before it gives up."""
STATEMENT_SECONDS = 120.0
"""How long one statement may run; the scan at the start of an engine is the longest."""
IDLE_SECONDS = 15.0
"""How long the server keeps a transaction whose writer says nothing: a machine that sleeps must hold no lock."""

JOB_KEY = "job_specs_of_key"
"""The constraint by which a product's keys are unique."""

_NOTHING_KEPT = "nothing of this change was kept"
_FIXES: dict[type[psycopg.Error], str] = {
    errors.DiskFull: f"free some space on the server's disk, then run the same command again; {_NOTHING_KEPT}",
    errors.OutOfMemory: f"free some memory on the server, then run the same command again; {_NOTHING_KEPT}",
    errors.TooManyConnections: "close other clients, or raise max_connections of the server",
    errors.ReadOnlySqlTransaction: "connect to the primary server, not to a standby",
    errors.LockNotAvailable: f"another client has held the row for {LOCK_SECONDS:g} s; find it, or try again",
    errors.DeadlockDetected: f"run the same command again; {_NOTHING_KEPT}",
    errors.SerializationFailure: f"run the same command again; {_NOTHING_KEPT}",
    errors.QueryCanceled: f"the statement ran for more than {STATEMENT_SECONDS:g} s; look for a lock or a slow disk",
    errors.InsufficientPrivilege: "give the account the right to use and to create tables in its schema",
    errors.UndefinedTable: "somebody has removed a table; restore the newest backup",
    errors.DataCorrupted: "stop every process that uses it, keep a copy, and restore the newest backup",
    errors.IndexCorrupted: "stop every process that uses it, keep a copy, and restore the newest backup",
    errors.IdleInTransactionSessionTimeout: f"the process slept inside a transaction; run it again; {_NOTHING_KEPT}",
}
_CONNECTING = {
    "too many clients": "close other clients, or raise max_connections of the server",
    "connection slots": "close other clients, or raise max_connections of the server",
    "authentication failed": "correct the user and the password in the address, or in the file .pgpass",
    "no password supplied": "put the password into the address, or into the file .pgpass",
    "database": "create the database, with `createdb` for one, or correct its name in the address",
    "role": "create the account, with `createuser` for one, or correct its name in the address",
    "starting up": "wait until the server has started",
    "shutting down": "start the server again",
}
"""Parts of what a server says to one whom it does not let in, for which the driver has no code."""
_FIX_GONE = "see whether the server runs and can be reached, then run the same command again"
_FIX_UNKNOWN = f"run `pilothouse doctor`; {_NOTHING_KEPT}"


def translate(error: psycopg.Error | UnicodeEncodeError, *, where: str) -> PilothouseError:
    """Return our error for what the driver raised at the named database."""
    match error:
        case UnicodeEncodeError():
            return broken_text(error)
        case errors.NumericValueOutOfRange():
            return too_large()
        case psycopg.IntegrityError():
            return _broken_rule(error)
        case _:
            return _storage_failed(error, where=where)


def _broken_rule(error: psycopg.IntegrityError) -> PilothouseError:
    """Return what a refused row means: the tables' own rules are the last to be asked, so their word is exact."""
    if isinstance(error, errors.ForeignKeyViolation):
        return NotFound("what this belongs to is not stored", fix="store the campaign or job that it names first")
    if isinstance(error, errors.UniqueViolation) and error.diag.constraint_name == JOB_KEY:
        return KeyReused("a job with this key is stored already", fix="ask for the stored one, or take a new key")
    return Conflict(
        f"the database refuses the change: {_first_line(error)}", fix="read the present state again and decide anew"
    )


def _storage_failed(error: psycopg.Error, *, where: str) -> StorageFailed:
    known = [fix for kind, fix in _FIXES.items() if isinstance(error, kind)]
    gone = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    if gone and not error.sqlstate and "FATAL" in str(error):
        said = str(error).split("FATAL", 1)[1]
        known += [fix for part, fix in _CONNECTING.items() if part in said]
    fix = known[0] if known else _FIX_GONE if gone else _FIX_UNKNOWN
    code = error.sqlstate or type(error).__name__
    return StorageFailed(f"{where}: {_first_line(error)} ({code})", fix=fix)


def _first_line(error: psycopg.Error) -> str:
    """Return the message without the statement and the line that the server quotes under it."""
    return error.diag.message_primary or str(error).split("\n", 1)[0]


def commit_unknown(where: str, error: PilothouseError) -> StorageFailed:
    """Return the error of a commit whose answer was lost: it may have been carried out."""
    return StorageFailed(
        f"{where}: the connection was lost during the commit, so it is not known whether the change was kept"
        f" ({error.message})",
        fix="read the present state again and decide anew",
    )
