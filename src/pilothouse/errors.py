"""Every error of the product.

PilothouseError
├── UsageError            the request itself is wrong                        exit 2
│   ├── BadCampaignFile   line and nearest key named
│   ├── BadValue          wrong type or form
│   ├── TooLarge          more bytes than are taken
│   └── PreconditionMissing  a change that names no epoch
├── Refused               a guardrail or a missing approval says no          exit 3
│   ├── OutOfRange        a knob's value leaves its range or its step
│   ├── ChangeBudgetExceeded
│   ├── NotApproved
│   ├── GoldenSetChanged
│   └── TooManyRequests   one asks more often than is answered
├── NotAuthenticated      no good token was shown                            exit 4
├── NotFound              nothing has that name                              exit 5
├── Conflict              somebody else holds it                             exit 6
│   ├── AlreadyOwned      names the owner
│   ├── LeaseLost         a later epoch exists
│   ├── KeyReused         same idempotency key, other body
│   └── PreconditionFailed  it has changed since it was read
├── Unreachable           the server does not answer                         exit 7
├── StillPending                                                             exit 8
└── OperationFailed       the world failed                                   exit 1
    ├── StorageFailed     disk full, unwritable, damaged database
    ├── ArtifactDamaged   a sealed folder does not match its manifest
    ├── ChainBroken       the logbook was altered
    └── IterationFailed   a step ended without its result
"""

from __future__ import annotations


class PilothouseError(Exception):
    """Something the product can say clearly, with the act that mends it."""

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class UsageError(PilothouseError):
    """The request itself is wrong."""


class BadCampaignFile(UsageError):
    """A campaign file breaks the schema."""

    def __init__(self, message: str, *, fix: str, line: int | None = None) -> None:
        super().__init__(message, fix=fix)
        self.line = line


class BadValue(UsageError):
    """A value has the wrong type or form."""


class TooLarge(UsageError):
    """A body has more bytes than are taken."""


class PreconditionMissing(UsageError):
    """A change does not say which epoch it was meant for."""


class NotAuthenticated(PilothouseError):
    """No good token was shown."""


class Refused(PilothouseError):
    """A guardrail, or a missing approval, says no."""


class OutOfRange(Refused):
    """A knob's value leaves its range, or moves further than its largest step."""


class ChangeBudgetExceeded(Refused):
    """A proposal moves more or fewer knobs than the campaign allows."""


class NotApproved(Refused):
    """No approval or waiver covers exactly this proposal now."""


class GoldenSetChanged(Refused):
    """A golden set is no longer the one that was locked."""


class TooManyRequests(Refused):
    """One asks more often than is answered; after `retry_seconds` there is an answer again."""

    def __init__(self, message: str, *, fix: str, retry_seconds: int = 1) -> None:
        super().__init__(message, fix=fix)
        self.retry_seconds = retry_seconds


class NotFound(PilothouseError):
    """Nothing has that name."""


class Conflict(PilothouseError):
    """Somebody else holds it."""


class AlreadyOwned(Conflict):
    """Another live process owns the campaign or the workspace."""


class LeaseLost(Conflict):
    """A later epoch of the job exists; whoever holds the older one must stop."""


class CheckpointMissing(Conflict):
    """The checkpoint that a run must go on from is not at hand, and it may not begin below."""


class KeyReused(Conflict):
    """An idempotency key came back with another body."""


class PreconditionFailed(Conflict):
    """It has changed since it was read."""


class Unreachable(PilothouseError):
    """The server does not answer."""


class StillPending(PilothouseError):
    """The answer is not there yet."""


class OperationFailed(PilothouseError):
    """The world failed: a disk, a process, a file."""


class StorageFailed(OperationFailed):
    """The database or a folder could not be read or written."""


class ArtifactDamaged(OperationFailed):
    """A sealed folder does not match its manifest."""

    def __init__(self, message: str, *, fix: str, artifact: str) -> None:
        super().__init__(message, fix=fix)
        self.artifact = artifact


class ChainBroken(OperationFailed):
    """A logbook entry does not follow from the one before it."""


class IterationFailed(OperationFailed):
    """A step of an iteration ended without its result."""


def named(name: str, message: str, *, fix: str) -> PilothouseError:
    """Return the error whose class has this name, as another process told it; an unknown one is `OperationFailed`."""
    kind = globals().get(name)
    if not (isinstance(kind, type) and issubclass(kind, PilothouseError)):
        kind = OperationFailed
    if issubclass(kind, ArtifactDamaged):
        return kind(message, fix=fix, artifact="")
    return kind(message, fix=fix)
