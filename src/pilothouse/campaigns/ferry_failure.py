"""Which class a ferry's failure is of, and what follows: launch again, a patch first, or a person.

    infrastructure  its factory died, no accelerator was found: launched again at once, so often as is allowed
                    its checkpoint is elsewhere and may not be done without: launched again once a person has seen to it
    small_bug       a NameError, ImportError, SyntaxError, KeyError: a patch is proposed; the same after it: a person
    complex         memory, NaN, silence, a broken promise: a person
    cancelled       somebody took it back: closed, with its evidence

Words in a log only tell one crash from another; how an attempt ended is what the factory saw.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pilothouse.campaigns.ferry_definition import Allowances
from pilothouse.campaigns.steps import StepFact
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import Stage


class FailureClass(StrEnum):
    """What kind of failure it was."""

    INFRASTRUCTURE = "infrastructure"
    SMALL_BUG = "small_bug"
    COMPLEX = "complex"
    CANCELLED = "cancelled"


class Remedy(StrEnum):
    """What to do about it."""

    RELAUNCH = "relaunch"
    CHECKPOINT = "checkpoint"
    PATCH = "patch"
    PERSON = "person"
    CLOSE = "close"


INFRASTRUCTURE = frozenset(
    {
        Outcome.LOST,
        Outcome.PREEMPTED,
        Outcome.LAUNCH_FAILED,
        Outcome.INPUT_DAMAGED,
        Outcome.CHECKPOINT_MISSING,
        Outcome.CODE_CHANGED,
    }
)

_BY_A_PERSON = {
    Outcome.CHECKPOINT_MISSING.value: Remedy.CHECKPOINT,
    Outcome.CODE_CHANGED.value: Remedy.RELAUNCH,
}
"""What nothing but a person mends, by bringing back a folder or by another yes."""

INFRASTRUCTURE_SIGNATURE = re.compile(
    r"no accelerator found|device or resource busy|failed_precondition|ownerdiederror|dead node|node death"
    r"|autoscaler.{0,40}unsatisfied|connection reset by peer|uncorrectable ECC",
    re.IGNORECASE,
)
"""What schedulers and accelerators say of a machine that is not well."""

MEMORY_SIGNATURE = re.compile(
    r"resource_exhausted|out of memory|program hbm requirement|largest program allocations|exceeded hbm"
    r"|compiler_base\.cc",
    re.IGNORECASE,
)
"""Memory that ends is never a small bug, whatever else the log says."""

BUG_SIGNATURE = re.compile(
    r"^(NameError|UnboundLocalError|ImportError|ModuleNotFoundError|SyntaxError|IndentationError|KeyError)\b[^\n]*",
    re.MULTILINE,
)
"""The last line of a Python trace whose mend is a line or two."""

FRAME = re.compile(r'^\s*File "[^"]+", line \d+', re.MULTILINE)
FRAMES_MAX = 8
"""A trace through more frames than these is no small bug."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A launch that failed: its class, and a signature by which the same failure is known again."""

    kind: FailureClass
    signature: str
    detail: str


def failure_of(fact: StepFact, evidence: str) -> Failure:
    """Return the failure of a job that has ended without its result; `evidence` is the end of its log."""
    outcome = fact.outcome
    named = outcome.value if outcome is not None else fact.stage.value
    if fact.stage is Stage.CANCELLED:
        return Failure(kind=FailureClass.CANCELLED, signature="cancelled", detail=fact.detail or "cancelled")
    said = f"{fact.detail}\n{evidence}"
    kind, signature = FailureClass.COMPLEX, named
    if outcome in INFRASTRUCTURE or (outcome is Outcome.CRASHED and INFRASTRUCTURE_SIGNATURE.search(said)):
        kind = FailureClass.INFRASTRUCTURE
    elif outcome is Outcome.CRASHED and not MEMORY_SIGNATURE.search(said):
        bugs = BUG_SIGNATURE.findall(evidence) and [found[0] for found in BUG_SIGNATURE.finditer(evidence)]
        if bugs and len(FRAME.findall(evidence)) <= FRAMES_MAX:
            kind, signature = FailureClass.SMALL_BUG, bugs[-1].strip()
        elif bugs:
            signature = bugs[-1].strip()
    return Failure(kind=kind, signature=signature, detail=fact.detail or named)


def remedy(failures: Sequence[Failure], allowances: Allowances) -> tuple[Remedy, str]:
    """Return what to do about the newest of one ferry's failures, the oldest first, and why."""
    last = failures[-1]
    if last.signature in _BY_A_PERSON:
        return _BY_A_PERSON[last.signature], last.detail
    # One that waited for its checkpoint, or for another yes, was launched again by a person, and spends nothing.
    count = sum(each.kind is last.kind and each.signature not in _BY_A_PERSON for each in failures)
    match last.kind:
        case FailureClass.CANCELLED:
            return Remedy.CLOSE, "it was cancelled"
        case FailureClass.COMPLEX:
            return Remedy.PERSON, f"{last.signature} is no failure that a relaunch mends"
        case FailureClass.INFRASTRUCTURE:
            again = count <= allowances.infrastructure
            words = f"infrastructure failed {count} times, {allowances.infrastructure} relaunches are allowed"
            return Remedy.RELAUNCH if again else Remedy.PERSON, words
        case FailureClass.SMALL_BUG:
            if any(each.signature == last.signature for each in failures[:-1]):
                return Remedy.PERSON, f"the same failure after one fix: {last.signature}"
            again = count <= allowances.small_bug
            words = f"small bug {count}, {allowances.small_bug} may be patched: {last.signature}"
            return Remedy.PATCH if again else Remedy.PERSON, words
