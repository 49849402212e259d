"""The one table from errors to exit codes."""

from __future__ import annotations

from pilothouse.errors import (
    Conflict,
    NotAuthenticated,
    NotFound,
    OperationFailed,
    PilothouseError,
    Refused,
    StillPending,
    Unreachable,
    UsageError,
)

EXIT_CODES: dict[type[PilothouseError], int] = {
    OperationFailed: 1,
    UsageError: 2,
    Refused: 3,
    NotAuthenticated: 4,
    NotFound: 5,
    Conflict: 6,
    Unreachable: 7,
    StillPending: 8,
}
SIGNAL_BASE = 128


def exit_code(error: PilothouseError) -> int:
    """Return the exit code of the error's family."""
    return next(code for family, code in EXIT_CODES.items() if isinstance(error, family))
