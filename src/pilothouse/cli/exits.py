"""The one table from errors to exit codes."""

from __future__ import annotations

from pilothouse.errors import (
    Conflict,
    NotFound,
    OperationFailed,
    PilothouseError,
    Refused,
    StillPending,
    UsageError,
)

EXIT_CODES: dict[type[PilothouseError], int] = {
    OperationFailed: 1,
    UsageError: 2,
    Refused: 3,
    NotFound: 5,
    Conflict: 6,
    StillPending: 8,
}
SIGNAL_BASE = 128


def exit_code(error: PilothouseError) -> int:
    """Return the exit code of the error's family."""
    return next(code for family, code in EXIT_CODES.items() if isinstance(error, family))
