"""The faults of a forge, drawn by a seed or told one by one."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TypeAlias


class Fault(StrEnum):
    """What goes wrong with one request; those named `_after` strike when the request has taken effect."""

    NONE = "none"
    ERROR_BEFORE = "error_before"
    ERROR_AFTER = "error_after"
    CUT_BEFORE = "cut_before"
    CUT_AFTER = "cut_after"
    UNAUTHORISED = "unauthorised"
    FORBIDDEN = "forbidden"
    PRIMARY = "primary"
    SECONDARY = "secondary"
    SECONDARY_BARE = "secondary_bare"
    TOO_MANY = "too_many"


AFTER = frozenset({Fault.ERROR_AFTER, Fault.CUT_AFTER})
Plan: TypeAlias = Callable[[str, str], Fault]
"""Says what goes wrong with a request, from its method and its path."""


def no_faults(method: str, path: str) -> Fault:
    """Let everything go well."""
    del method, path
    return Fault.NONE


def scripted(faults: Iterable[Fault], *, method: str = "") -> Plan:
    """Return a plan that strikes the next requests of a method, or any, in turn, and then none."""
    left = deque(faults)

    def plan(asked: str, path: str) -> Fault:
        del path
        return left.popleft() if left and (not method or asked == method) else Fault.NONE

    return plan


def drawn(seed: int, *, rate: float) -> Plan:
    """Return a plan that strikes one request in so many with any fault, the same ones for the same seed."""
    rng = random.Random(seed)  # noqa: S311  faults, no secrets
    bad = [fault for fault in Fault if fault is not Fault.NONE]

    def plan(method: str, path: str) -> Fault:
        del path
        if rng.random() >= rate:
            return Fault.NONE
        fault = rng.choice(bad)
        return Fault.NONE if fault in AFTER and method == "GET" else fault

    return plan
