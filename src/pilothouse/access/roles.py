"""What each role permits. Whatever is not listed here is denied."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Permission(StrEnum):
    """One kind of act on the fleet."""

    READ = "read"
    """See jobs, factories, budgets and figures."""
    FETCH = "fetch"
    """Download artifacts."""
    SUBMIT = "submit"
    """Submit jobs and children."""
    REVIEW = "review"
    """Approve or decline a success that waits for its reviewers."""
    DECIDE = "decide"
    """Approve or reject a proposal at the gate."""
    OPERATE = "operate"
    """Ship, requeue, reject, cancel and preempt jobs; drain factories; pause budgets."""
    FUND = "fund"
    """Set a budget's ceilings."""
    WORK = "work"
    """Claim jobs, renew leases, upload artifacts and report."""
    ENROL = "enrol"
    """Turn an enrolment token into a worker's key."""
    ADMINISTER = "administer"
    """Make and revoke tokens, revoke and forget factories, and read the audit log."""


ALWAYS_NAMED = frozenset({Permission.DECIDE, Permission.ADMINISTER})
"""What needs a token on an open server too: whatever runs on a machine can reach its loopback, and a gate that anybody
opens, or for which anybody makes the key, is none."""


class Role(StrEnum):
    """What a token's holder is there for. A token has one role, so that nobody approves with what proposes."""

    VIEWER = "viewer"
    PROPOSER = "proposer"
    APPROVER = "approver"
    OPERATOR = "operator"
    WORKER = "worker"
    ADMIN = "admin"


PERMISSIONS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.VIEWER: frozenset({Permission.READ, Permission.FETCH}),
        Role.PROPOSER: frozenset({Permission.READ, Permission.FETCH, Permission.SUBMIT}),
        Role.APPROVER: frozenset({Permission.READ, Permission.FETCH, Permission.REVIEW, Permission.DECIDE}),
        Role.OPERATOR: frozenset({Permission.READ, Permission.FETCH, Permission.SUBMIT, Permission.OPERATE}),
        Role.WORKER: frozenset({Permission.FETCH, Permission.WORK}),
        Role.ADMIN: frozenset(Permission) - {Permission.WORK, Permission.ENROL},
    }
)
